use millstream_sdk::testing;

use super::*;

#[test]
fn words_are_split_at_white_space() {
    let check = |text: &str, words: &[&str]| assert_eq!(split_words(text).collect::<Vec<_>>(), words);
    check("  the quick\tfox\n", &["the", "quick", "fox"]);
    check(" ", &[]);
    check("für\u{a0}sich", &["für\u{a0}sich"]);
}

#[test]
fn case_is_lowered_in_every_script() {
    assert_eq!(lower_case("ÄPFEL and ΟΔΟΣ"), "äpfel and οδος");
}

#[test]
fn the_pattern_decides() {
    testing::set_config("pattern", r#""^\\d+$""#);
    assert_eq!((matches("123"), matches("12a")), (Ok(true), Ok(false)));
}

#[test]
fn a_missing_pattern_is_asked_for() {
    let error = matches("a").expect_err("the call is refused");
    assert!(error.contains("`pattern`") && error.contains("pipeline file"), "{error}");
}

#[test]
fn a_wrong_pattern_is_explained() {
    testing::set_config("pattern", r#""(""#);
    let error = matches("a").expect_err("the call is refused");
    assert!(error.contains("`(`") && error.contains("pipeline file"), "{error}");
}

#[test]
fn pairs_are_found_among_words() {
    let check = |text: &str, pairs: &[(&str, &str)]| {
        let found: Vec<_> = parse_key_value(text).map(|pair| (pair.key, pair.value)).collect();
        assert_eq!(found, pairs, "{text}");
    };
    check("user=ann amount=3 paid", &[("user", "ann"), ("amount", "3")]);
    check("query=a=b empty= =nothing", &[("query", "a=b"), ("empty", "")]);
}

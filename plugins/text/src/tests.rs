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

#[test]
fn sums_are_made_and_unmade() {
    assert_eq!((add(2, 3), subtract(5, 3)), (Ok(5), Ok(2)));
    for wrong in [add(i64::MAX, 1), subtract(i64::MIN, 1)] {
        assert!(wrong.expect_err("the number is too large").contains("beyond 64 bits"));
    }
}

#[test]
fn a_count_runs_until_its_key_times_out() {
    let check = |mut count: State<i64>, rows: usize, then: Option<i64>, given: &[i64]| {
        let (rows, mut counts) = (vec![(); rows], Output::new());
        running_count(Rows::from(&rows[..]), &mut count, &mut counts);
        assert_eq!(count.get().copied(), then);
        let counts = counts.into_table();
        assert_eq!(counts.read::<i64>("count").expect("they are numbers").iter().collect::<Vec<_>>(), given);
    };
    check(State::new(None), 2, Some(2), &[2]);
    check(State::new(Some(2)), 3, Some(5), &[5]);
    check(State::new(Some(5)), 0, Some(5), &[5]);
    check(State::timing_out(5), 0, Some(5), &[]);
}

#[test]
fn a_sum_runs_until_its_key_times_out() {
    let check = |mut sum: State<i64>, rows: &[i64], then: Option<i64>, given: &[i64]| {
        let mut sums = Output::new();
        running_sum(Rows::from(rows), &mut sum, &mut sums).expect("the sum is small");
        assert_eq!(sum.get().copied(), then);
        let sums = sums.into_table();
        assert_eq!(sums.read::<i64>("sum").expect("they are numbers").iter().collect::<Vec<_>>(), given);
    };
    check(State::new(None), &[2, 3], Some(5), &[5]);
    check(State::new(Some(5)), &[-7], Some(-2), &[-2]);
    check(State::timing_out(5), &[], Some(5), &[]);
    let mut full = State::new(Some(i64::MAX));
    let error =
        running_sum(Rows::from(&[1][..]), &mut full, &mut Output::new()).expect_err("it is too large");
    assert!(error.contains("beyond 64 bits"), "{error}");
}

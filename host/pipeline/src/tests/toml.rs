use std::path::Path;

use super::good::WORD_COUNT;
use super::{check, check_file, check_whole};
use crate::parse;

#[tokio::test]
async fn broken_toml_is_reported_with_all_else_that_is_wrong() {
    let cases: &[(&str, &[&str])] = &[
        (
            "max-batch-rows = \n[streams.a]\nfrom = 7\nmap = \"text.shout\"",
            &["1:18 not TOML", "3:8 found an integer"],
        ),
        ("[streams.a]\nfrom = \"lines\"\nfrom = \"lines\"\nmap = \"text.shout\"", &["3:1 duplicate key"]),
        ("[streams.a]\nfrom = \"lines\nmap = \"text.shout\"", &["2:14 not TOML"]),
        ("[streams.a]\nfrom \"lines\"\nmap = \"text.nothing\"", &["2:6 not TOML"]),
        (
            "[streams.a\nfrom = \"lines\"\nmap = \"text.shout\"\n[streams.b]\nfrom = \"a\"\nmap = \"text.shout\"",
            &["1:11 not TOML"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn an_empty_file_lacks_everything() {
    check_file(
        "",
        &["1:1 has no sink", "1:1 has no source", "1:1 lacks \"batch-interval\"", "1:1 lacks \"name\""],
    )
    .await;
}

#[tokio::test]
async fn places_count_characters() {
    check("[streams.a]\nsql = \"SELECT 'äöü', nothing FROM lines\"", &["2:22 nothing"]).await;
}

/// What is left of a file whose rest is lost, or that lost a line, is read to its end and never too odd to report.
#[tokio::test]
async fn damaged_files_are_reported() {
    for (end, _) in WORD_COUNT.char_indices() {
        let cut = &WORD_COUNT[..end];
        if let Err(errors) = parse(Path::new("p.toml"), cut) {
            assert!(
                errors.all.iter().all(|error| error.place.line <= cut.lines().count() + 1),
                "{cut}\n{errors}"
            );
        }
    }
    for lost in 0..WORD_COUNT.lines().count() {
        let kept: Vec<_> =
            WORD_COUNT.lines().enumerate().filter(|(i, _)| *i != lost).map(|(_, line)| line).collect();
        let outcome = check_whole(&kept.join("\n")).await;
        assert!(outcome.is_ok() || outcome.is_err_and(|errors| !errors.all.is_empty()));
    }
}

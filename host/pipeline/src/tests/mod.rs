//! Seeded mistakes, each with the places and the words that it must be reported with; and files without any.

mod carried;
mod cases;
mod event;
mod fake;
mod form;
mod good;
mod meaning;
mod outside;
mod streams;
mod tables;
mod toml;

use std::path::Path;

use crate::{Checked, Diagnostics};
use fake::FakeComponents;

const BEFORE: &str = "name = \"t\"\nbatch-interval = \"1s\"\n";

/// Gives a fragment what every pipeline needs.
const AFTER: &str = r#"
[plugins.text]
component = "text.wasm"
[sources.lines]
type = "socket"
address = "127.0.0.1:9999"
[sources.events]
type = "files"
path = "in"
format = "json"
schema = { user = "utf8", amount = "float64", at = "timestamp" }
[sinks.screen]
from = "lines"
type = "print"
"#;

async fn check_whole(text: &str) -> Result<Checked, Diagnostics> {
    crate::check(Path::new("folder/pipeline.toml"), text, &FakeComponents).await
}

/// Checks `fragment` within an otherwise right pipeline. Each of `expected` is `line:column words`,
/// counted within the fragment; together they are all that is reported.
async fn check(fragment: &str, expected: &[&str]) {
    let fragment = fragment.trim_start_matches('\n');
    let found = check_whole(&format!("{BEFORE}{fragment}{AFTER}")).await;
    compare(fragment, found, BEFORE.lines().count(), expected);
}

/// Checks a whole file.
async fn check_file(text: &str, expected: &[&str]) {
    let text = text.trim_start_matches('\n');
    compare(text, check_whole(text).await, 0, expected);
}

fn compare(text: &str, found: Result<Checked, Diagnostics>, lines_before: usize, expected: &[&str]) {
    let found: Vec<String> = match found {
        Ok(_) => Vec::new(),
        Err(diagnostics) => {
            let all = diagnostics.all.iter();
            let line = |place: usize| place as isize - lines_before as isize;
            all.map(|d| format!("{}:{} {}", line(d.place.line), d.place.column, d.message)).collect()
        }
    };
    let agree = |(found, expected): (&String, &&str)| {
        let (place, words) = expected.split_once(' ').expect("an expectation is a place and words");
        found.starts_with(&format!("{place} ")) && found.contains(words)
    };
    let all_agree = found.len() == expected.len() && found.iter().zip(expected).all(agree);
    assert!(all_agree, "{text}\nexpected {expected:#?}\nfound {found:#?}");
}

//! The stock text plugin, and the example of a plugin to copy.
//!
//! Each function is plain Rust; its attribute says how the host calls it, its parameters and what it returns say which
//! columns it reads and answers with. The last line makes the crate a plugin.

use millstream_sdk::prelude::*;
use millstream_sdk::text::words;
use regex_lite::Regex;

#[cfg(test)]
mod tests;

/// Splits text into words at white space.
#[flat_map(output = "word")]
pub fn split_words(value: &str) -> impl Iterator<Item = &str> {
    words(value)
}

/// Turns a word into lower case.
#[map(output = "word")]
pub fn lower_case(word: &str) -> String {
    word.to_lowercase()
}

/// Keeps the rows whose value matches the regular expression `pattern` of the configuration.
#[filter]
pub fn matches(value: &str) -> Result<bool, String> {
    thread_local! {
        // The configuration of an instance never changes, so the pattern is compiled once.
        static PATTERN: Result<Regex, String> = pattern();
    }
    PATTERN.with(|pattern| pattern.as_ref().map(|pattern| pattern.is_match(value)).map_err(String::clone))
}

fn pattern() -> Result<Regex, String> {
    let text =
        required_config("pattern").and_then(|setting| setting.text()).map_err(|error| error.to_string())?;
    Regex::new(&text).map_err(|error| {
        format!("reading `pattern` of the plugin's config: `{text}` is no regular expression: {error}; correct it in the pipeline file")
    })
}

/// A key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row)]
pub struct Pair<'a> {
    /// What stands before the first `=`.
    pub key: &'a str,
    /// What stands after it.
    pub value: &'a str,
}

/// Finds the `key=value` pairs among the words of a text.
#[flat_map]
pub fn parse_key_value(value: &str) -> impl Iterator<Item = Pair<'_>> {
    let pairs = words(value).filter_map(|word| word.split_once('='));
    pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| Pair { key, value })
}

/// Adds numbers up.
#[reduce]
pub fn add(left: i64, right: i64) -> Result<i64, String> {
    left.checked_add(right).ok_or_else(|| format!("the sum of {left} and {right} is beyond 64 bits"))
}

/// Takes numbers out of their sum.
#[inverse]
pub fn subtract(total: i64, leaving: i64) -> Result<i64, String> {
    total.checked_sub(leaving).ok_or_else(|| format!("{total} less {leaving} is beyond 64 bits"))
}

/// Counts the rows of each key, from the key's first row until it times out.
#[update_state(version = 1, output = "count")]
pub fn running_count(new: Rows<'_, ()>, count: &mut State<i64>, counts: &mut Output<i64>) {
    if count.is_timing_out() {
        return;
    }
    let total = count.get().copied().unwrap_or_default() + new.len() as i64;
    count.set(total);
    counts.push(total);
}

/// Adds the numbers of each key up, from the key's first row until it times out.
#[update_state(version = 1, output = "sum")]
pub fn running_sum(new: Rows<'_, i64>, sum: &mut State<i64>, sums: &mut Output<i64>) -> Result<(), String> {
    if sum.is_timing_out() {
        return Ok(());
    }
    let total = new.into_iter().try_fold(sum.get().copied().unwrap_or_default(), add)?;
    sum.set(total);
    sums.push(total);
    Ok(())
}

millstream_sdk::export!(
    split_words,
    lower_case,
    matches,
    parse_key_value,
    add,
    subtract,
    running_count,
    running_sum
);

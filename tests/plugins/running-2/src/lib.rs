//! The second version of an application that counts words: in lower case, without tags, and with the most that came at once.

use millstream_sdk::prelude::*;

/// Splits a line into words at white space, puts them in lower case, and leaves out tags, which begin with `#`.
#[flat_map(output = "word")]
pub fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_ascii_whitespace().filter_map(lowered)
}

/// A word that this version does not survive.
const DEADLY: &str = "deadly";

/// The word as this version counts it, if it does.
fn lowered(word: &str) -> Option<String> {
    assert_ne!(word, DEADLY, "so it is said");
    (!word.starts_with('#')).then(|| word.to_lowercase())
}

/// What is kept of a word.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Running {
    /// How many there were.
    count: i64,
    /// The most that came in one batch.
    longest: i64,
}

/// Counts each word's rows.
#[update_state(version = 2, output = "count", migrate = from_as_written, merge = together)]
pub fn running(
    #[column(name = "word")] _: &str,
    new: Rows<'_, ()>,
    state: &mut State<Running>,
    out: &mut Output<i64>,
) {
    let new = new.len() as i64;
    let Running { count, longest } = state.get().cloned().unwrap_or(Running { count: 0, longest: 0 });
    state.set(Running { count: count + new, longest: longest.max(new) });
    out.push(count + new);
}

/// What version 1 kept of a word.
#[derive(Row)]
pub struct Count {
    count: i64,
}

/// Of what version 1 counted it is not known what came at once, so all of it did.
#[migrate(from = 1)]
pub fn from_as_written(word: &str, Count { count }: Count) -> Option<(String, Running)> {
    Some((lowered(word)?, Running { count, longest: count }))
}

/// Words that differed in their case alone.
#[merge]
pub fn together(left: Running, right: Running) -> Running {
    Running { count: left.count + right.count, longest: left.longest.max(right.longest) }
}

millstream_sdk::export!(words, running);

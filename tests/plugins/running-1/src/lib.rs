//! The first version of an application that counts words: as they are written. `running-2` takes its states over.

use millstream_sdk::prelude::*;

/// Splits a line into words at white space.
#[flat_map(output = "word")]
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
}

/// What is kept of a word.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Count {
    count: i64,
}

/// Counts each word's rows.
#[update_state(version = 1, output = "count")]
pub fn running(
    #[column(name = "word")] _: &str,
    new: Rows<'_, ()>,
    state: &mut State<Count>,
    out: &mut Output<i64>,
) {
    let count = state.get().map_or(0, |state| state.count) + new.len() as i64;
    state.set(Count { count });
    out.push(count);
}

millstream_sdk::export!(words, running);

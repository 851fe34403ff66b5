//! A version of the stock plugin `text` that differs in one word of ten thousand, to show that the difference is found.

use millstream_sdk::prelude::*;
use millstream_sdk::text::words;

/// What the words end with that differ: of numbers in their order, one in 10,000.
const CHANGED: &str = "9999";

/// Splits text into words at white space, and puts a mark behind some.
#[flat_map(output = "word")]
pub fn split_words(value: &str) -> impl Iterator<Item = String> {
    words(value).map(|word| match word.ends_with(CHANGED) {
        true => format!("{word}!"),
        false => word.to_owned(),
    })
}

millstream_sdk::export!(split_words);

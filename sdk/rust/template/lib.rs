//! A Millstream plugin: plain functions, and the line at the end that exports them.

use millstream_sdk::prelude::*;

/// Finds the words of a text, in lower case and without punctuation.
#[flat_map(output = "word")]
pub fn find_words(value: &str) -> impl Iterator<Item = String> {
    let words = value.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

millstream_sdk::export!(find_words);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_case_and_punctuation() {
        let words: Vec<_> = find_words("To be, or NOT to be?").collect();
        assert_eq!(words, ["to", "be", "or", "not", "to", "be"]);
    }
}

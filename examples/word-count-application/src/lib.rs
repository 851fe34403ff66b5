//! The word count as one file: the functions, and the pipeline that they are used in.

use millstream_sdk::prelude::*;

/// Splits a line into words at white space.
#[flat_map(output = "word")]
pub fn split_words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
}

/// Counts a word's rows, for good.
#[update_state(version = 1, output = "total")]
pub fn running_count(word: Rows<'_, ()>, count: &mut State<i64>, total: &mut Output<i64>) {
    let new = i64::try_from(word.len()).expect("a batch has less rows than that");
    let all = count.get().copied().unwrap_or(0) + new;
    if !count.is_timing_out() {
        count.set(all);
        total.push(all);
    }
}

/// Counts the words of each second, and of all time.
#[application]
pub fn word_count(app: &Application) {
    app.batch_interval("1s").checkpoint("word-count.checkpoint");
    let words = app.socket("127.0.0.1:9999").named("lines").flat_map(split_words).named("words");
    words.count_by_value().named("totals").print().named("screen");
    words.update_state(running_count).by(["word"]).timeout("1d").named("ever").print().named("all-time");
    app.toml(include_str!("tests.toml"));
}

millstream_sdk::export!(split_words, running_count; application: word_count);

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_split_at_white_space() {
        assert!(super::split_words(" one\ttwo  one ").eq(["one", "two", "one"]));
    }
}

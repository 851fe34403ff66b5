//! What tables are called, from which it follows whose they are.
//!
//! A stream's states are in a table of its name. What is kept beside them is in tables of that name, a dot, and what it is: no
//! stream's name has a dot.

const WINDOW: &str = "window";
const INITIAL: &str = "initial";
const WATERMARK: &str = "watermark";

/// The table of the rows of a stream's window.
pub fn window(stream: &str) -> String {
    format!("{stream}.{WINDOW}")
}

/// The table that says whether a stream has begun with the states it is given.
pub fn initial(stream: &str) -> String {
    format!("{stream}.{INITIAL}")
}

/// The table of a source's watermark.
pub fn watermark(source: &str) -> String {
    format!("{source}.{WATERMARK}")
}

/// The stream whose table it is, or the source.
pub fn owner(table: &str) -> &str {
    table.split_once('.').map_or(table, |(owner, _)| owner)
}

/// Whether a table says only how far something has come. Nobody misses that for itself.
pub(crate) fn is_mark(table: &str) -> bool {
    table.split_once('.').is_some_and(|(_, what)| [INITIAL, WATERMARK].contains(&what))
}

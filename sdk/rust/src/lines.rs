//! Whole lines out of bytes that come piece by piece: for receivers that read files and connections.
//!
//! ```
//! use millstream_sdk::lines::LineBuffer;
//!
//! let mut buffer = LineBuffer::new();
//! buffer.push(b"one\r\ntwo\nthr");
//! let mut lines = Vec::new();
//! while let Some(line) = buffer.next_line() {
//!     lines.push((line.text.into_owned(), line.bytes));
//! }
//! assert_eq!(lines, [("one".to_owned(), 5), ("two".to_owned(), 4)]);
//! buffer.push(b"ee\n");
//! assert_eq!(buffer.next_line().expect("it is whole").text, "three");
//! ```

use std::borrow::Cow;
use std::io::BufRead;

/// What is kept of a line: of a longer one the beginning, so that memory is bounded whatever comes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Bytes of which some lines are whole and the last one may not be.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Bytes before here are known to hold no end of a line.
    searched: usize,
    /// Bytes of the next line that were left out.
    dropped: usize,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its end, a line feed or a carriage return and one. What is not UTF-8 is replaced by `\u{fffd}`.
    pub text: Cow<'a, str>,
    /// Bytes that it took, with its end and what was left out.
    pub bytes: u64,
    /// Whether it was longer than [`LINE_BYTES_MAX`], and is cut there.
    pub is_cut: bool,
}

impl LineBuffer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what comes next. Lines that were not taken stay.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// Takes the next line, if it is whole.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let mut rest = &self.bytes[self.searched..];
        let searched = rest.skip_until(b'\n').expect("memory can be read");
        self.searched += searched;
        if searched == 0 || self.bytes[self.searched - 1] != b'\n' {
            self.cut();
            return None;
        }
        Some(self.take(1))
    }

    /// Takes what is left, where nothing more will come: a last line without an end.
    pub fn last_line(&mut self) -> Option<Line<'_>> {
        (self.searched > self.start).then(|| self.take(0))
    }

    /// Takes what was searched as a line whose line feed is so long.
    fn take(&mut self, line_feed: usize) -> Line<'_> {
        let whole = &self.bytes[self.start..self.searched];
        let bytes = (whole.len() + self.dropped) as u64;
        let content = &whole[..whole.len() - line_feed];
        let is_cut = self.dropped > 0 || content.len() > LINE_BYTES_MAX;
        let content = match is_cut {
            true => &content[..content.len().min(LINE_BYTES_MAX)],
            false => content.strip_suffix(b"\r").unwrap_or(content),
        };
        self.start = self.searched;
        self.dropped = 0;
        Line { text: String::from_utf8_lossy(content), bytes, is_cut }
    }

    /// Leaves out what is too much of a line that has no end yet.
    fn cut(&mut self) {
        let end = self.start + LINE_BYTES_MAX + 1;
        if self.bytes.len() > end {
            self.dropped += self.bytes.len() - end;
            self.bytes.truncate(end);
            self.searched = end;
        }
    }
}

//! Places in a file's text: of byte offsets, and of what string literals hold.

use millstream_model::pipeline::{Located, Place};

/// A text whose places are known.
pub(crate) struct Lines<'t> {
    pub(crate) text: &'t str,
    /// The offsets at which lines begin.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let after_feeds = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(after_feeds).collect() }
    }

    /// The place of a byte. One beyond the text or inside a character is taken back to the last that is not.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = self.text[self.starts[line - 1]..offset].chars().count() + 1;
        Place { line, column }
    }

    /// The byte at a place.
    fn offset(&self, place: Place) -> usize {
        let start = self.starts.get(place.line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = self.text[start..].char_indices();
        start + rest.map(|(offset, _)| offset).nth(place.column.saturating_sub(1)).unwrap_or(0)
    }

    /// The place in the file of the character at `inner` in a string of the file; its end, if it is shorter.
    ///
    /// Walks the string's literal as TOML does: a first line feed of a multi-line literal is not part of the string,
    /// and an escape sequence is one character of it.
    pub(crate) fn inside(&self, string: &Located<String>, inner: Place) -> Place {
        let Some(literal) = Literal::at(self.text, self.offset(string.place)) else {
            return string.place;
        };
        let mut rest = literal.content;
        let mut now = Place { line: 1, column: 1 };
        let mut characters = string.value.chars();
        while now < inner {
            rest = literal.skip_continuation(rest);
            let Some(character) = characters.next() else {
                break;
            };
            rest = &rest[literal.character_bytes(rest).min(rest.len())..];
            now = match character {
                '\n' => Place { line: now.line + 1, column: 1 },
                _ => Place { line: now.line, column: now.column + 1 },
            };
        }
        self.place(self.text.len() - literal.skip_continuation(rest).len())
    }
}

/// A string literal.
struct Literal<'t> {
    /// From its first character on, to the end of the file.
    content: &'t str,
    escapes: bool,
}

impl<'t> Literal<'t> {
    fn at(text: &'t str, start: usize) -> Option<Self> {
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let quote = quotes.into_iter().find(|quote| text[start..].starts_with(quote))?;
        let mut content = &text[start + quote.len()..];
        if quote.len() == 3 {
            let unfed = content.strip_prefix("\r\n").or_else(|| content.strip_prefix('\n'));
            content = unfed.unwrap_or(content);
        }
        Some(Self { content, escapes: quote.starts_with('"') })
    }

    /// Skips line ends that a backslash takes out of the string.
    fn skip_continuation<'r>(&self, mut rest: &'r str) -> &'r str {
        let continues = |rest: &str| {
            self.escapes && ["\\ ", "\\\t", "\\\r", "\\\n"].iter().any(|start| rest.starts_with(start))
        };
        while continues(rest) {
            rest = rest[1..].trim_start();
        }
        rest
    }

    /// How many bytes the first character of the string takes.
    fn character_bytes(&self, rest: &str) -> usize {
        let mut characters = rest.chars();
        let first = characters.next().map_or(0, char::len_utf8);
        if !self.escapes || !rest.starts_with('\\') {
            return first;
        }
        match characters.next() {
            Some('x') => 4,
            Some('u') => 6,
            Some('U') => 10,
            other => first + other.map_or(0, char::len_utf8),
        }
    }
}

//! Values of a plugin's `config` in the pipeline file.

use crate::error::Error;

/// A value of the configuration. It crosses the boundary as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    key: String,
    json: String,
}

impl Setting {
    pub(crate) fn new(key: &str, json: String) -> Self {
        Self { key: key.to_owned(), json }
    }

    /// The value as JSON text, for lists and tables.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.trim()
    }

    /// The value as text.
    ///
    /// # Errors
    /// If the value is not text.
    pub fn text(&self) -> Result<String, Error> {
        unquote(self.json()).ok_or_else(|| self.not("text"))
    }

    /// The value as a whole number.
    ///
    /// # Errors
    /// If the value is not a whole number.
    pub fn integer(&self) -> Result<i64, Error> {
        self.json().parse().map_err(|_| self.not("a whole number"))
    }

    /// The value as a number.
    ///
    /// # Errors
    /// If the value is not a number.
    pub fn number(&self) -> Result<f64, Error> {
        self.json().parse().map_err(|_| self.not("a number"))
    }

    /// The value as true or false.
    ///
    /// # Errors
    /// If the value is neither.
    pub fn boolean(&self) -> Result<bool, Error> {
        self.json().parse().map_err(|_| self.not("true or false"))
    }

    fn not(&self, expected: &'static str) -> Error {
        Error::Setting { key: self.key.clone(), expected, json: self.json.clone() }
    }
}

/// The text of a JSON string (RFC 8259, section 7), if it is one.
fn unquote(json: &str) -> Option<String> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = String::with_capacity(json.len());
    while let Some(character) = rest.next() {
        text.push(match character {
            '\\' => escaped(&mut rest)?,
            '"' => return None,
            plain => plain,
        });
    }
    Some(text)
}

/// The character that follows a backslash stands for.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(rest),
        plain @ ('"' | '\\' | '/') => plain,
        _ => return None,
    })
}

/// The character of four hexadecimal digits, or of a pair of surrogates.
fn unicode(rest: &mut std::str::Chars<'_>) -> Option<char> {
    let high = hexadecimal(rest)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high);
    }
    if (rest.next(), rest.next()) != (Some('\\'), Some('u')) {
        return None;
    }
    let low = hexadecimal(rest)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + low)
}

fn hexadecimal(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| Some(number * 16 + rest.next()?.to_digit(16)?))
}

//! Values of pipeline files, and how they are written: as much of TOML as a pipeline needs.

use std::fmt::Write;

/// A value of a pipeline file. Text, numbers, truth values, lists and arrays of those are made into one where a method takes
/// `impl Into<Toml>`; [`table`] makes a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Toml {
    /// `"text"`
    Text(String),
    /// `1`
    Integer(i64),
    /// `1.5`
    Float(f64),
    /// `true`
    Boolean(bool),
    /// `["a", "b"]`
    List(Vec<Toml>),
    /// `{ key = "value" }`; the keys stand in this order.
    Table(Vec<(String, Toml)>),
}

/// A table of these keys.
///
/// ```
/// # use millstream_sdk::application::table;
/// assert_eq!(table([("n", 1)]).to_string(), "{ n = 1 }");
/// ```
pub fn table<K: Into<String>, V: Into<Toml>>(entries: impl IntoIterator<Item = (K, V)>) -> Toml {
    Toml::Table(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

macro_rules! into_toml {
    ($($type:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$type> for Toml {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

into_toml!(&str => Text, String => Text, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Float, bool => Boolean);

impl<T: Into<Toml>> From<Vec<T>> for Toml {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Toml>, const N: usize> From<[T; N]> for Toml {
    fn from(values: [T; N]) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Sets a key of a table, whatever it was.
pub(crate) fn set(entries: &mut Vec<(String, Toml)>, key: &str, value: Toml) {
    match entries.iter_mut().find(|(name, _)| name == key) {
        Some((_, present)) => *present = value,
        None => entries.push((key.to_owned(), value)),
    }
}

/// Sets a key of the table `of` in a table, which is made where there is none.
pub(crate) fn set_in(entries: &mut Vec<(String, Toml)>, of: &str, key: &str, value: Toml) {
    match entries.iter_mut().find(|(name, _)| name == of) {
        Some((_, Toml::Table(inner))) => set(inner, key, value),
        _ => set(entries, of, table([(key, value)])),
    }
}

impl std::fmt::Display for Toml {
    /// As it stands behind `=`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("nan"),
            // As `Debug` writes it, a whole number has a point.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Self::Table(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(name, value)| format!("{} = {value}", key(name))).collect();
                write!(f, "{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// A key as it stands in front of `=` or in a table's header.
pub(crate) fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => format!("\"{}\"", escaped(name, false)),
    }
}

/// A text of several lines stays one, so that mistakes in it are told by their lines.
fn quoted(text: &str) -> String {
    match text.contains('\n') {
        true => format!("\"\"\"\n{}\"\"\"", escaped(text, true)),
        false => format!("\"{}\"", escaped(text, false)),
    }
}

/// What stands between quotes for a text, whose line feeds stay as they are if it `has_lines`.
fn escaped(text: &str, has_lines: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' if has_lines => escaped.push('\n'),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            control if control.is_control() => {
                write!(escaped, "\\u{:04X}", u32::from(control)).expect("text can always be written");
            }
            other => escaped.push(other),
        }
    }
    escaped
}

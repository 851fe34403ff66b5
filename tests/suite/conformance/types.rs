//! The types of elements, and elements as rows.

use serde::Deserialize;
use serde_json::Value;

/// The type of a stream's elements.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(super) enum Type {
    /// `String`, and `Key`, whose numbers become texts.
    Text,
    /// `i64`
    Number,
    /// `bytes`, `[u8; N]`
    Bytes,
    /// `Vec<...>`
    List(Box<Type>),
    /// `Option<...>`
    Optional(Box<Type>),
    /// `(..., ...)`
    Tuple(Vec<Type>),
}

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Type, String> {
    let inside = |before: &str, after: &str| text.strip_prefix(before)?.strip_suffix(after);
    if let Some(item) = inside("Vec<", ">") {
        return Ok(Type::List(Box::new(parse(item)?)));
    }
    if let Some(item) = inside("Option<", ">") {
        return Ok(Type::Optional(Box::new(parse(item)?)));
    }
    if let Some(items) = inside("(", ")") {
        let items = split(items).into_iter().map(|item| parse(item.trim()));
        return items.collect::<Result<_, _>>().map(Type::Tuple);
    }
    match text {
        "String" | "Key" => Ok(Type::Text),
        "i64" => Ok(Type::Number),
        "bytes" => Ok(Type::Bytes),
        _ if text.starts_with("[u8; ") => Ok(Type::Bytes),
        _ => Err(format!("the type `{text}` has no translation")),
    }
}

/// Splits at the commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '<' | '[' => depth += 1,
            ')' | '>' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

impl Type {
    /// The columns of an element: their names and what they hold.
    pub(super) fn columns(&self) -> Vec<(&'static str, &Self)> {
        let mut leaves = Vec::new();
        self.leaves(&mut leaves);
        names(leaves.len()).iter().copied().zip(leaves).collect()
    }

    fn leaves<'t>(&'t self, leaves: &mut Vec<&'t Self>) {
        match self {
            Self::Tuple(items) => items.iter().for_each(|item| item.leaves(leaves)),
            leaf => leaves.push(leaf),
        }
    }

    /// An element as a row of the pipeline file. `sorted` puts the values of its lists in order.
    pub(super) fn row(&self, element: &Value, sorted: bool) -> String {
        let mut values = Vec::new();
        self.values(element, &mut values);
        let cells = names(values.len()).iter().zip(values).filter(|(_, (_, value))| !value.is_null());
        let cells = cells.map(|(name, (kind, value))| format!("{name} = {}", kind.cell(value, sorted)));
        format!("{{ {} }}", cells.collect::<Vec<_>>().join(", "))
    }

    fn values<'e>(&'e self, element: &'e Value, values: &mut Vec<(&'e Self, &'e Value)>) {
        match self {
            Self::Tuple(items) => {
                let elements = element.as_array().expect("a tuple is an array");
                assert_eq!(items.len(), elements.len(), "{element}");
                items.iter().zip(elements).for_each(|(item, element)| item.values(element, values));
            }
            leaf => values.push((leaf, element)),
        }
    }

    /// A value in TOML, which writes them as JSON does.
    fn cell(&self, value: &Value, sorted: bool) -> String {
        match self {
            Self::Optional(kind) => kind.cell(value, sorted),
            Self::List(kind) => {
                let mut items: Vec<&Value> = value.as_array().expect("a list is an array").iter().collect();
                if sorted {
                    items.sort_by_key(|item| (item.as_i64(), item.as_str().map(str::to_owned)));
                }
                let items: Vec<_> = items.into_iter().map(|item| kind.cell(item, sorted)).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Text => Value::from(self.text(value)).to_string(),
            _ => value.to_string(),
        }
    }

    /// A text or number as a text.
    pub(super) fn text(&self, value: &Value) -> String {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }
}

fn names(columns: usize) -> &'static [&'static str] {
    match columns {
        1 => &["value"],
        2 => &["k", "v"],
        3 => &["k", "v", "w"],
        _ => panic!("{columns} columns have no names"),
    }
}

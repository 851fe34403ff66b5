//! The body of a request: the values of rows as text or as JSON.

use millstream_sdk::prelude::*;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The values as they are, a line each.
    Lines,
    /// `{"value":"..."}`, a line each.
    JsonLines,
    /// `[{"value":"..."},...]`.
    Json,
}

impl Format {
    /// The one that the configuration names.
    pub(crate) fn configured() -> Result<Self, Fault> {
        let format = config("format").map_or(Ok("json-lines".to_owned()), |format| format.text())?;
        match format.as_str() {
            "lines" => Ok(Self::Lines),
            "json-lines" => Ok(Self::JsonLines),
            "json" => Ok(Self::Json),
            other => Err(Fault::rejected(format!("`format` is {other:?}, not lines, json-lines or json"))),
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "text/plain; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
            Self::Json => "application/json",
        }
    }

    pub(crate) fn body<'a>(self, values: impl Iterator<Item = &'a str>) -> String {
        let mut body = String::new();
        for value in values {
            match self {
                Self::Lines => body.push_str(value),
                Self::JsonLines => push_object(&mut body, value),
                Self::Json => {
                    body.push(if body.is_empty() { '[' } else { ',' });
                    push_object(&mut body, value);
                    continue;
                }
            }
            body.push('\n');
        }
        if self == Self::Json {
            body.push(']');
        }
        body
    }
}

fn push_object(body: &mut String, value: &str) {
    body.push_str(r#"{"value":"#);
    push_text(body, value);
    body.push('}');
}

/// A text in JSON (RFC 8259, section 7).
fn push_text(body: &mut String, text: &str) {
    body.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => body.extend(['\\', character]),
            '\n' => body.push_str("\\n"),
            '\r' => body.push_str("\\r"),
            '\t' => body.push_str("\\t"),
            '\0'..='\x1f' => body.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => body.push(character),
        }
    }
    body.push('"');
}

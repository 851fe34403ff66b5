//! The body of a request: the values of rows as text or as JSON.

use std::fmt::Write;

use millstream_sdk::prelude::*;
use serde_json::json;

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

    pub(crate) fn body<'a>(self, values: impl Iterator<Item = Option<&'a str>>) -> String {
        let mut body = String::new();
        for value in values {
            let object = json!({ "value": value });
            let written = match self {
                Self::Lines => writeln!(body, "{}", value.unwrap_or_default()),
                Self::JsonLines => writeln!(body, "{object}"),
                Self::Json => write!(body, "{}{object}", if body.is_empty() { '[' } else { ',' }),
            };
            written.expect("a text takes every text");
        }
        if self == Self::Json {
            body.push(']');
        }
        body
    }
}

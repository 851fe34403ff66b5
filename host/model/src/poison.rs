//! A row that a function failed on, as people read it.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;
use serde_json::{Map, Value};

/// A row that a function failed on and on nothing beside it, with what it failed with.
#[derive(Clone, Debug, PartialEq)]
pub struct PoisonRow {
    /// The stream that called the function.
    pub stream: String,
    /// The function: `plugin.function`.
    pub function: String,
    /// The SHA-256 of the plugin's component, in hexadecimal.
    pub digest: String,
    /// What it failed with, up to [`PoisonRow::ERROR_BYTES_MAX`].
    pub error: String,
    /// The key, where it was called for one, and the columns that it was called with, up to [`PoisonRow::ROW_BYTES_MAX`] of
    /// texts.
    pub row: Map<String, Value>,
    /// Whether the values may be totals, which earlier calls have made of several rows.
    pub totals: bool,
}

impl PoisonRow {
    /// A longer error is cut to this many bytes.
    pub const ERROR_BYTES_MAX: usize = 4 * 1024;
    /// Of larger rows, texts and lists are cut so that they come to this many bytes.
    pub const ROW_BYTES_MAX: usize = 64 * 1024;

    /// A row of `rows`, which are the columns that the function was called with and those of the key.
    pub fn new(
        stream: &str,
        function: &str,
        digest: &str,
        error: &impl ToString,
        rows: &RecordBatch,
        row: usize,
    ) -> Self {
        Self {
            stream: stream.to_owned(),
            function: function.to_owned(),
            digest: digest.to_owned(),
            error: cut(&error.to_string(), Self::ERROR_BYTES_MAX).to_owned(),
            row: row_as_json(rows, row),
            totals: false,
        }
    }

    /// Bytes that it takes, about.
    pub fn size_bytes(&self) -> usize {
        let values: usize = self.row.iter().map(|(name, value)| name.len() + size_bytes(value)).sum();
        self.error.len() + values
    }
}

/// One row of a table as JSON: times as RFC 3339 text, bytes in hexadecimal, what JSON has no number for as null.
fn row_as_json(rows: &RecordBatch, row: usize) -> Map<String, Value> {
    let mut room = PoisonRow::ROW_BYTES_MAX;
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    columns.map(|(field, column)| (field.name().clone(), value(column, row, &mut room))).collect()
}

/// As much of `text` as `bytes_max` bytes hold.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn value(column: &dyn Array, row: usize, room: &mut usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8View => text(column.as_string_view().value(row), room),
        DataType::BinaryView => bytes(column.as_binary_view().value(row), room),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let mut list = Vec::new();
            for item in 0..items.len() {
                // Items are never free, so that even a list of nulls comes to an end.
                let Some(left) = room.checked_sub(8) else { break };
                *room = left;
                list.push(value(&items, item, room));
            }
            Value::Array(list)
        }
        DataType::Timestamp(..) => match array_value_to_string(column, row) {
            Ok(time) => text(&format!("{}Z", time.trim_end_matches('Z')), room),
            Err(_) => Value::Null,
        },
        _ => text(&array_value_to_string(column, row).unwrap_or_default(), room),
    }
}

fn text(text: &str, room: &mut usize) -> Value {
    let kept = cut(text, *room);
    *room -= kept.len();
    kept.into()
}

fn bytes(bytes: &[u8], room: &mut usize) -> Value {
    let kept = &bytes[..bytes.len().min(*room / 2)];
    *room -= 2 * kept.len();
    kept.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn size_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size_bytes).sum::<usize>() + 8 * items.len(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests;

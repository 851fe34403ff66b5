//! A row as people read it.
//!
//! It is written much as a JSON object, the columns in their order. Numbers that JSON does not have are written as well (`NaN`),
//! bytes in hexadecimal, and times as texts. However large the row is, no more of it is looked at than is written.

use std::fmt::{self, Write};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// What stands at the end of a row that was cut.
const CUT: char = '…';

/// A row of `table`, cut after `bytes_max`.
pub(super) fn row_text(table: &RecordBatch, row: usize, bytes_max: usize) -> String {
    let mut text = Cut { text: String::new(), bytes_max };
    if write_row(&mut text, table, row).is_err() {
        text.text.push(CUT);
    }
    text.text
}

/// A text that takes no more than so many bytes.
struct Cut {
    text: String,
    bytes_max: usize,
}

impl Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let kept = &more[..more.floor_char_boundary(self.bytes_max - self.text.len())];
        self.text.push_str(kept);
        if kept.len() == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The inside of a text in quotes.
struct Quoted<'t>(&'t mut Cut);

impl Write for Quoted<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        more.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\n' => self.0.write_str("\\n"),
            c if c.is_control() => write!(self.0, "\\u{:04x}", c as u32),
            c => self.0.write_char(c),
        })
    }
}

fn write_row(text: &mut Cut, table: &RecordBatch, row: usize) -> fmt::Result {
    text.write_char('{')?;
    for (i, (field, column)) in table.schema_ref().fields().iter().zip(table.columns()).enumerate() {
        text.write_str(if i == 0 { "\"" } else { ",\"" })?;
        Quoted(text).write_str(field.name())?;
        text.write_str("\":")?;
        write_value(text, column, row)?;
    }
    text.write_char('}')
}

fn write_value(text: &mut Cut, column: &dyn Array, row: usize) -> fmt::Result {
    if column.is_null(row) {
        return text.write_str("null");
    }
    match column.data_type() {
        DataType::List(_) => write_list(text, &column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(text, &column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(text, &column.as_fixed_size_list().value(row)),
        data_type => {
            let options = FormatOptions::new().with_null("null");
            let formatter = ArrayFormatter::try_new(column, &options).map_err(|_| fmt::Error)?;
            let value = formatter.value(row);
            if data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null) {
                return write!(text, "{value}");
            }
            text.write_char('"')?;
            write!(Quoted(text), "{value}")?;
            text.write_char('"')
        }
    }
}

fn write_list(text: &mut Cut, items: &ArrayRef) -> fmt::Result {
    text.write_char('[')?;
    for item in 0..items.len() {
        text.write_str(if item == 0 { "" } else { "," })?;
        write_value(text, items, item)?;
    }
    text.write_char(']')
}

//! A page for people: a table under the batch's time.
//!
//! Values are data from anywhere, so whatever a terminal would act on is shown as an escape, and long values
//! are cut.

use std::fmt::Write;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_model::BatchTime;

use super::Line;

/// Characters of a value that are shown.
const CELL_CHARS_MAX: usize = 80;
const RULE: &str = "-------------------------------------------";

/// The cells of every row.
pub(super) fn cells(rows: &RecordBatch) -> Result<Vec<Line>, ArrowError> {
    let options = FormatOptions::new().with_null("NULL");
    let formatters = rows.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let cell = |formatter: &ArrayFormatter<'_>, row| Ok(printable(&formatter.value(row).try_to_string()?));
    let line = |row| formatters.iter().map(|formatter| cell(formatter, row)).collect();
    (0..rows.num_rows()).map(line).collect()
}

/// The whole page; only its head if the batch has no rows.
pub(super) fn page(time: BatchTime, schema: &SchemaRef, lines: &[Line], more: usize) -> String {
    let mut page = format!("{RULE}\nTime: {time} ms\n{RULE}\n");
    if !lines.is_empty() {
        table(&mut page, schema, lines);
    }
    if more > 0 {
        page.push_str(&format!("... {more} more {}\n", if more == 1 { "row" } else { "rows" }));
    }
    page.push('\n');
    page
}

/// Rows as a table for people, whatever is in them.
pub fn text(rows: &RecordBatch) -> Result<String, ArrowError> {
    let mut text = String::new();
    table(&mut text, rows.schema_ref(), &cells(rows)?);
    Ok(text)
}

fn table(page: &mut String, schema: &Schema, lines: &[Line]) {
    let names: Line = schema.fields().iter().map(|field| printable(field.name())).collect();
    let width = |column: usize| {
        lines.iter().chain([&names]).map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let to_the_right: Vec<bool> =
        schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();

    let row = |page: &mut String, line: &Line| {
        for ((cell, width), right) in line.iter().zip(&widths).zip(&to_the_right) {
            let written =
                if *right { write!(page, "| {cell:>width$} ") } else { write!(page, "| {cell:<width$} ") };
            written.expect("a string takes all that is written");
        }
        page.push_str("|\n");
    };
    let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let rule = rule + "+\n";

    page.push_str(&rule);
    row(page, &names);
    page.push_str(&rule);
    lines.iter().for_each(|line| row(page, line));
    page.push_str(&rule);
}

/// The first characters of `text`, with escapes for those that a terminal acts on.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == CELL_CHARS_MAX {
            shown.push('…');
            break;
        }
        if drives_terminal(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters, and those that turn the direction of writing.
fn drives_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

//! CSV as in RFC 4180, but for one thing: a record is a line, so a quoted field may not hold a line break.
//!
//! An empty field is null; in a text column that has no nulls it is the empty text. Timestamps are RFC 3339
//! text or microseconds since 1970.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow_csv::ReaderBuilder;
use memchr::memchr_iter;
use millstream_model::Schema;

use super::bisect::Parse;

/// The parser of comma-separated values.
pub(super) struct Csv {
    schema: SchemaRef,
    /// What the reader gives: text where we read more than it can, and nulls where fields are empty.
    raw: SchemaRef,
    header: bool,
}

impl Csv {
    pub(super) fn new(schema: &Schema, header: bool) -> Self {
        let schema = schema.to_arrow();
        let raw = schema.fields().iter().map(|field| {
            let raw_type = match field.data_type() {
                DataType::Timestamp(..) => DataType::Utf8View,
                other => other.clone(),
            };
            Field::new(field.name(), raw_type, true)
        });
        let raw = Arc::new(ArrowSchema::new(raw.collect::<Vec<_>>()));
        Self { schema: Arc::new(schema), raw, header }
    }

    fn read(&self, lines: &[u8], rows: usize) -> Result<RecordBatch, ArrowError> {
        // One row more than there should be, so that a line with two records is noticed.
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.raw)).with_batch_size(rows + 1).build_decoder();
        decoder.decode(lines)?;
        // Nothing more: that ends a last record without a line feed.
        decoder.decode(&[])?;
        let Some(raw) = decoder.flush()? else {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        };
        let columns = self.schema.fields().iter().zip(raw.columns());
        let columns = columns.map(|(field, column)| finish(field, column)).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

impl Parse for Csv {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn has_header(&self) -> bool {
        self.header
    }

    fn check_header(&self, header: &[u8]) -> Result<(), String> {
        let header = String::from_utf8_lossy(header.trim_ascii_end());
        let names = header.split(',').map(|name| name.trim().trim_matches('"'));
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        if names.eq(columns.iter().copied()) {
            return Ok(());
        }
        let columns = columns.join(",");
        Err(format!("the header is not {columns}; the records are read as if it were"))
    }

    fn is_blank(&self, line: &[u8]) -> bool {
        matches!(line, b"" | b"\r")
    }

    fn parse(&self, lines: &[u8], rows: usize) -> Result<RecordBatch, String> {
        // The reader would take a quote that is open at the end for closed.
        if memchr_iter(b'"', lines).count() % 2 == 1 {
            return Err("a quote is not closed on its line; a field may not hold a line break".to_owned());
        }
        self.read(lines, rows).map_err(|error| reason(&error))
    }
}

/// A column as the schema has it, from the one that was read.
fn finish(field: &Field, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match field.data_type() {
        DataType::Timestamp(..) => timestamps(field, column.as_string_view()),
        DataType::Utf8View if !field.is_nullable() && column.null_count() > 0 => {
            let texts = column.as_string_view().iter().map(Option::unwrap_or_default);
            Ok(Arc::new(StringViewArray::from_iter_values(texts)))
        }
        _ => Ok(Arc::clone(column)),
    }
}

fn timestamps(field: &Field, texts: &StringViewArray) -> Result<ArrayRef, ArrowError> {
    let parse = |text: &str| {
        let parsed = text.parse().ok().or_else(|| TimestampMicrosecondType::parse(text));
        parsed.ok_or_else(|| {
            let reason = format!("\"{text}\" in column \"{}\" is no RFC 3339 time", field.name());
            ArrowError::ParseError(reason)
        })
    };
    let values = texts.iter().map(|text| text.map(parse).transpose());
    Ok(Arc::new(values.collect::<Result<TimestampMicrosecondArray, _>>()?))
}

/// What the reader says of a single record, without the line's number, which is always 1 there.
fn reason(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::CsvError(text) | ArrowError::ParseError(text) => text.replace(" for line 1,", ":"),
        other => other.to_string(),
    };
    let reason = text.split(" at line 1").next().unwrap_or(&text);
    format!("reading comma-separated values: {reason}")
}

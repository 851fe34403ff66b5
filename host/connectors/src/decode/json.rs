//! JSON: an object a line.
//!
//! A key that is missing is null, one that the schema does not name is ignored. Timestamps are RFC 3339 text or
//! microseconds since 1970; binary values are hexadecimal. An integer column takes numbers written with a
//! fraction too, without the fraction; a number beyond its range is a fault of the record.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_json::ReaderBuilder;
use millstream_model::Schema;

use super::bisect::Parse;

/// The parser of JSON lines.
pub(super) struct Json {
    schema: SchemaRef,
}

impl Json {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { schema: Arc::new(schema.to_arrow()) }
    }

    fn read(&self, lines: &[u8], rows: usize) -> Result<RecordBatch, ArrowError> {
        // One row more than there should be, so that a line with two objects is noticed.
        let mut decoder =
            ReaderBuilder::new(Arc::clone(&self.schema)).with_batch_size(rows + 1).build_decoder()?;
        let read = decoder.decode(lines)?;
        if read < lines.len() {
            return Err(ArrowError::JsonError("the line holds more than one object".to_owned()));
        }
        Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.schema))))
    }
}

impl Parse for Json {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn is_blank(&self, line: &[u8]) -> bool {
        line.trim_ascii().is_empty()
    }

    fn parse(&self, lines: &[u8], rows: usize) -> Result<RecordBatch, String> {
        self.read(lines, rows).map_err(|error| match error {
            ArrowError::JsonError(reason) => format!("reading a JSON object: {reason}"),
            other => format!("reading a JSON object: {other}"),
        })
    }
}

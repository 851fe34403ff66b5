//! Turns blocks into rows, on the threads that compute.
//!
//! A decoder keeps nothing between blocks, so blocks are decoded in any order and by several threads at once.
//! A record that cannot be read goes to the dead letters with its position; the others of its block are kept.

mod bisect;
mod csv;
mod json;
mod lines;
mod rows;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_engine::Decoder;
use millstream_model::pipeline::Format;
use millstream_model::{Block, DeadLetter, Payload};

use crate::files::records;
use bisect::Records;

/// The decoder of `format` for the blocks of the source called `source`.
pub(crate) fn decoder(source: &str, format: &Format) -> Arc<dyn Decoder> {
    match format {
        Format::Lines => Arc::new(lines::Lines::new(source)),
        Format::Json(schema) => Arc::new(Records::new(source, json::Json::new(schema))),
        Format::Csv { schema, header } => Arc::new(Records::new(source, csv::Csv::new(schema, *header))),
        Format::Records { .. } => Arc::new(Columns(records::schema())),
        Format::Parquet(schema) => Arc::new(Columns(Arc::new(schema.to_arrow()))),
        Format::Rows(schema) => Arc::new(rows::Rows::new(source, schema)),
    }
}

/// Blocks that are rows already.
struct Columns(SchemaRef);

impl Decoder for Columns {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn decode(&self, block: &Block, _reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        match &block.payload {
            Payload::Rows(rows) => rows.clone(),
            Payload::Lines(_) | Payload::Rejected(_) => RecordBatch::new_empty(self.schema()),
        }
    }
}

#[cfg(test)]
mod tests;

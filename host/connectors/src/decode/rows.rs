//! Rows that were rows when they came in: in the columns that their source has now, or had before.
//!
//! What waits in the write-ahead log may have been received by an older version of a plugin. Columns are found by their
//! names, so that one more or another order does no harm; rows that lack one, or have it of another type, are rejected.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use millstream_engine::Decoder;
use millstream_model::{Block, DeadLetter, Payload, Schema};

/// Reads blocks of rows.
pub(super) struct Rows {
    source: String,
    schema: SchemaRef,
}

impl Rows {
    pub(super) fn new(source: &str, schema: &Schema) -> Self {
        Self { source: source.to_owned(), schema: Arc::new(schema.to_arrow()) }
    }

    /// The rows in the columns of the source, or why they are not in them.
    fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        if rows.schema_ref() == &self.schema {
            return Ok(rows.clone());
        }
        let columns =
            self.schema.fields().iter().map(|field| column(field, rows)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let conformed = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        conformed.map_err(|error| error.to_string())
    }
}

impl Decoder for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        let conformed = match &block.payload {
            Payload::Rows(rows) => self.conform(rows),
            Payload::Lines(_) | Payload::Rejected(_) => {
                Err("it is bytes, where the source gives rows".into())
            }
        };
        conformed.unwrap_or_else(|reason| {
            let error = format!("it was received in other columns than the source has now: {reason}");
            for record in 0..block.rows as u64 {
                reject(DeadLetter::new(&self.source, block.position.after(record), &error, &[]));
            }
            RecordBatch::new_empty(self.schema())
        })
    }
}

fn column(field: &Field, rows: &RecordBatch) -> Result<ArrayRef, String> {
    let name = field.name();
    let column = rows.column_by_name(name).ok_or_else(|| format!("there is no column \"{name}\""))?;
    match column.data_type() == field.data_type() && (field.is_nullable() || column.null_count() == 0) {
        true => Ok(Arc::clone(column)),
        false => Err(format!("the column \"{name}\" is of another type")),
    }
}

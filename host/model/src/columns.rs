//! Columns of tables, put together.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// A table of so many rows, which it keeps even without columns.
///
/// # Errors
/// The columns are not those of `schema`, or not of that length.
pub fn table(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// The columns with those numbers, in the types of the fields of `schema`, of which there is one for each.
///
/// # Errors
/// A value has no place in its type.
pub fn pick(
    rows: &RecordBatch,
    columns: impl IntoIterator<Item = usize>,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let picked = columns.into_iter().zip(schema.fields()).map(|(column, field)| {
        let column = rows.column(column);
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        }
    });
    table(Arc::clone(schema), picked.collect::<Result<_, _>>()?, rows.num_rows())
}

//! Columns of tables: found by name, cast, put together.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use millstream_model::columns;
use millstream_query::QueryError;

/// What arrow says of columns that do not fit, which the checks of a pipeline rule out, or of text that is too much for one
/// column.
pub(crate) fn misfit(error: ArrowError) -> QueryError {
    QueryError::Run { relation: "its input".to_owned(), message: error.to_string() }
}

/// A table that keeps its number of rows even without columns.
pub(crate) fn table(
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, QueryError> {
    columns::table(schema, columns, rows).map_err(misfit)
}

/// All rows in one table.
pub(crate) fn whole(schema: &SchemaRef, chunks: &[RecordBatch]) -> Result<RecordBatch, QueryError> {
    match chunks {
        [one] => Ok(one.clone()),
        chunks => concat_batches(schema, chunks).map_err(misfit),
    }
}

/// Those columns of a table, in the types of `schema`.
pub(crate) fn pick(
    rows: &RecordBatch,
    numbers: &[usize],
    schema: &SchemaRef,
) -> Result<RecordBatch, QueryError> {
    columns::pick(rows, numbers.iter().copied(), schema).map_err(misfit)
}

/// Those rows of columns.
pub(crate) fn gather(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>, QueryError> {
    columns.iter().map(|column| take(column, rows, None).map_err(misfit)).collect()
}

/// Those rows of a table.
pub(crate) fn gather_rows(table_of: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch, QueryError> {
    table(table_of.schema(), gather(table_of.columns(), rows)?, rows.len())
}

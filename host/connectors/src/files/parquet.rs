//! Reads a Parquet file: its columns by their names, cast where nothing is lost.

use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use millstream_model::{Block, Payload, Position, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tokio::sync::mpsc::Sender;

use crate::cut::Cut;

/// Sends the rows of `file` as `schema` has them, until `sender` is closed.
///
/// # Errors
/// The file is not Parquet, is damaged, or has other columns: what to tell the operator.
pub(super) fn read(
    path: &Path,
    file: File,
    schema: &Schema,
    rows_max: usize,
    sender: &Sender<Cut>,
) -> Result<(), String> {
    let origin: Arc<str> = path.to_string_lossy().into();
    let mut position = Position { origin, record: 0 };
    let fault = |fault: &dyn Display, rows: u64| {
        format!("reading {}: {fault}; {rows} rows of it are taken, the rest is skipped", path.display())
    };
    let batches = open(file, schema, rows_max).map_err(|reason| fault(&reason, 0))?;
    let target = Arc::new(schema.to_arrow());
    for batch in batches {
        let rows = batch.map_err(|error| error.to_string()).and_then(|batch| conform(&batch, &target));
        let rows = rows.map_err(|reason| fault(&reason, position.record))?;
        let count = rows.num_rows();
        let block = Block { payload: Payload::Rows(rows), rows: count, position: position.clone() };
        if sender.blocking_send(Cut::Block(block)).is_err() {
            break;
        }
        position = position.after(count as u64);
    }
    Ok(())
}

/// A reader of the columns that `schema` names.
fn open(file: File, schema: &Schema, rows_max: usize) -> Result<ParquetRecordBatchReader, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    check(schema, builder.schema())?;
    let columns = schema.fields.iter().filter_map(|field| builder.schema().index_of(&field.name).ok());
    let wanted = ProjectionMask::roots(builder.parquet_schema(), columns);
    let reader = builder.with_projection(wanted).with_batch_size(rows_max).build();
    reader.map_err(|error| error.to_string())
}

/// Whether every column of `schema` is there in a type that casts without loss.
fn check(schema: &Schema, given: &ArrowSchema) -> Result<(), String> {
    for field in &schema.fields {
        let name = &field.name;
        let (_, column) = given
            .column_with_name(name)
            .ok_or_else(|| format!("the file has no column \"{name}\", which the source's schema names"))?;
        if !field.data_type.accepts(column.data_type()) {
            let (wanted, given) = (&field.data_type, column.data_type());
            return Err(format!(
                "the column \"{name}\" is {given} in the file and {wanted} in the source's schema"
            ));
        }
    }
    Ok(())
}

/// The columns of `batch` in the order and the types of `target`.
fn conform(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, String> {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let column = batch.column_by_name(field.name()).expect("the file's columns were checked");
        cast(column, field.data_type()).map_err(|error| format!("the column \"{}\": {error}", field.name()))
    };
    let columns = target.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(target), columns).map_err(|error| error.to_string())
}

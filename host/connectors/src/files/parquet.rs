//! Reads a Parquet file: its columns by their names, cast where nothing is lost.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use millstream_model::{Block, Payload, Position, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::read::{Fault, Reading, Request};

/// Gives the rows of `file` that are wanted, as `schema` has them, to `give`, until that wants no more.
pub(super) fn read(
    path: &Path,
    file: File,
    schema: &Schema,
    request: &Request,
    give: &mut dyn FnMut(Block) -> bool,
) -> Reading {
    let stopped = |records, reason| Reading { records, fault: Some(Fault { reason, after: records }) };
    let (batches, held) = match open(file, schema, request) {
        Ok(opened) => opened,
        Err(reason) => return stopped(0, reason),
    };
    let mut position = Position { origin: path.to_string_lossy().into(), record: request.records.start };
    let target = Arc::new(schema.to_arrow());
    for batch in batches {
        let rows = batch.map_err(|error| error.to_string()).and_then(|batch| conform(&batch, &target));
        let rows = match rows {
            Ok(rows) => rows,
            Err(reason) => return stopped(position.record, reason),
        };
        let count = rows.num_rows();
        let next = position.after(count as u64);
        let payload = Payload::Rows(rows);
        if !give(Block { payload, rows: count, position, resume: None }) {
            return Reading { records: next.record, fault: None };
        }
        position = next;
    }
    Reading { records: position.record.min(held), fault: None }
}

/// A reader of the wanted rows of the columns that `schema` names, and how many rows the file says it holds.
fn open(file: File, schema: &Schema, request: &Request) -> Result<(ParquetRecordBatchReader, u64), String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    check(schema, builder.schema())?;
    let held = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    let columns = schema.fields.iter().filter_map(|field| builder.schema().index_of(&field.name).ok());
    let wanted = ProjectionMask::roots(builder.parquet_schema(), columns);
    let clamped = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let Range { start, end } = request.records;
    let mut builder = builder.with_projection(wanted).with_batch_size(request.rows_max);
    if start > 0 {
        builder = builder.with_offset(clamped(start));
    }
    if end < u64::MAX {
        builder = builder.with_limit(clamped(end - start));
    }
    let reader = builder.build().map_err(|error| error.to_string())?;
    Ok((reader, held))
}

/// Whether every column of `schema` is there in a type that casts without loss.
fn check(schema: &Schema, given: &ArrowSchema) -> Result<(), String> {
    for field in &schema.fields {
        let name = &field.name;
        let (_, column) = given
            .column_with_name(name)
            .ok_or_else(|| format!("the file has no column \"{name}\", which the schema names"))?;
        if !field.data_type.accepts(column.data_type()) {
            let (wanted, given) = (&field.data_type, column.data_type());
            return Err(format!("the column \"{name}\" is {given} in the file and {wanted} in the schema"));
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

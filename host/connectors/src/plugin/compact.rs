//! Rows without what their buffers hold of other rows. A slice, and what a filter leaves, keep all of the text that they were
//! taken from; written to disk or counted in memory as they are, a few rows would be as large as all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatchOptions};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

/// The same rows, in buffers of their own.
pub(super) fn compact(rows: &RecordBatch) -> RecordBatch {
    let columns = rows.columns().iter().map(compact_column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let compacted = RecordBatch::try_new_with_options(rows.schema(), columns, &options);
    compacted.expect("the columns are the same as before")
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::List(field) => {
            let lists = column.as_list::<i32>();
            let (offsets, nulls) = (lists.offsets(), lists.nulls().cloned());
            let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
            let elements = compact_column(&lists.values().slice(first, last - first));
            let offsets = OffsetBuffer::from_lengths(offsets.lengths());
            Arc::new(ListArray::new(Arc::clone(field), offsets, elements, nulls))
        }
        _ => Arc::clone(column),
    }
}

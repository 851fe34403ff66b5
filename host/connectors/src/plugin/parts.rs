//! A batch's rows in parts of bounded size, in an order that depends on nothing but the rows.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, GenericByteViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{ByteViewType, DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use millstream_model::SinkPart;

use super::compact::compact;

/// Bytes of values in a part, unless it is one row: a guest has to hold it.
const BYTES_MAX: usize = 8 << 20;

/// The parts of a batch in the making: those of a partition one after the other, partition after partition.
#[derive(Debug)]
pub(super) struct Parts {
    schema: SchemaRef,
    partitions: BTreeMap<usize, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    done: Vec<RecordBatch>,
    open: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Parts {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, partitions: BTreeMap::new() }
    }

    /// Adds rows to the end of a partition.
    pub(super) fn push(&mut self, partition: usize, rows: RecordBatch) {
        if rows.num_rows() == 0 {
            return;
        }
        let partition = self.partitions.entry(partition).or_default();
        partition.rows += rows.num_rows();
        partition.bytes += bytes_of(&rows);
        partition.open.push(rows);
        if partition.rows >= SinkPart::ROWS_MAX || partition.bytes >= BYTES_MAX {
            partition.close(&self.schema);
        }
    }

    /// All parts.
    pub(super) fn finish(self) -> Vec<RecordBatch> {
        let close = |mut partition: Partition| {
            partition.close(&self.schema);
            partition.done
        };
        self.partitions.into_values().flat_map(close).collect()
    }
}

impl Partition {
    /// Makes parts of what is open.
    fn close(&mut self, schema: &SchemaRef) {
        let open = std::mem::take(&mut self.open);
        (self.rows, self.bytes) = (0, 0);
        if !open.is_empty() {
            let whole = concat_batches(schema, &open).expect("all rows have the sink's columns");
            cut(whole, &mut self.done);
        }
    }
}

/// Cuts rows in halves until they are small enough.
fn cut(rows: RecordBatch, parts: &mut Vec<RecordBatch>) {
    let count = rows.num_rows();
    let fits = count <= SinkPart::ROWS_MAX && bytes_of(&rows) <= BYTES_MAX;
    if fits || count == 1 {
        return parts.push(compact(&rows));
    }
    let half = count / 2;
    cut(rows.slice(0, half), parts);
    cut(rows.slice(half, count - half), parts);
}

fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| bytes_in(column.as_ref())).sum()
}

/// What the values take when they stand one behind the other.
fn bytes_in(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => bytes_in_views(array.as_string_view()),
        DataType::BinaryView => bytes_in_views(array.as_binary_view()),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
            let elements = lists.values().slice(first as usize, (last - first) as usize);
            4 * array.len() + bytes_in(elements.as_ref())
        }
        _ => 8 * array.len(),
    }
}

fn bytes_in_views<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> usize {
    array.lengths().map(|length| 4 + length as usize).sum()
}

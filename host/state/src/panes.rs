//! Tables of rows by batch: what windows still need.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, make_array};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use arrow::record_batch::RecordBatch;
use millstream_journal::Place;
use millstream_model::BatchTime;

use crate::change::PaneChange;
use crate::{PaneSpec, StateError};

/// The rows of some batches.
#[derive(Debug)]
pub struct Panes {
    name: String,
    spec: PaneSpec,
    panes: RwLock<Contents>,
}

/// The rows of one batch.
#[derive(Clone, Debug)]
pub struct Pane {
    /// The batch.
    pub time: BatchTime,
    /// Its rows.
    pub rows: Arc<[RecordBatch]>,
}

/// All panes, and what they take in memory.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    panes: BTreeMap<BatchTime, Kept>,
    bytes: u64,
}

#[derive(Debug)]
struct Kept {
    rows: Arc<[RecordBatch]>,
    bytes: u64,
    places: Vec<Place>,
}

impl Panes {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn spec(&self) -> &PaneSpec {
        &self.spec
    }

    /// The panes of batches with a time in `times`, in order; batches without rows have none.
    pub fn range(&self, times: impl RangeBounds<BatchTime>) -> Vec<Pane> {
        let contents = self.read();
        let panes = contents.panes.range(times);
        panes.map(|(time, kept)| Pane { time: *time, rows: Arc::clone(&kept.rows) }).collect()
    }

    /// The rows of one batch.
    pub fn get(&self, time: BatchTime) -> Option<Arc<[RecordBatch]>> {
        self.read().panes.get(&time).map(|kept| Arc::clone(&kept.rows))
    }

    pub(crate) fn new(name: &str, spec: PaneSpec, contents: Contents) -> Self {
        Self { name: name.to_owned(), spec, panes: RwLock::new(contents) }
    }

    /// Everything that is in it.
    pub(crate) fn take(&self) -> Contents {
        std::mem::take(&mut self.write())
    }

    /// Whether a change can be applied.
    pub(crate) fn check(&self, change: &PaneChange) -> Result<(), StateError> {
        let types = |rows: &RecordBatch| {
            let fields = rows.schema_ref().fields().iter().map(|field| field.data_type().clone());
            fields.collect::<Vec<_>>()
        };
        let expected: Vec<DataType> =
            self.spec.columns.fields().iter().map(|field| field.data_type().clone()).collect();
        match change.added.iter().map(types).find(|found| *found != expected) {
            None => Ok(()),
            Some(found) => Err(StateError::Columns {
                table: self.name.clone(),
                what: format!("their types are {found:?}, and those of its panes {expected:?}"),
            }),
        }
    }

    /// How many bytes a change adds.
    pub(crate) fn growth(change: &PaneChange) -> u64 {
        change.added.iter().map(bytes_of).sum()
    }

    /// Does what a change does, whose rows are at these places in the log.
    pub(crate) fn apply(&self, time: BatchTime, change: PaneChange, places: Vec<Place>) {
        if !change.added.is_empty() {
            self.keep(time, change.added, places);
        }
        if let Some(before) = change.before {
            self.write().drop_before(before);
        }
    }

    /// Keeps a batch's rows, in place of those that it had.
    pub(crate) fn keep(&self, time: BatchTime, rows: Vec<RecordBatch>, places: Vec<Place>) {
        let bytes = rows.iter().map(bytes_of).sum();
        let mut contents = self.write();
        contents.bytes += bytes;
        let replaced = contents.panes.insert(time, Kept { rows: rows.into(), bytes, places });
        contents.bytes -= replaced.map_or(0, |kept| kept.bytes);
    }

    /// How many panes there are, and what they take in memory.
    pub(crate) fn size(&self) -> (u64, u64) {
        let contents = self.read();
        (contents.panes.len() as u64, contents.bytes)
    }

    /// Where in the log all panes are.
    pub(crate) fn places(&self) -> Vec<(BatchTime, Vec<Place>)> {
        self.read().panes.iter().map(|(time, kept)| (*time, kept.places.clone())).collect()
    }

    /// The oldest segment of the log in which there is one.
    pub(crate) fn first_segment(&self) -> Option<u64> {
        let contents = self.read();
        let oldest = contents.panes.values().next()?;
        oldest.places.first().map(|place| place.segment)
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.panes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.panes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn drop_before(&mut self, time: BatchTime) {
        while let Some(oldest) = self.panes.first_entry().filter(|oldest| *oldest.key() < time) {
            self.bytes -= oldest.remove().bytes;
        }
    }
}

/// The same rows, without memory that they share with others.
pub(crate) fn compact(rows: &RecordBatch) -> RecordBatch {
    let columns = rows.columns().iter().map(compact_column).collect();
    RecordBatch::try_new(rows.schema(), columns).expect("the columns are the same as before")
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => compact_views::<StringViewType>(column),
        DataType::BinaryView => compact_views::<BinaryViewType>(column),
        _ => {
            let data = column.to_data();
            let needed = data.get_slice_memory_size().unwrap_or(usize::MAX);
            if column.get_buffer_memory_size() / 2 <= needed {
                return Arc::clone(column);
            }
            let mut copy = MutableArrayData::new(vec![&data], false, column.len());
            match copy.try_extend(0, 0, column.len()) {
                Ok(()) => make_array(copy.freeze()),
                Err(_) => Arc::clone(column),
            }
        }
    }
}

fn compact_views<T: ByteViewType>(column: &ArrayRef) -> ArrayRef {
    let views = column.as_byte_view::<T>();
    let shared: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    match shared / 2 <= views.total_buffer_bytes_used() {
        true => Arc::clone(column),
        false => Arc::new(views.gc()),
    }
}

fn bytes_of(rows: &RecordBatch) -> u64 {
    rows.get_array_memory_size() as u64
}

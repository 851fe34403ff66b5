//! What a batch gave to its sinks, as far as there is room for it.
//!
//! Rows are kept as they are; they share their buffers with whoever made them, and each buffer counts once. When they are
//! too many, the sink with the most gives up its rows, and from then on only the digest of them is known.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayData};
use arrow::record_batch::RecordBatch;
use millstream_model::RowsDigest;

use crate::digest::digest;

/// The rows that a batch gave, by the name of the sink. At no time does it hold more than its bound and one more table.
#[derive(Clone, Debug)]
pub struct Captured {
    bytes_max: usize,
    held: Held,
    sinks: BTreeMap<String, Given>,
}

/// What a sink was given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// All rows.
    Rows(Vec<RecordBatch>),
    /// What is known of more rows than are kept: a table of them without rows, for its columns, and their digest.
    Digest(RecordBatch, RowsDigest),
}

/// The buffers that are held, by where they lie.
#[derive(Clone, Debug, Default)]
struct Held {
    buffers: BTreeSet<usize>,
    bytes: usize,
}

impl Captured {
    /// Nothing yet; rows are kept as long as they use no more than `bytes_max` of memory.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Held::default(), sinks: BTreeMap::new() }
    }

    /// Adds rows that the sink of that name was given.
    pub fn add(&mut self, sink: &str, rows: &RecordBatch) {
        match self.sinks.get_mut(sink) {
            Some(Given::Digest(_, all)) => return all.add(digest(rows)),
            Some(Given::Rows(tables)) => tables.push(rows.clone()),
            None => {
                self.sinks.insert(sink.to_owned(), Given::Rows(vec![rows.clone()]));
            }
        }
        self.held.add(rows);
        while self.held.bytes > self.bytes_max && self.give_up() {}
    }

    /// How many rows there are, of all sinks.
    pub fn rows(&self) -> u64 {
        self.sinks.values().map(Given::rows).sum()
    }

    /// Bytes of memory that the rows use.
    pub fn size_bytes(&self) -> usize {
        self.held.bytes
    }

    /// The sinks that were given something, in the order of their names.
    pub(super) fn sinks(&self) -> impl Iterator<Item = &str> {
        self.sinks.keys().map(String::as_str)
    }

    /// What a sink was given, if it was.
    pub(super) fn of(&self, sink: &str) -> Option<&Given> {
        self.sinks.get(sink)
    }

    /// Gives up the rows of the sink that has the most; whether one had some.
    fn give_up(&mut self) -> bool {
        let kept = self.sinks.values_mut().filter(|given| matches!(given, Given::Rows(_)));
        let Some(largest) = kept.max_by_key(|given| given.bytes()) else { return false };
        largest.give_up();
        // A buffer that has gone may have been another sink's as well, and its place be taken by another.
        self.held = Held::default();
        for given in self.sinks.values() {
            given.tables().iter().for_each(|table| self.held.add(table));
        }
        true
    }
}

impl Given {
    /// The rows that are kept; or a table without rows, which has the columns.
    pub(super) fn tables(&self) -> &[RecordBatch] {
        match self {
            Self::Rows(tables) => tables,
            Self::Digest(columns, _) => std::slice::from_ref(columns),
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Rows(tables) => tables.iter().map(|table| table.num_rows() as u64).sum(),
            Self::Digest(_, digest) => digest.rows,
        }
    }

    /// The digest of all rows.
    pub(super) fn digest(&self) -> RowsDigest {
        match self {
            Self::Digest(_, digest) => *digest,
            Self::Rows(tables) => {
                let mut all = RowsDigest::default();
                tables.iter().for_each(|table| all.add(digest(table)));
                all
            }
        }
    }

    fn bytes(&self) -> usize {
        let mut held = Held::default();
        self.tables().iter().for_each(|table| held.add(table));
        held.bytes
    }

    fn give_up(&mut self) {
        let digest = self.digest();
        if let Some(first) = self.tables().first() {
            *self = Self::Digest(RecordBatch::new_empty(first.schema()), digest);
        }
    }
}

impl Held {
    fn add(&mut self, table: &RecordBatch) {
        table.columns().iter().for_each(|column| self.add_data(&column.to_data()));
    }

    fn add_data(&mut self, data: &ArrayData) {
        // What describes the values takes some memory too, however few there are.
        self.bytes += size_of::<ArrayData>();
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        for buffer in data.buffers().iter().chain(nulls) {
            if self.buffers.insert(buffer.data_ptr().as_ptr() as usize) {
                self.bytes += buffer.capacity();
            }
        }
        data.child_data().iter().for_each(|child| self.add_data(child));
    }
}

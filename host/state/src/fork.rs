//! All tables as they were after a batch, read beside the stream.
//!
//! ```text
//! Tables ──fork──▶ Fork ──copy──▶ Copies ──read──▶ chunks, the oldest keys first ─▶ another store
//!   ▲ at a boundary: nothing is copied    ▲ beside batches: a shard at a time, into a scratch file
//! ```
//!
//! A [`Fork`] costs next to nothing. Until [`Fork::copy`] has copied a shard, batches note what the keys were that they
//! change: that takes at most a quarter of [`Limits::memory_bytes`](crate::Limits) and counts against it; a fork that would take
//! more, or stands in the way of a batch that otherwise fits, is given up with [`StateError::ForkTooLarge`]. Beside that the copy of one
//! shard is in memory at a time. The scratch file, of the size of all keys and states, is gone when the [`Copies`] are dropped; those of a
//! store without a disk are in memory. Rows of windows are shared, not copied.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millstream_journal::StoredKind;
use millstream_model::BatchTime;

use crate::cold::{ColdFile, Spool, Spooled};
use crate::keyed::before::Allowance;
use crate::keyed::fork::{KeyedCopy, KeyedFork};
use crate::store::blocking;
use crate::{Entries, Keyed, Pane, PaneSpec, Spec, StateError, Store};

/// A chunk ends when it has so many bytes of keys and states, however few keys they are.
const CHUNK_BYTES: usize = 1 << 20;

/// All tables as they were when they were forked.
#[derive(Debug)]
pub struct Fork {
    pub(crate) applied: Option<BatchTime>,
    pub(crate) keyed: BTreeMap<String, KeyedFork>,
    pub(crate) panes: BTreeMap<String, PaneCopy>,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) scratch: Arc<ColdFile>,
}

/// The same, out of the way of the stream: it can be read at any pace, and more than once.
#[derive(Debug)]
pub struct Copies {
    applied: Option<BatchTime>,
    keyed: BTreeMap<String, KeyedCopy>,
    panes: BTreeMap<String, PaneCopy>,
}

#[derive(Debug)]
pub(crate) struct PaneCopy {
    pub(crate) spec: PaneSpec,
    pub(crate) kind: StoredKind,
    pub(crate) panes: Vec<Pane>,
}

/// The keys of a table, those first that were not seen for the longest time.
#[derive(Debug)]
pub struct KeyedReader<'c> {
    table: &'c Keyed,
    shards: Vec<Spooled>,
    /// The time of the next key of each shard that has one.
    next: BinaryHeap<Reverse<(BatchTime, usize)>>,
}

/// Keys with their states, a row each.
#[derive(Clone, Debug)]
pub struct KeyedRows {
    /// The keys' columns.
    pub keys: RecordBatch,
    /// The states' columns.
    pub states: RecordBatch,
    /// When each key was seen last.
    pub times: Vec<BatchTime>,
}

impl Fork {
    /// The batch that was applied last before it.
    pub fn applied(&self) -> Option<BatchTime> {
        self.applied
    }

    /// Copies all of it. To be called soon, beside batches: until it is done they have more to do, and memory is taken.
    ///
    /// # Errors
    /// `ForkTooLarge`, where batches changed too much meanwhile; `Journal`, where what is on disk cannot be read, or the copy
    /// not be written.
    pub async fn copy(self) -> Result<Copies, StateError> {
        let mut keyed = BTreeMap::new();
        for (name, fork) in self.keyed {
            keyed.insert(name, fork.copy(&self.scratch).await?);
        }
        self.allowance.check()?;
        Ok(Copies { applied: self.applied, keyed, panes: self.panes })
    }
}

impl Copies {
    /// The batch that was applied last before the fork.
    pub fn applied(&self) -> Option<BatchTime> {
        self.applied
    }

    /// The tables and what they hold, by name.
    pub fn tables(&self) -> Vec<(&str, Spec)> {
        let keyed = self.keyed.iter();
        let keyed = keyed.map(|(name, copy)| (name.as_str(), Spec::Keyed(copy.keyed.spec().clone())));
        let panes = self.panes.iter();
        let panes = panes.map(|(name, copy)| (name.as_str(), Spec::Panes(copy.spec.clone())));
        let mut tables: Vec<(&str, Spec)> = keyed.chain(panes).collect();
        tables.sort_by_key(|(name, _)| *name);
        tables
    }

    /// How many keys a keyed table has.
    pub fn keys(&self, table: &str) -> Option<u64> {
        Some(self.keyed.get(table)?.shards.iter().map(|shard| shard.keys).sum())
    }

    /// Reads a keyed table from its oldest key on; nothing, where there is none of that name.
    ///
    /// # Errors
    /// `Journal`, where it cannot be read.
    pub fn read(&self, table: &str) -> Result<Option<KeyedReader<'_>>, StateError> {
        self.keyed.get(table).map(KeyedReader::new).transpose()
    }

    /// Puts a table into another store as it is, where there is none of that name.
    ///
    /// # Errors
    /// `Mismatch`, where another one is there; those of [`Target::put`](crate::Target::put).
    pub async fn fill(&self, table: &str, store: &Store) -> Result<(), StateError> {
        if let Some(copy) = self.panes.get(table) {
            return store.fill_panes(table, &copy.kind, &copy.panes).await;
        }
        let Some(copy) = self.keyed.get(table) else {
            return Err(StateError::Unknown { table: table.to_owned() });
        };
        store.add_like(table, &copy.keyed.spec().stored())?;
        let mut reader = KeyedReader::new(copy)?;
        while let Some(entries) = reader.entries(usize::MAX)? {
            store.fill_keys(table, &entries).await?;
        }
        Ok(())
    }
}

impl<'c> KeyedReader<'c> {
    fn new(copy: &'c KeyedCopy) -> Result<Self, StateError> {
        let mut shards: Vec<Spooled> = copy.shards.iter().map(Spool::read).collect();
        let mut next = BinaryHeap::with_capacity(shards.len());
        for (number, shard) in shards.iter_mut().enumerate() {
            next.extend(shard.time()?.map(|time| Reverse((time, number))));
        }
        Ok(Self { table: &copy.keyed, shards, next })
    }

    /// The next rows, at most `rows_max` and about a mebibyte of them; nothing, at the end.
    ///
    /// # Errors
    /// `Journal`, where they cannot be read.
    pub fn next(&mut self, rows_max: usize) -> Result<Option<KeyedRows>, StateError> {
        let Some(entries) = self.entries(rows_max)? else { return Ok(None) };
        self.table.rows(entries).map(Some)
    }

    fn entries(&mut self, rows_max: usize) -> Result<Option<Entries>, StateError> {
        blocking(true, || self.read_entries(rows_max))
    }

    fn read_entries(&mut self, rows_max: usize) -> Result<Option<Entries>, StateError> {
        let (mut entries, mut bytes) = (Entries::default(), 0);
        while entries.len() < rows_max
            && bytes < CHUNK_BYTES
            && let Some(Reverse((_, number))) = self.next.pop()
        {
            let shard = &mut self.shards[number];
            if let Some(known) = shard.next()? {
                entries.push(known.key, known.state, known.time);
                bytes += known.key.len() + known.state.len();
            }
            self.next.extend(shard.time()?.map(|time| Reverse((time, number))));
        }
        Ok((!entries.is_empty()).then_some(entries))
    }
}

impl Keyed {
    /// The columns of keys with their states.
    fn rows(&self, entries: Entries) -> Result<KeyedRows, StateError> {
        let options = RecordBatchOptions::new().with_row_count(Some(entries.len()));
        let table = |schema, columns| {
            let table = RecordBatch::try_new_with_options(schema, columns, &options);
            table.map_err(|error| StateError::Columns {
                table: self.name().to_owned(),
                what: error.to_string(),
            })
        };
        let keys = table(self.spec().key_schema(), self.decode_keys(&entries.keys)?)?;
        let states = table(self.spec().state_schema(), self.decode_states(entries.states.iter())?)?;
        Ok(KeyedRows { keys, states, times: entries.times })
    }
}

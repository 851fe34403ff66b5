//! What a batch does to the tables.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use arrow::record_batch::RecordBatch;
use millstream_journal::{Operation, Operations};
use millstream_model::BatchTime;

use crate::keyed::{SHARDS, shard_of};
use crate::panes::compact;

/// A batch's change of the tables, by their names. Nothing is read from it until it is applied.
///
/// Several threads may build several changes for one batch, of different keys, and put them together by [`Change::merge`].
#[derive(Clone, Debug)]
pub struct Change {
    time: BatchTime,
    pub(crate) tables: BTreeMap<String, TableChange>,
}

#[derive(Clone, Debug)]
pub(crate) enum TableChange {
    Keyed(KeyedChange),
    Panes(PaneChange),
}

/// What a batch does to the keys of one table, in this order.
#[derive(Clone, Debug)]
pub struct KeyedChange {
    /// By shard.
    shards: Vec<Operations>,
    puts: u64,
}

/// What a batch does to the panes of one table.
#[derive(Clone, Debug, Default)]
pub struct PaneChange {
    pub(crate) added: Vec<RecordBatch>,
    pub(crate) before: Option<BatchTime>,
}

impl Change {
    /// No change yet, of the batch of that time.
    pub fn new(time: BatchTime) -> Self {
        Self { time, tables: BTreeMap::new() }
    }

    /// The batch.
    pub fn time(&self) -> BatchTime {
        self.time
    }

    /// What the batch does to a keyed table.
    ///
    /// # Panics
    /// Where the change treats the table as one of panes.
    pub fn keyed(&mut self, table: &str) -> &mut KeyedChange {
        let new = || TableChange::Keyed(KeyedChange::default());
        match self.table(table, new) {
            TableChange::Keyed(change) => change,
            TableChange::Panes(_) => panic!("table {table:?} has panes and no keys"),
        }
    }

    /// What the batch does to a table of panes.
    ///
    /// # Panics
    /// Where the change treats the table as a keyed one.
    pub fn panes(&mut self, table: &str) -> &mut PaneChange {
        let new = || TableChange::Panes(PaneChange::default());
        match self.table(table, new) {
            TableChange::Panes(change) => change,
            TableChange::Keyed(_) => panic!("table {table:?} has keys and no panes"),
        }
    }

    /// Does what `other` does, after what this does already.
    ///
    /// # Panics
    /// Where it is another batch's, or one of them has keys in a table where the other has panes.
    pub fn merge(&mut self, other: Self) {
        assert_eq!(self.time, other.time, "changes of different batches are not one");
        for (name, change) in other.tables {
            match change {
                TableChange::Keyed(change) => *self.keyed(&name) += change,
                TableChange::Panes(change) => *self.panes(&name) += change,
            }
        }
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(|change| match change {
            TableChange::Keyed(change) => change.is_empty(),
            TableChange::Panes(change) => change.is_empty(),
        })
    }

    fn table(&mut self, name: &str, new: impl FnOnce() -> TableChange) -> &mut TableChange {
        if !self.tables.contains_key(name) {
            self.tables.insert(name.to_owned(), new());
        }
        self.tables.get_mut(name).expect("it was put there if it was not")
    }
}

impl KeyedChange {
    /// Gives a key a state. Both are encoded by the table's [`encode_keys`](crate::Keyed::encode_keys) and
    /// [`encode_states`](crate::Keyed::encode_states).
    pub fn put(&mut self, key: &[u8], state: &[u8]) {
        self.puts += 1;
        self.shards[shard_of(key)].put(key, state);
    }

    /// Takes a key's state away, if it has one.
    pub fn remove(&mut self, key: &[u8]) {
        self.shards[shard_of(key)].remove(key);
    }

    /// Notes that a key was seen, so that it does not time out. Without effect where it has no state.
    pub fn touch(&mut self, key: &[u8]) {
        self.shards[shard_of(key)].touch(key);
    }

    /// What it makes of keys, in this order for each key: a state, or nothing where it takes that away.
    pub fn words(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.shards.iter().flat_map(Operations::iter).flatten().filter_map(|operation| match operation {
            Operation::Put { key, state } => Some((key, Some(state))),
            Operation::Remove { key } => Some((key, None)),
            Operation::Touch { .. } | Operation::Entry { .. } => None,
        })
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(Operations::is_empty)
    }

    /// How many times it gives a key a state.
    pub(crate) fn puts(&self) -> u64 {
        self.puts
    }

    /// How many bytes of operations it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.shards.iter().map(|operations| operations.bytes() as u64).sum()
    }

    /// The shards that it does something to.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (usize, &Operations)> {
        self.shards.iter().enumerate().filter(|(_, operations)| !operations.is_empty())
    }
}

impl Default for KeyedChange {
    fn default() -> Self {
        Self { shards: vec![Operations::default(); SHARDS], puts: 0 }
    }
}

impl AddAssign for KeyedChange {
    fn add_assign(&mut self, other: Self) {
        self.puts += other.puts;
        for (mine, theirs) in self.shards.iter_mut().zip(other.shards) {
            if mine.is_empty() {
                *mine = theirs;
            } else {
                mine.extend(&theirs);
            }
        }
    }
}

impl PaneChange {
    /// Adds rows to the batch's own pane. Rows are copied where they are a small part of the memory behind them, and nothing is
    /// added where there are none.
    pub fn add(&mut self, rows: &RecordBatch) {
        if rows.num_rows() > 0 {
            self.added.push(compact(rows));
        }
    }

    /// Drops the panes of batches before that time.
    pub fn drop_before(&mut self, time: BatchTime) {
        self.before = self.before.max(Some(time));
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.before.is_none()
    }
}

impl AddAssign for PaneChange {
    fn add_assign(&mut self, other: Self) {
        self.added.extend(other.added);
        self.before = self.before.max(other.before);
    }
}

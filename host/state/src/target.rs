//! A keyed table that takes in rows that were made of another one's, whose keys may have become the same.
//!
//! ```text
//! read ─▶ migrate ─▶ collisions? ─▶ merge ─▶ put
//! ```
//!
//! Rows come from the oldest on, as [`KeyedReader`](crate::KeyedReader) gives them. Of rows whose keys are the same, those that
//! are there and those that come are handed out together, to be merged in one call.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use millstream_model::{BatchTime, Groups};

use crate::store::blocking;
use crate::{Encoded, Entries, Keyed, KeyedRows, KeyedSpec, StateError, Store};

/// A keyed table that is being filled.
#[derive(Debug)]
pub struct Target<'s> {
    store: &'s Store,
    table: Arc<Keyed>,
}

/// Rows that have one key with others, or with what is there.
#[derive(Debug)]
pub struct Collisions {
    /// Their states, those that are there included: at most two for each row that came.
    pub states: RecordBatch,
    /// Which of them have one key.
    pub groups: Groups,
    rows: KeyedRows,
    found: Found,
}

/// What was found of some rows, by their numbers.
#[derive(Debug, Default)]
struct Found {
    /// Those whose keys nothing else has.
    alone: Vec<u32>,
    /// The others, and the group of each.
    coming: Vec<u32>,
    coming_of: Vec<u32>,
    /// For each group one of its rows, and when its key was seen last.
    of_group: Vec<u32>,
    times: Vec<BatchTime>,
    /// The groups whose keys are there already.
    known_of: Vec<u32>,
}

impl<'s> Target<'s> {
    /// The table of that name in a store that is being filled; it is made where it is not there.
    ///
    /// # Errors
    /// `Mismatch` where it is and holds something else; `Columns` where keys cannot be of these types.
    pub fn new(store: &'s Store, table: &str, spec: KeyedSpec) -> Result<Self, StateError> {
        Ok(Self { store, table: store.keyed(table, spec)? })
    }

    /// Finds out which rows have a key that others among them have, or that is there already; nothing, where none does.
    ///
    /// # Errors
    /// `Columns`, where they are not of this table; `Journal`, where what is there cannot be read.
    pub fn collisions(&self, rows: &KeyedRows) -> Result<Option<Collisions>, StateError> {
        self.check(rows)?;
        let encoded = self.table.encode_keys(rows.keys.columns())?;
        let keys: Vec<&[u8]> = encoded.iter().map(|key| key.data()).collect();
        let there = blocking(true, || self.table.lookup(&keys));
        self.store.check_reads()?;
        let found = find(&keys, &there, &rows.times);
        if found.of_group.is_empty() {
            return Ok(None);
        }
        let known = found.known_of.iter().map(|group| there.get(found.of_group[*group as usize] as usize));
        let known = self.table.decode_states(known)?;
        let states = || {
            let known = RecordBatch::try_new(rows.states.schema(), known)?;
            concat_batches(known.schema_ref(), [&known, &take(&rows.states, &found.coming)?])
        };
        let states = states().map_err(|error| self.misfit(&error))?;
        let of = [found.known_of.as_slice(), &found.coming_of].concat();
        let groups = Groups { of, count: number(found.of_group.len()) };
        Ok(Some(Collisions { states, groups, rows: rows.clone(), found }))
    }

    /// Puts rows into the table, in the order of their times: on disk when this returns, a few mebibytes at a time. Of rows with one
    /// key the last counts, and it counts more than what is there.
    ///
    /// # Errors
    /// `Columns`, where they are not of this table; `Full`, and it can be done again; after any other the store is of no use.
    pub async fn put(&self, rows: &KeyedRows) -> Result<(), StateError> {
        let entries = self.entries(rows)?;
        self.store.fill_keys(self.table.name(), &entries).await
    }

    fn entries(&self, rows: &KeyedRows) -> Result<Entries, StateError> {
        self.check(rows)?;
        let keys = self.table.encode_keys(rows.keys.columns())?;
        let states = self.table.encode_states(rows.states.columns())?;
        let mut order: Vec<usize> = (0..rows.times.len()).collect();
        order.sort_by_key(|row| rows.times[*row]);
        let mut entries = Entries::default();
        for row in order {
            entries.push(keys.row(row).data(), states.row(row).data(), rows.times[row]);
        }
        Ok(entries)
    }

    fn check(&self, rows: &KeyedRows) -> Result<(), StateError> {
        let count = rows.times.len();
        match rows.keys.num_rows() == count && rows.states.num_rows() == count {
            true => Ok(()),
            false => Err(self.misfit(&"there are not as many keys as states and times")),
        }
    }

    fn misfit(&self, error: &dyn std::fmt::Display) -> StateError {
        StateError::Columns { table: self.table.name().to_owned(), what: error.to_string() }
    }
}

impl Collisions {
    /// One of the rows that came whose key others have as well, by its number.
    pub fn row(&self) -> usize {
        self.found.of_group[0] as usize
    }

    /// The rows that there are with a merged state for each group: no two of them have one key.
    ///
    /// # Errors
    /// Where there are not as many states as groups, or they are of other types than those that came.
    pub fn merged(&self, states: &RecordBatch) -> Result<KeyedRows, ArrowError> {
        let Found { alone, of_group, times, .. } = &self.found;
        if states.num_rows() != of_group.len() {
            let what = format!("{} states were made of {} groups", states.num_rows(), of_group.len());
            return Err(ArrowError::InvalidArgumentError(what));
        }
        let keys = take(&self.rows.keys, &[alone.as_slice(), of_group].concat())?;
        let states =
            concat_batches(self.rows.states.schema_ref(), [&take(&self.rows.states, alone)?, states])?;
        let alone = alone.iter().map(|row| self.rows.times[*row as usize]);
        Ok(KeyedRows { keys, states, times: alone.chain(times.iter().copied()).collect() })
    }
}

/// Groups are in the order of their first rows, so that equal rows always give the same.
fn find(keys: &[&[u8]], there: &Encoded, times: &[BatchTime]) -> Found {
    let mut by_key: HashMap<&[u8], Vec<u32>> = HashMap::with_capacity(keys.len());
    for (row, key) in (0..).zip(keys) {
        by_key.entry(key).or_default().push(row);
    }
    let mut found = Found::default();
    for (row, key) in (0..).zip(keys) {
        let same = &by_key[key];
        let is_there = there.get(row as usize).is_some();
        if same[0] != row {
            continue;
        }
        if same.len() == 1 && !is_there {
            found.alone.push(row);
            continue;
        }
        let group = number(found.of_group.len());
        found.coming.extend(same);
        found.coming_of.extend(same.iter().map(|_| group));
        found.of_group.push(row);
        found.times.extend(same.iter().map(|row| times[*row as usize]).max());
        found.known_of.extend(is_there.then_some(group));
    }
    found
}

fn take(table: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
    take_record_batch(table, &UInt32Array::from(rows.to_vec()))
}

fn number(rows: usize) -> u32 {
    u32::try_from(rows).expect("a chunk has fewer rows")
}

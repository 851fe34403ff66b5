//! Memory for states: what is to be on disk, so that a batch's change fits.
//!
//! The oldest half of the shard that takes most goes to disk, and again, until there is room. Usually that happens beside batches,
//! a little before memory is full. A change that still does not fit makes its batch wait until there is room for it. What is on
//! disk of the keys that a change is about is looked up before the change is written; until it is applied, or given up, no
//! key goes to disk.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millstream_model::BatchTime;

use super::tables::{Content, Tables};
use crate::StateError;
use crate::change::{Change, TableChange};
use crate::keyed::{Keyed, SHARDS, Thaws};

/// Beside batches keys go to disk if more than this many parts of a hundred are taken.
const HIGH_PERCENT: u64 = 95;
/// Then, or for a change that does not fit, so many stay taken.
const LOW_PERCENT: u64 = 90;

/// A change that can be applied, and that nothing may come between.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Option<Prepared>>);

/// What comes back from disk with a change, table by table.
#[derive(Debug)]
pub(super) struct Prepared {
    time: BatchTime,
    thaws: BTreeMap<String, Thaws>,
}

impl Room {
    /// Makes room for a change and looks up what comes back with it.
    ///
    /// # Errors
    /// `TooLarge`, `Unknown` and `Columns`; those of the disk.
    pub(super) fn prepare(&self, tables: &Tables, change: &Change, limit: u64) -> Result<(), StateError> {
        let mut prepared = self.lock();
        *prepared = None;
        tables.cold().check()?;
        *prepared = Some(match make_room(tables, change, limit) {
            Err(StateError::TooLarge { .. }) if tables.give_up_forks() => make_room(tables, change, limit)?,
            made => made?,
        });
        Ok(())
    }

    /// Does something with what was prepared for the batch of that time, while no key goes to disk.
    pub(super) fn take<T>(&self, time: BatchTime, apply: impl FnOnce(Option<Prepared>) -> T) -> T {
        let mut prepared = self.lock();
        let taken = prepared.take().filter(|prepared| prepared.time == time);
        apply(taken)
    }

    /// Moves keys to disk if there is little memory left, and tidies what is there, unless a change is about to be applied.
    pub(super) fn keep_free(&self, tables: &Tables, limit: u64) -> Result<(), StateError> {
        let prepared = self.lock();
        if prepared.is_some() {
            return Ok(());
        }
        for keyed in tables.keyed_tables() {
            (0..SHARDS).try_for_each(|shard| keyed.tidy(shard))?;
        }
        keep_free(tables, limit)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    /// Looks up what comes back with a change.
    pub(super) fn new(tables: &Tables, change: &Change) -> Result<Self, StateError> {
        let mut thaws = BTreeMap::new();
        for (name, of_table) in &change.tables {
            if let (TableChange::Keyed(change), Some(Content::Keyed(keyed))) =
                (of_table, tables.get(name).map(|table| &table.content))
            {
                thaws.insert(name.clone(), keyed.prepare(change)?);
            }
        }
        Ok(Self { time: change.time(), thaws })
    }

    /// What comes back in one table.
    pub(super) fn thaws(&mut self, table: &str) -> Thaws {
        self.thaws.remove(table).unwrap_or_default()
    }

    fn growth(&self) -> u64 {
        self.thaws.values().map(Thaws::growth).sum()
    }
}

/// Moves keys to disk if there is little memory left.
pub(super) fn keep_free(tables: &Tables, limit: u64) -> Result<(), StateError> {
    let bytes = tables.bytes();
    if bytes > percent(limit, HIGH_PERCENT) {
        evict(tables, bytes, percent(limit, LOW_PERCENT))?;
    }
    Ok(())
}

fn make_room(tables: &Tables, change: &Change, limit: u64) -> Result<Prepared, StateError> {
    let growth_max = tables.check(change)?;
    let mut coming_back = 0;
    loop {
        if tables.bytes().saturating_add(growth_max).saturating_add(coming_back) > limit {
            fit(tables, change, coming_back, limit)?;
        }
        let prepared = Prepared::new(tables, change)?;
        // Room was made with keys of this very change, if there is more than before.
        if prepared.growth() <= coming_back {
            return Ok(prepared);
        }
        coming_back = prepared.growth();
    }
}

/// Moves keys to disk until a change fits with which keys of so many bytes come back.
fn fit(tables: &Tables, change: &Change, coming_back: u64, limit: u64) -> Result<(), StateError> {
    let mut bytes = tables.bytes();
    loop {
        let (growth, largest) = tables.growth(change);
        let growth = growth.saturating_add_unsigned(coming_back);
        let after = bytes.saturating_add_signed(growth);
        if after <= limit {
            return Ok(());
        }
        let target = percent(limit, LOW_PERCENT).saturating_sub(u64::try_from(growth).unwrap_or(0));
        let left = evict(tables, bytes, target)?;
        if left == bytes {
            return match largest {
                Some(name) if growth > 0 => {
                    Err(StateError::TooLarge { table: name.to_owned(), bytes: after, limit })
                }
                _ => Ok(()),
            };
        }
        bytes = left;
    }
}

/// Moves keys to disk until no more memory is taken than `target`, or none are left. Gives what is taken then.
fn evict(tables: &Tables, mut bytes: u64, target: u64) -> Result<u64, StateError> {
    if bytes <= target {
        return Ok(bytes);
    }
    let keyed = tables.keyed_tables();
    let all = keyed
        .iter()
        .enumerate()
        .flat_map(|(table, keyed)| (0..SHARDS).map(move |shard| (hot_bytes(keyed, shard), table, shard)));
    let mut largest: BinaryHeap<(u64, usize, usize)> = all.filter(|(hot, ..)| *hot > 0).collect();
    while bytes > target
        && let Some((_, table, shard)) = largest.pop()
    {
        let mut tier = keyed[table].write(shard);
        let before = tier.allocated_bytes();
        tier.evict()?;
        bytes = (bytes + tier.allocated_bytes()).saturating_sub(before);
        if tier.hot.len() > 0 {
            largest.push((tier.hot.allocated_bytes(), table, shard));
        }
    }
    Ok(bytes)
}

fn hot_bytes(keyed: &Keyed, shard: usize) -> u64 {
    keyed.read(shard).hot.allocated_bytes()
}

fn percent(limit: u64, percent: u64) -> u64 {
    limit / 100 * percent + limit % 100 * percent / 100
}

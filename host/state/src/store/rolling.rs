//! Snapshots that roll: which shards are copied with which batch, and which files are still needed.
//!
//! The shards of all keyed tables stand in a circle. Each batch that changes something pays for copying some of the next
//! ones: as many bytes as it wrote into the log, but no more than would copy every shard once in
//! [`Limits::snapshot_every`] batches. So no more is written for snapshots than for the log, the log that has to be read again
//! is never much longer than the states themselves, and no batch waits for more than a few shards to be copied. The copies are
//! gathered until they are worth a file: each file costs several syncs, which those of the batches' own logs have to wait for. What
//! is on disk alone is not copied but remembered, and read, a file's worth at a time, when the snapshot is written.
//!
//! Of each shard the two newest snapshots are kept. The log is kept from the older one on, so one damaged file does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_journal::{ShardSnapshot, SnapshotPart, StateEnd, StoredTable};

use super::Limits;
use super::tables::Tables;
use crate::StateError;
use crate::keyed::tier::ShardCopy;
use crate::keyed::{Keyed, SHARDS};

/// A snapshot file that is this long is followed by another.
const FILE_BYTES: u64 = 64 << 20;
/// Copying waits until there is so much to copy, or everything.
const COPY_BYTES_MIN: u64 = 256 << 10;
/// What a shard costs in a snapshot, beside its content.
const PART_BYTES: u64 = 128;
/// What a key costs in a snapshot, beside its content.
const KEY_BYTES: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct Rolling {
    shards: BTreeMap<(u32, usize), Generations>,
    /// The shard that is copied next is the first that is not before this one.
    next: (u32, usize),
    /// Bytes that have been paid for and not been copied.
    credit: u64,
    /// Copies that are not on disk yet.
    due: Vec<Arc<Due>>,
    /// Whether they are worth a file.
    is_worth_writing: bool,
    next_number: u64,
    /// Snapshot files that are on disk.
    files: BTreeSet<u64>,
    /// Tables that are gone since the last batch, by their numbers.
    retired: Vec<u32>,
    /// Whether a batch was applied since the store was opened: before, the one before the last is not known.
    is_settled: bool,
}

/// A copy of a shard that is to be written.
#[derive(Debug)]
pub(super) struct Due {
    table: u32,
    shard: usize,
    as_of: StateEnd,
    copy: ShardCopy,
}

/// The snapshots of a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generations {
    /// Where its table begins.
    since: StateEnd,
    newest: Option<Kept>,
    older: Option<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    file: u64,
    as_of: StateEnd,
}

impl Rolling {
    /// With these files on disk.
    pub(super) fn new(files: impl IntoIterator<Item = u64>) -> Self {
        let files: BTreeSet<u64> = files.into_iter().collect();
        let next_number = files.last().map_or(1, |last| last + 1);
        Self { files, next_number, ..Self::default() }
    }

    /// Takes note of a table's shards.
    pub(super) fn add_table(&mut self, table: &StoredTable) {
        for shard in 0..SHARDS {
            let new = Generations { since: table.since, newest: None, older: None };
            self.shards.entry((table.id, shard)).or_insert(new);
        }
    }

    /// Takes note of a snapshot that is older than those noted before.
    pub(super) fn add_older(&mut self, number: u64, part: &SnapshotPart) {
        let kept = Kept { file: number, as_of: part.as_of };
        if let Some(of) = self.shards.get_mut(&key_of(part)) {
            match of.newest {
                None => of.newest = Some(kept),
                Some(_) => of.older = of.older.or(Some(kept)),
            }
        }
    }

    /// Whether a snapshot is of a shard of which there is none yet.
    pub(super) fn is_missing(&self, part: &SnapshotPart) -> bool {
        self.shards.get(&key_of(part)).is_some_and(|of| of.newest.is_none())
    }

    /// A file was removed.
    pub(super) fn forget_file(&mut self, number: u64) {
        self.files.remove(&number);
    }

    /// Where a shard's content is as of, and which records count that come from there on.
    pub(super) fn as_of(&self, table: u32, shard: usize) -> Option<StateEnd> {
        let of = self.shards.get(&(table, shard))?;
        Some(of.newest.map_or(of.since, |kept| kept.as_of))
    }

    /// A batch was applied: takes note of the tables there are now, and of those that went with it.
    pub(super) fn note_tables(&mut self, tables: &Tables, dropped: &[u32]) {
        self.is_settled = true;
        let retired = std::mem::replace(&mut self.retired, dropped.to_vec());
        if !retired.is_empty() {
            self.shards.retain(|(table, _), _| !retired.contains(table));
        }
        for (table, _) in tables.stored_keyed() {
            if !self.shards.contains_key(&(table.id, 0)) {
                self.add_table(table);
            }
        }
    }

    /// A batch was applied that wrote so many bytes into the log, up to `end`: copies the shards that it pays for.
    pub(super) fn advance(&mut self, tables: &Tables, log_bytes: u64, end: StateEnd, limits: &Limits) {
        if log_bytes == 0 {
            return;
        }
        let keyed: BTreeMap<u32, &Keyed> =
            tables.stored_keyed().map(|(table, keyed)| (table.id, keyed)).collect();
        let total: u64 = keyed.values().map(|keyed| (0..SHARDS).map(|at| cost(keyed, at)).sum::<u64>()).sum();
        let per_batch = total.div_ceil(limits.snapshot_every.max(1));
        let mut circle = self.circle(&keyed);
        let Some(first) = circle.first() else { return };
        let first_cost = cost(keyed[&first.0], first.1);
        let copied_min = COPY_BYTES_MIN.min(limits.snapshot_bytes_min);
        let credit_max = (2 * per_batch).max(copied_min).max(first_cost);
        self.credit = (self.credit + log_bytes.min(per_batch)).min(credit_max);
        if self.is_worth_writing || self.credit < copied_min.min(total) {
            return;
        }
        let shards = circle.len();
        let mut due_bytes: u64 = self.due.iter().map(|due| due.copy.bytes()).sum();
        for (table, shard) in circle.drain(..) {
            if self.due.iter().any(|due| (due.table, due.shard) == (table, shard)) {
                return;
            }
            let keyed = keyed[&table];
            let Some(left) = self.credit.checked_sub(cost(keyed, shard)) else { return };
            self.credit = left;
            self.next = (table, shard + 1);
            let copy = keyed.read(shard).copy();
            due_bytes += copy.bytes();
            self.due.push(Arc::new(Due { table, shard, as_of: end, copy }));
            self.is_worth_writing = due_bytes >= limits.snapshot_bytes_min || self.due.len() >= shards;
        }
    }

    /// The next file that is to be written: its number, and what goes into it.
    pub(super) fn next_file(&mut self) -> Option<(u64, Vec<Arc<Due>>)> {
        let Self { due, shards, is_worth_writing, .. } = self;
        due.retain(|due| shards.contains_key(&(due.table, due.shard)));
        *is_worth_writing &= !due.is_empty();
        if !*is_worth_writing {
            return None;
        }
        let mut left = FILE_BYTES;
        let fits = self.due.iter().take_while(|due| {
            let is_room = left > 0;
            left = left.saturating_sub(due.copy.bytes());
            is_room
        });
        let copies: Vec<Arc<Due>> = fits.cloned().collect();
        (!copies.is_empty()).then_some((self.next_number, copies))
    }

    /// A file is on disk.
    pub(super) fn written(&mut self, number: u64, shards: &[ShardSnapshot]) {
        self.next_number = number + 1;
        self.files.insert(number);
        self.due.drain(..shards.len().min(self.due.len()));
        for copy in shards {
            if let Some(of) = self.shards.get_mut(&key_of(&copy.part)) {
                of.older = of.newest;
                of.newest = Some(Kept { file: number, as_of: copy.part.as_of });
            }
        }
    }

    /// The files that nobody needs; they are taken to be removed.
    pub(super) fn take_unused(&mut self) -> Vec<u64> {
        if !self.is_settled {
            return Vec::new();
        }
        let kept = self.shards.values().flat_map(|of| [of.newest, of.older]).flatten();
        let used: BTreeSet<u64> = kept.map(|kept| kept.file).collect();
        let unused: Vec<u64> = self.files.difference(&used).copied().collect();
        self.files = used;
        unused
    }

    /// These files could not be removed.
    pub(super) fn put_back(&mut self, files: &[u64]) {
        self.files.extend(files);
    }

    /// The oldest segment that holds what is behind the older snapshot of some shard.
    pub(super) fn first_needed(&self) -> Option<u64> {
        self.shards.values().map(|of| of.older.map_or(of.since, |kept| kept.as_of).segment).min()
    }

    /// All shards, from the next one on.
    fn circle(&self, keyed: &BTreeMap<u32, &Keyed>) -> Vec<(u32, usize)> {
        let of_table = |table: &u32| {
            let table = *table;
            (0..SHARDS).map(move |shard| (table, shard))
        };
        let mut all: Vec<(u32, usize)> = keyed.keys().flat_map(of_table).collect();
        let at = all.partition_point(|shard| *shard < self.next);
        all.rotate_left(at);
        all
    }
}

fn key_of(part: &SnapshotPart) -> (u32, usize) {
    (part.table, part.shard as usize)
}

fn cost(keyed: &Keyed, shard: usize) -> u64 {
    let shard = keyed.read(shard);
    shard.content_bytes() + shard.len() as u64 * KEY_BYTES + PART_BYTES
}

impl Due {
    /// What goes into the snapshot, read from disk where it is there alone.
    pub(super) fn read(&self) -> Result<ShardSnapshot, StateError> {
        let (since, entries) = self.copy.entries()?;
        let part = SnapshotPart {
            table: self.table,
            shard: u32::try_from(self.shard).expect("there are few shards"),
            as_of: self.as_of,
            since_ms: since.as_ms(),
            keys: self.copy.keys,
            bytes: entries.bytes() as u64,
        };
        Ok(ShardSnapshot { part, entries: Bytes::from(entries.into_bytes()) })
    }
}

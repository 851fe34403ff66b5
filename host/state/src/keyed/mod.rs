//! Tables with a state for each key.
//!
//! The keys are in [`SHARDS`] shards, each under a lock of its own, which is held for as long as some keys of one shard are
//! read or changed and never while anything is awaited. Which shard a key is in depends on the key alone and never changes,
//! as snapshots are of shards. A shard has keys in memory and, when memory is short, keys on disk; nobody who reads can tell,
//! but by how long it takes.

pub(crate) mod before;
mod entries;
pub(crate) mod fork;
pub(crate) mod shard;
#[cfg(test)]
mod tests;
pub(crate) mod tier;

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use millstream_model::{BatchTime, Schema};
use twox_hash::XxHash64;

use crate::change::KeyedChange;
use crate::cold::ColdFile;
use crate::rows::decode_rows;
use crate::{KeyedSpec, StateError};
pub use entries::{Encoded, Entries, KeySet};
use shard::{ARENA_BYTES_MAX, ENTRY_BYTES, Known};
use tier::{Thaw, Tier};

/// In how many shards a table's keys are: few enough that each is worth a place in a snapshot, and enough that a copy of one
/// is short, also of a large table.
pub const SHARDS: usize = 64;

/// Changes of fewer bytes are applied by one thread.
const PARALLEL_BYTES_MIN: u64 = 1 << 20;

/// The states of keys.
#[derive(Debug)]
pub struct Keyed {
    name: String,
    spec: KeyedSpec,
    schema: SchemaRef,
    keys: RowConverter,
    states: RowConverter,
    /// A state of nothing but nulls.
    null_state: OwnedRow,
    shards: Vec<RwLock<Tier>>,
    cold: Arc<ColdFile>,
}

/// What a table takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// All keys, and those of them that are on disk.
    pub(crate) keys: u64,
    pub(crate) cold_keys: u64,
    /// In memory.
    pub(crate) bytes: u64,
    /// Keys and states on disk.
    pub(crate) cold_bytes: u64,
}

/// For each shard the keys that come back from disk with a batch; nothing, where none do.
#[derive(Debug, Default)]
pub(crate) struct Thaws(Vec<Thaw>);

impl Keyed {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn spec(&self) -> &KeyedSpec {
        &self.spec
    }

    /// The columns of keys and states together, as [`Keyed::scan`] gives them. All may have nulls.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether no key has a state.
    pub fn is_empty(&self) -> bool {
        (0..SHARDS).all(|shard| self.read(shard).len() == 0)
    }

    /// Keys in the form in which they are looked up and changed, from columns of the key's types.
    ///
    /// # Errors
    /// `Columns` where they have other types.
    pub fn encode_keys(&self, columns: &[ArrayRef]) -> Result<Rows, StateError> {
        self.keys.convert_columns(columns).map_err(|error| self.misfit(&error))
    }

    /// States in the form in which they are put, from columns of the state's types.
    ///
    /// # Errors
    /// `Columns` where they have other types.
    pub fn encode_states(&self, columns: &[ArrayRef]) -> Result<Rows, StateError> {
        self.states.convert_columns(columns).map_err(|error| self.misfit(&error))
    }

    /// The columns of keys that were read here, none of them absent.
    ///
    /// # Errors
    /// `Columns` where they are no keys of this table.
    pub fn decode_keys(&self, keys: &Encoded) -> Result<Vec<ArrayRef>, StateError> {
        decode_rows(&self.keys, keys.iter().flatten()).map_err(|error| self.misfit(&error))
    }

    /// The columns of states that were read here, with nulls where a state is absent.
    ///
    /// # Errors
    /// `Columns` where they are no states of this table.
    pub fn decode_states<'s>(
        &self,
        states: impl Iterator<Item = Option<&'s [u8]>>,
    ) -> Result<Vec<ArrayRef>, StateError> {
        let null = self.null_state.row();
        let rows = states.map(|state| state.unwrap_or(null.data()));
        decode_rows(&self.states, rows).map_err(|error| self.misfit(&error))
    }

    /// The states of keys, each at its key's index; absent where a key has none.
    ///
    /// As with everything that is read here: where a state is on disk and that fails, it is absent, and the store refuses
    /// every change from then on.
    pub fn lookup(&self, keys: &[&[u8]]) -> Encoded {
        let mut found = Encoded::absent(keys.len());
        let mut bytes = Vec::new();
        let (order, ends) = by_shard(keys);
        let mut from = 0;
        for (shard, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 0) {
            if end > from {
                let shard = self.read(shard);
                for row in &order[from..end] {
                    let row = *row as usize;
                    if let Some(state) = shard.hot.get(keys[row]) {
                        found.set(row, state);
                    } else if !shard.cold.is_empty() {
                        self.look_on_disk(&shard, keys[row], &mut bytes, |state| found.set(row, state));
                    }
                }
            }
            from = end;
        }
        found
    }

    /// The keys of some shards that were last seen before `older_than`, at most `limit` of them, without those in `except`. The
    /// keys that were seen since then are not looked at.
    ///
    /// # Panics
    /// Where there is no such shard.
    pub fn timed_out(
        &self,
        shards: impl Iterator<Item = usize>,
        older_than: BatchTime,
        except: &KeySet<'_>,
        limit: usize,
    ) -> Entries {
        let mut entries = Entries::default();
        for shard in shards {
            if entries.len() >= limit {
                break;
            }
            self.visit(shard, |known| {
                if known.time >= older_than || entries.len() >= limit {
                    return ControlFlow::Break(());
                }
                if !except.contains(known.key) {
                    entries.push(known.key, known.state, known.time);
                }
                ControlFlow::Continue(())
            });
        }
        entries
    }

    /// All keys of one shard and their states, from the one that was not seen for the longest time on.
    ///
    /// # Panics
    /// Where there is no such shard: they are numbered from 0, and there are [`SHARDS`].
    pub fn entries(&self, shard: usize) -> Entries {
        self.entries_but(shard, &KeySet::default())
    }

    /// As [`Keyed::entries`], without the keys in `except`.
    ///
    /// # Panics
    /// Where there is no such shard.
    pub fn entries_but(&self, shard: usize, except: &KeySet<'_>) -> Entries {
        let mut entries = Entries::default();
        self.visit(shard, |known| {
            if !except.contains(known.key) {
                entries.push(known.key, known.state, known.time);
            }
            ControlFlow::Continue(())
        });
        entries
    }

    /// All keys and their states as columns, shard by shard. Each shard is as it is when it is read: while changes are applied,
    /// some may be older than others.
    pub fn scan(&self) -> impl Iterator<Item = Result<RecordBatch, StateError>> {
        let shards = (0..SHARDS).map(|shard| {
            let entries = self.entries(shard);
            self.cold.check().map(|()| entries)
        });
        let shards = shards.filter(|shard| !shard.as_ref().is_ok_and(|entries| entries.is_empty()));
        shards.map(|entries| self.decode(&entries?))
    }

    /// Keys and states as columns of [`Keyed::schema`].
    ///
    /// # Errors
    /// `Columns` where they are not of this table.
    pub fn decode(&self, entries: &Entries) -> Result<RecordBatch, StateError> {
        let mut columns = self.decode_keys(&entries.keys)?;
        columns.extend(self.decode_states(entries.states.iter())?);
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| self.misfit(&error))
    }

    pub(crate) fn new(name: &str, spec: KeyedSpec, cold: &Arc<ColdFile>) -> Result<Self, StateError> {
        let misfit =
            |error: ArrowError| StateError::Columns { table: name.to_owned(), what: error.to_string() };
        let keys = converter(&spec.key).map_err(misfit)?;
        let states = converter(&spec.state).map_err(misfit)?;
        let nulls: Vec<ArrayRef> = spec.state.fields.iter().map(null_column).collect();
        let null_state = states.convert_columns(&nulls).map_err(misfit)?;
        let null_state = null_state.iter().next().map(|row| row.owned());
        let schema = spec.schema();
        let shards = (0..SHARDS).map(|_| RwLock::new(Tier::new(cold))).collect();
        let null_state = null_state.ok_or_else(|| StateError::Columns {
            table: name.to_owned(),
            what: "a state has no fields".to_owned(),
        })?;
        let cold = Arc::clone(cold);
        Ok(Self { name: name.to_owned(), spec, schema, keys, states, null_state, shards, cold })
    }

    /// Looks on disk for the keys that a batch does something to.
    pub(crate) fn prepare(&self, change: &KeyedChange) -> Result<Thaws, StateError> {
        let mut thaws = Thaws::default();
        for (shard, operations) in change.shards() {
            let tier = self.read(shard);
            if !tier.cold.is_empty() {
                thaws.0.resize_with(SHARDS, Thaw::default);
                thaws.0[shard] = tier.prepare(operations.iter())?;
            }
        }
        Ok(thaws)
    }

    /// Does what a batch does, with what was found for it on disk. A large change is shared out to all cores, by shards: what
    /// comes of it is the same.
    pub(crate) fn apply(&self, time: BatchTime, change: &KeyedChange, thaws: &Thaws) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if change.bytes() < PARALLEL_BYTES_MIN { 1 } else { cores.min(SHARDS) };
        let apply = |thread: usize| {
            for (shard, operations) in change.shards().filter(|(shard, _)| shard % threads == thread) {
                let applied = self.write(shard).apply(time, operations.iter(), thaws.0.get(shard));
                applied.expect("a change has nothing but operations of a batch");
            }
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|thread| {
                scope.spawn(move || apply(thread));
            });
            apply(0);
        });
    }

    /// Whether a change can be applied: no shard would hold more than it can.
    pub(crate) fn check(&self, change: &KeyedChange) -> Result<(), StateError> {
        for (shard, operations) in change.shards() {
            let bytes = self.read(shard).content_bytes() + operations.bytes() as u64;
            if bytes > ARENA_BYTES_MAX {
                return Err(StateError::TooLarge {
                    table: self.name.clone(),
                    bytes: bytes * SHARDS as u64,
                    limit: ARENA_BYTES_MAX * SHARDS as u64,
                });
            }
        }
        Ok(())
    }

    /// How many bytes a change adds at the most, which costs little to say.
    pub(crate) fn growth_max(change: &KeyedChange) -> u64 {
        change.bytes() + change.puts() * ENTRY_BYTES
    }

    /// How many bytes a change adds; less than nothing, where it takes some away.
    pub(crate) fn growth(&self, change: &KeyedChange) -> i64 {
        let growths = change.shards().map(|(shard, operations)| self.read(shard).hot.growth(operations));
        growths.map(|(bytes, keys)| bytes + keys * ENTRY_BYTES.cast_signed()).sum()
    }

    /// Lets go of what nobody needs of a shard on disk.
    pub(crate) fn tidy(&self, shard: usize) -> Result<(), StateError> {
        if self.read(shard).cold.is_tidy() { Ok(()) } else { self.write(shard).cold.tidy() }
    }

    pub(crate) fn size(&self) -> Size {
        let mut size = Size::default();
        for shard in 0..SHARDS {
            let shard = self.read(shard);
            size.keys += shard.len() as u64;
            size.cold_keys += shard.cold.len() as u64;
            size.bytes += shard.allocated_bytes();
            size.cold_bytes += shard.cold.content_bytes();
        }
        size
    }

    /// Looks at the keys of a shard from the oldest on, until it is told to break off.
    fn visit(&self, shard: usize, visit: impl FnMut(&Known<'_>) -> ControlFlow<()>) {
        if let Err(error) = self.read(shard).visit(visit) {
            self.cold.note_failure(error);
        }
    }

    fn look_on_disk(&self, tier: &Tier, key: &[u8], bytes: &mut Vec<u8>, take: impl FnOnce(&[u8])) {
        match tier.cold.find(key, bytes) {
            Ok(Some((_, known))) => take(known.state),
            Ok(None) => {}
            Err(error) => self.cold.note_failure(error),
        }
    }

    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Tier> {
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Tier> {
        self.shards[shard].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn misfit(&self, error: &ArrowError) -> StateError {
        StateError::Columns { table: self.name.clone(), what: error.to_string() }
    }
}

impl Thaws {
    /// By how much they make what is in memory grow.
    pub(crate) fn growth(&self) -> u64 {
        self.0.iter().map(Thaw::growth).sum()
    }
}

/// The shard of a key that is encoded.
#[inline]
pub fn shard_of(key: &[u8]) -> usize {
    // The remainder is less than the number of shards.
    (XxHash64::oneshot(0, key) % SHARDS as u64) as usize
}

/// The rows' indexes shard by shard, and where each shard's end.
fn by_shard(keys: &[&[u8]]) -> (Vec<u32>, [usize; SHARDS]) {
    let shards: Vec<u8> = keys.iter().map(|key| shard_of(key) as u8).collect();
    let mut ends = [0; SHARDS];
    for shard in &shards {
        ends[usize::from(*shard)] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        // For now, where the shard's begin.
        (*end, total) = (total, total + *end);
    }
    let mut order = vec![0; shards.len()];
    for (row, shard) in shards.iter().enumerate() {
        let next = &mut ends[usize::from(*shard)];
        order[*next] = u32::try_from(row).expect("a batch has fewer than four thousand million keys");
        *next += 1;
    }
    (order, ends)
}

fn converter(schema: &Schema) -> Result<RowConverter, ArrowError> {
    let fields = schema.fields.iter().map(|field| SortField::new(field.data_type.to_arrow()));
    RowConverter::new(fields.collect())
}

fn null_column(field: &millstream_model::Field) -> ArrayRef {
    arrow::array::new_null_array(&field.data_type.to_arrow(), 1)
}

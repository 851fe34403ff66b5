//! A shard of which one part is in memory and the other on disk.
//!
//! Every key is in one of the two, and those on disk were seen no later than those in memory. Keys go to disk from the oldest
//! on when memory is short. They come back by a batch that does something to them, in two steps: before it is written, its keys
//! are looked for on disk, which may fail; when it is applied, they move, which may not.

use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashSet;
use millstream_journal::{Operation, Operations};
use millstream_model::BatchTime;

use super::shard::{ENTRY_BYTES, Known, Shard};
use crate::StateError;
use crate::cold::{Cold, ColdFile, Place, Records};

#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) hot: Shard,
    pub(crate) cold: Cold,
}

/// Keys of a shard that come back from disk with a batch.
#[derive(Debug, Default)]
pub(crate) struct Thaw {
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    place: Place,
    content_bytes: u64,
    /// What is to be in memory, where the batch leaves the state as it is.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    key: Box<[u8]>,
    state: Box<[u8]>,
}

/// A shard as it was.
#[derive(Debug)]
pub(crate) struct ShardCopy {
    cold: Option<Cold>,
    /// The time from which the first entry counts.
    since: BatchTime,
    hot: Operations,
    pub(crate) keys: u64,
}

impl Tier {
    pub(crate) fn new(file: &Arc<ColdFile>) -> Self {
        Self { hot: Shard::new(), cold: Cold::new(file) }
    }

    pub(crate) fn len(&self) -> usize {
        self.hot.len() + self.cold.len()
    }

    /// What all keys and states take, without what is around them.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.hot.content_bytes() + self.cold.content_bytes()
    }

    /// What it takes in memory.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.hot.allocated_bytes() + self.cold.allocated_bytes()
    }

    /// Looks at all keys, from the oldest on, until it is told to break off.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(&Known<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StateError> {
        if !self.cold.is_empty() && self.cold.visit(&mut visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        Ok(self.hot.iter().try_for_each(|known| visit(&known)))
    }

    /// Looks on disk for the keys of a batch's operations. What is no operation is for [`Tier::apply`] to tell.
    pub(crate) fn prepare<'a>(
        &self,
        operations: impl Iterator<Item = Result<Operation<'a>, &'static str>>,
    ) -> Result<Thaw, StateError> {
        let mut thaw = Thaw::default();
        if self.cold.is_empty() {
            return Ok(thaw);
        }
        let (mut seen, mut bytes) = (HashSet::new(), Vec::new());
        for operation in operations.map_while(Result::ok) {
            let (key, is_touched) = match operation {
                Operation::Put { key, .. } | Operation::Remove { key } => (key, false),
                Operation::Touch { key } => (key, true),
                Operation::Entry { .. } => break,
            };
            if self.hot.get(key).is_some() {
                continue;
            }
            // What the first operation on a key leaves is in memory for those after it.
            if let Some((place, known)) = self.cold.find(key, &mut bytes)?
                && seen.insert(place)
            {
                let content_bytes = (known.key.len() + known.state.len()) as u64;
                let kept = is_touched.then(|| Kept { key: known.key.into(), state: known.state.into() });
                thaw.found.push(Found { place, content_bytes, kept });
            }
        }
        Ok(thaw)
    }

    /// Does what a batch does, in order, with what [`Tier::prepare`] found for it.
    ///
    /// # Errors
    /// At the first that is no operation; those before it are done.
    pub(crate) fn apply<'a>(
        &mut self,
        time: BatchTime,
        operations: impl Iterator<Item = Result<Operation<'a>, &'static str>>,
        thaw: Option<&Thaw>,
    ) -> Result<(), &'static str> {
        for found in thaw.iter().flat_map(|thaw| &thaw.found) {
            self.cold.remove(found.place, found.content_bytes);
            if let Some(Kept { key, state }) = &found.kept {
                self.hot.restore(key, state);
            }
        }
        self.hot.apply(time, operations)
    }

    /// Moves the older half of what is in memory to disk, at least one key. After an error some of it has moved.
    pub(crate) fn evict(&mut self) -> Result<(), StateError> {
        self.cold.tidy()?;
        let left_max = self.hot.content_bytes() / 2;
        let mut records = Records::default();
        while self.hot.len() > 0 {
            let mut left = self.hot.content_bytes();
            for (hash, known) in self.hot.iter_hashed() {
                if records.is_enough() || (left <= left_max && records.len() > 0) {
                    break;
                }
                records.push(hash, &known);
                left = left.saturating_sub((known.key.len() + known.state.len()) as u64);
            }
            self.cold.append(&records)?;
            self.hot.drop_oldest(records.len());
            records.clear();
            if left <= left_max {
                break;
            }
        }
        self.hot.shrink();
        Ok(())
    }

    /// A copy of all of it, which takes as much memory as what is in memory.
    pub(crate) fn copy(&self) -> ShardCopy {
        let (since, hot) = self.hot.snapshot();
        let cold = (!self.cold.is_empty()).then(|| self.cold.copy());
        ShardCopy { cold, since, hot, keys: self.len() as u64 }
    }
}

impl Thaw {
    /// By how much they make what is in memory grow.
    pub(crate) fn growth(&self) -> u64 {
        let kept = self.found.iter().filter(|found| found.kept.is_some());
        kept.map(|found| found.content_bytes + ENTRY_BYTES).sum()
    }
}

impl ShardCopy {
    /// How many bytes its entries take, more or less.
    pub(crate) fn bytes(&self) -> u64 {
        self.hot.bytes() as u64 + self.cold.as_ref().map_or(0, Cold::content_bytes)
    }

    /// All of it as entries of a snapshot, and the time that the first entry counts from.
    pub(crate) fn entries(&self) -> Result<(BatchTime, Operations), StateError> {
        let Some(cold) = &self.cold else { return Ok((self.since, self.hot.clone())) };
        let mut entries = Operations::with_capacity(usize::try_from(self.bytes()).unwrap_or_default());
        let mut times: Option<(BatchTime, BatchTime)> = None;
        let visited = cold.visit(|known| {
            let (since, last) = times.unwrap_or((known.time, known.time));
            entries.entry(known.key, known.state, between(last, known.time));
            times = Some((since, known.time));
            ControlFlow::Continue(())
        })?;
        debug_assert!(visited.is_continue(), "nothing breaks it off");
        let (since, mut last) = times.unwrap_or((self.since, self.since));
        let mut time = self.since;
        for operation in self.hot.iter().flatten() {
            if let Operation::Entry { key, state, later_ms } = operation {
                time = BatchTime::from_ms(time.as_ms().wrapping_add_unsigned(later_ms));
                entries.entry(key, state, between(last, time));
                last = time;
            }
        }
        Ok((since, entries))
    }
}

fn between(earlier: BatchTime, later: BatchTime) -> u64 {
    later.as_ms().wrapping_sub(earlier.as_ms()) as u64
}

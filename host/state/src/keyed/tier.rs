//! A shard of which one part is in memory and the other on disk.
//!
//! Every key is in one of the two, and those on disk were seen no later than those in memory. Keys go to disk from the oldest
//! on when memory is short. They come back by a batch that does something to them, in two steps: before it is written, its keys
//! are looked for on disk, which may fail; when it is applied, they move, which may not.
//!
//! While a shard is forked, a batch notes what its keys were before it changes them.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use hashbrown::HashSet;
use millstream_journal::{Operation, Operations};
use millstream_model::BatchTime;

use super::before::{Before, Notes};
use super::shard::{ENTRY_BYTES, Known, Shard};
use crate::StateError;
use crate::cold::{Cold, ColdFile, Place, Records};

#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) hot: Shard,
    pub(crate) cold: Cold,
    /// Those who still have to know what keys were.
    forks: Vec<Weak<Before>>,
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
    /// Whether it is to be in memory, as the batch leaves the state as it is.
    is_restored: bool,
    /// What it is, where that is to be restored or noted.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    key: Box<[u8]>,
    state: Box<[u8]>,
    time: BatchTime,
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
        Self { hot: Shard::new(), cold: Cold::new(file), forks: Vec::new() }
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
                let kept = (is_touched || !self.forks.is_empty()).then(|| Kept::of(&known));
                thaw.found.push(Found { place, content_bytes, is_restored: is_touched, kept });
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
        operations: impl Iterator<Item = Result<Operation<'a>, &'static str>> + Clone,
        thaw: Option<&Thaw>,
    ) -> Result<(), &'static str> {
        self.forks.retain(|fork| fork.strong_count() > 0);
        for fork in self.forks.iter().filter_map(Weak::upgrade) {
            fork.note(|notes| self.note(notes, operations.clone(), thaw));
        }
        for found in thaw.iter().flat_map(|thaw| &thaw.found) {
            self.cold.remove(found.place, found.content_bytes);
            if let Some(Kept { key, state, .. }) = found.kept.as_ref().filter(|_| found.is_restored) {
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

    /// From here on `fork` is told what keys were, for as long as there is someone who has it.
    pub(crate) fn watch(&mut self, fork: &Arc<Before>) {
        self.forks.push(Arc::downgrade(fork));
    }

    /// Notes what the keys of a batch's operations are.
    fn note<'a>(
        &self,
        notes: &mut Notes,
        operations: impl Iterator<Item = Result<Operation<'a>, &'static str>>,
        thaw: Option<&Thaw>,
    ) -> Result<(), StateError> {
        for kept in thaw.iter().flat_map(|thaw| &thaw.found).filter_map(|found| found.kept.as_ref()) {
            notes.add(&kept.key, Some(kept.known()));
        }
        let mut bytes = Vec::new();
        for operation in operations.map_while(Result::ok) {
            let (Operation::Put { key, .. } | Operation::Remove { key } | Operation::Touch { key }) =
                operation
            else {
                break;
            };
            if notes.has(key) {
                continue;
            }
            match self.hot.known(key) {
                Some(known) => notes.add(key, Some(known)),
                None if self.cold.is_empty() => notes.add(key, None),
                // Nearly always it is not there, and if it is, the fork began after the batch was prepared.
                None => notes.add(key, self.cold.find(key, &mut bytes)?.map(|(_, known)| known)),
            }
        }
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
        let restored = self.found.iter().filter(|found| found.is_restored);
        restored.map(|found| found.content_bytes + ENTRY_BYTES).sum()
    }
}

impl ShardCopy {
    /// How many bytes its entries take, more or less.
    pub(crate) fn bytes(&self) -> u64 {
        self.hot.bytes() as u64 + self.cold.as_ref().map_or(0, Cold::content_bytes)
    }

    /// All of it as entries of a snapshot, and the time that the first entry counts from.
    pub(crate) fn entries(&self) -> Result<(BatchTime, Operations), StateError> {
        if self.cold.is_none() {
            return Ok((self.since, self.hot.clone()));
        }
        let mut entries = Operations::with_capacity(usize::try_from(self.bytes()).unwrap_or_default());
        let mut times: Option<(BatchTime, BatchTime)> = None;
        let visited = self.visit(|known| {
            let (since, last) = times.unwrap_or((known.time, known.time));
            entries.entry(known.key, known.state, between(last, known.time));
            times = Some((since, known.time));
            ControlFlow::Continue(())
        })?;
        debug_assert!(visited.is_continue(), "nothing breaks it off");
        Ok((times.map_or(self.since, |(since, _)| since), entries))
    }

    /// Looks at all keys, from the oldest on, until it is told to break off.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(&Known<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StateError> {
        if let Some(cold) = &self.cold
            && cold.visit(&mut visit)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        let mut time = self.since;
        for operation in self.hot.iter().flatten() {
            if let Operation::Entry { key, state, later_ms } = operation {
                time = BatchTime::from_ms(time.as_ms().wrapping_add_unsigned(later_ms));
                if visit(&Known { key, state, time }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Kept {
    fn of(known: &Known<'_>) -> Self {
        Self { key: known.key.into(), state: known.state.into(), time: known.time }
    }

    fn known(&self) -> Known<'_> {
        Known { key: &self.key, state: &self.state, time: self.time }
    }
}

fn between(earlier: BatchTime, later: BatchTime) -> u64 {
    later.as_ms().wrapping_sub(earlier.as_ms()) as u64
}

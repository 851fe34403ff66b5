//! What keys were before batches changed them: for a fork, which is a table as it was.
//!
//! A fork copies nothing when it is made. From then on a batch that changes a key notes what it was, once for each key, until
//! the fork has copied the shard. So what a fork costs a batch goes by what the batch changes, not by what there is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hashbrown::HashTable;
use millstream_model::BatchTime;

use super::entries::Entries;
use super::shard::{Known, hash, spread};
use crate::StateError;

/// What a note takes beside the key and its state, more or less.
const NOTE_BYTES: u64 = 64;

/// The memory that a fork's notes may take, all shards together. A fork that takes more is given up, and no batch suffers from it.
#[derive(Debug)]
pub(crate) struct Allowance {
    used: AtomicU64,
    limit: u64,
    given_up: OnceLock<StateError>,
}

/// What keys of a shard were.
#[derive(Debug)]
pub(crate) struct Before {
    allowance: Arc<Allowance>,
    notes: Mutex<Notes>,
}

/// Keys, each once, with what they were.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    index: HashTable<u32>,
    /// Without a state where the key was not there.
    entries: Entries,
    bytes: u64,
}

impl Allowance {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit, given_up: OnceLock::new() })
    }

    /// What is taken of it.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Makes the fork fail. Gives whether it had not failed yet.
    pub(crate) fn give_up(&self, error: StateError) -> bool {
        self.used.store(0, Ordering::Relaxed);
        self.given_up.set(error).is_ok()
    }

    /// The same, as it takes too much memory.
    pub(crate) fn run_out(&self) -> bool {
        self.give_up(StateError::ForkTooLarge { limit: self.limit })
    }

    /// Whether the fork is whole.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        self.given_up.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Before {
    pub(crate) fn new(allowance: &Arc<Allowance>) -> Arc<Self> {
        Arc::new(Self { allowance: Arc::clone(allowance), notes: Mutex::default() })
    }

    /// Notes what is known of keys, as `note` is told, unless the fork has failed.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Notes) -> Result<(), StateError>) {
        let mut notes = self.lock();
        if self.allowance.check().is_err() {
            *notes = Notes::default();
            return;
        }
        let before = notes.bytes;
        if let Err(error) = note(&mut notes) {
            self.allowance.give_up(error);
            return;
        }
        let more = notes.bytes - before;
        if self.allowance.used.fetch_add(more, Ordering::Relaxed) + more > self.allowance.limit {
            self.allowance.run_out();
        }
    }

    /// All that was noted.
    pub(crate) fn take(&self) -> Notes {
        let notes = std::mem::take(&mut *self.lock());
        if self.allowance.check().is_ok() {
            self.allowance.used.fetch_sub(notes.bytes, Ordering::Relaxed);
        }
        notes
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Notes what a key was: `known`, or not there. Only what is noted of it first counts.
    pub(crate) fn add(&mut self, key: &[u8], known: Option<Known<'_>>) {
        if self.has(key) {
            return;
        }
        let hash = hash(key);
        let (index, entries) = (&mut self.index, &mut self.entries);
        let number = u32::try_from(entries.len()).expect("a fork has less memory than that");
        index.insert_unique(spread(hash), number, |number| spread(self::hash(entries.key(*number))));
        match known {
            Some(known) => entries.push(key, known.state, known.time),
            None => entries.push_absent(key),
        }
        let state = known.map_or(0, |known| known.state.len());
        self.bytes += (key.len() + state) as u64 + NOTE_BYTES;
    }

    /// Whether something is noted of a key.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        !self.index.is_empty() && {
            let is_it = |number: &u32| self.entries.key(*number) == key;
            self.index.find(spread(hash(key)), is_it).is_some()
        }
    }

    /// The keys that were there, in the order of their times.
    pub(crate) fn known(&self) -> impl Iterator<Item = Known<'_>> {
        let mut rows: Vec<usize> = (0..self.entries.len()).collect();
        rows.sort_by_key(|row| self.entries.times[*row]);
        rows.into_iter().filter_map(|row| {
            let key = self.entries.keys.get(row)?;
            let state = self.entries.states.get(row)?;
            Some(Known { key, state, time: self.entries.times[row] })
        })
    }
}

impl Entries {
    fn key(&self, number: u32) -> &[u8] {
        self.keys.get(number as usize).expect("each entry has a key")
    }

    /// Adds a key without a state.
    fn push_absent(&mut self, key: &[u8]) {
        self.keys.push(key);
        self.states.push_absent();
        self.times.push(BatchTime::default());
    }
}

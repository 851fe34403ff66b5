//! Keys that a function fails on although they have no new rows, in batch after batch: it is their state.
//!
//! With `every-key` such a key is visited again and again, and nothing of it is lost: its state stays. So it is told of once, and
//! counted from then on, until the function does its work on it again. What is known of that ends with the process.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::DefaultHashBuilder;
use millstream_model::BatchTime;

/// Keys that are known; others are only counted.
const STUCK_MAX: usize = 10_000;

/// The keys of a stream that its function is stuck on.
#[derive(Default)]
pub(crate) struct Stuck {
    hashing: DefaultHashBuilder,
    /// The batch that each was told of in, by the hashes of keys, which may be long.
    since: Mutex<BTreeMap<u64, BatchTime>>,
}

impl Stuck {
    /// Notes that the function fails on a key without rows. Says whether that is news: all attempts of a batch say the same.
    pub(crate) fn note(&self, key: &[u8], batch: BatchTime) -> bool {
        let mut known = self.known();
        let hash = self.hashing.hash_one(key);
        if known.len() >= STUCK_MAX && !known.contains_key(&hash) {
            return false;
        }
        *known.entry(hash).or_insert(batch) == batch
    }

    /// The function does its work on these keys.
    pub(crate) fn free(&self, keys: &[&[u8]]) {
        let mut known = self.known();
        if known.is_empty() {
            return;
        }
        for key in keys {
            known.remove(&self.hashing.hash_one(key));
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, BatchTime>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

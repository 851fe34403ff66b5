//! Keys of a shard that were not seen for long: their states are on disk, and an index of them in memory.
//!
//! ```text
//! index: hash table of [ 24 bits of the key's hash, 40 bits of the record's place ] ─▶ log: record record record ...
//! ```
//!
//! The index takes some 14 bytes for each key, however long keys and states are, and nearly always tells without the disk that
//! a key is not there. A key that is removed leaves the index alone: its record is garbage from then on. Records are in the
//! order of their times, as keys come here from the oldest on and leave for good when they are seen again. So those that
//! time out are at the log's beginning, which is let go of as they do. A log that is mostly garbage is written anew.
//!
//! An embedded store would need no memory for a key. But it writes several pages or levels for each key that comes or goes, and
//! one that met a full disk has to be opened anew and has lost what is here: of two that were tried with two million keys, one
//! took them in and out some 5 times as slowly, the other 20 times, and both found them some 5 times as slowly.
//!
//! All that is scratch: what the states are after a crash is for the state log and the snapshots to say.

mod file;
mod log;
mod spool;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;

use crate::StateError;
use crate::keyed::shard::{Known, hash, spread};
pub(crate) use file::ColdFile;
use log::Log;
pub(crate) use spool::{Spool, Spooled, Spooling};

/// Less garbage than this is left where it is.
const GARBAGE_BYTES_MIN: u64 = 1 << 20;
/// So much is appended at a time.
const APPEND_BYTES: usize = 1 << 20;
const PLACE_BITS: u32 = 40;
const PLACE_MAX: u64 = 1 << PLACE_BITS;

/// The cold keys of a shard.
#[derive(Debug)]
pub(crate) struct Cold {
    index: HashTable<Place>,
    log: Log,
    /// What the records of the keys that are here take.
    live_bytes: u64,
    /// Before this place there is no record of a key that is here.
    front: AtomicU64,
}

/// Where a record is, and bits that tell most keys apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(u64);

/// Records that are to be appended.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// The hash of each key, and where its record begins.
    starts: Vec<(u32, u64)>,
}

impl Cold {
    pub(crate) fn new(file: &Arc<ColdFile>) -> Self {
        Self::over(Log::new(file), 0)
    }

    /// The same keys, for as long as they are wanted.
    pub(crate) fn copy(&self) -> Self {
        let front = AtomicU64::new(self.front.load(Ordering::Relaxed));
        Self { index: self.index.clone(), log: self.log.clone(), live_bytes: self.live_bytes, front }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What keys and states take, without what is around them.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.live_bytes - (self.len() * log::HEAD_BYTES) as u64
    }

    /// What it takes in memory.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.index.allocation_size() as u64
    }

    /// Finds a key: its place, and what is known of it, which is read into `bytes`.
    pub(crate) fn find<'b>(
        &self,
        key: &[u8],
        bytes: &'b mut Vec<u8>,
    ) -> Result<Option<(Place, Known<'b>)>, StateError> {
        let hash = hash(key);
        let mut found = None;
        for place in self.index.iter_hash(spread(fingerprint(hash))) {
            if place.fingerprint() == fingerprint(hash) {
                self.log.read_record(place.at(), bytes)?;
                if log::parse(bytes).key == key {
                    found = Some(*place);
                    break;
                }
            }
        }
        Ok(found.map(|place| (place, log::parse(bytes))))
    }

    /// A key that was found leaves, if it is still here.
    pub(crate) fn remove(&mut self, place: Place, content_bytes: u64) {
        if let Ok(found) = self.index.find_entry(place.spread(), |other| *other == place) {
            found.remove();
            self.live_bytes -= content_bytes + log::HEAD_BYTES as u64;
        }
    }

    /// Takes in keys that are seen no earlier than those that are here, and that are not here. After an error nothing has
    /// changed.
    pub(crate) fn append(&mut self, records: &Records) -> Result<(), StateError> {
        let start = self.log.end();
        self.log.append(&records.bytes)?;
        self.index.reserve(records.starts.len(), |place| place.spread());
        for (hash, from) in &records.starts {
            let place = Place::new(*hash, start + from);
            self.index.insert_unique(place.spread(), place, |place| place.spread());
        }
        self.live_bytes += records.bytes.len() as u64;
        Ok(())
    }

    /// Looks at all keys, from the oldest on, until it is told to break off.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(&Known<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StateError> {
        self.visit_hashed(|_, known| Ok(visit(known)))
    }

    /// Whether there is nothing to let go of.
    pub(crate) fn is_tidy(&self) -> bool {
        self.log.end() - self.front.load(Ordering::Relaxed) <= self.live_bytes
    }

    /// Lets go of what nobody needs, and writes the log anew if it is mostly garbage.
    pub(crate) fn tidy(&mut self) -> Result<(), StateError> {
        if self.is_empty() {
            *self = Self::over(self.log.empty_one(), 0);
            return Ok(());
        }
        let front = *self.front.get_mut();
        self.log.forget_before(front);
        let garbage = self.log.end() - front - self.live_bytes;
        if garbage > self.live_bytes.max(GARBAGE_BYTES_MIN) || self.log.end() > PLACE_MAX / 2 {
            return self.rewrite();
        }
        Ok(())
    }

    fn over(log: Log, keys: usize) -> Self {
        let index = HashTable::with_capacity(keys);
        Self { index, log, live_bytes: 0, front: AtomicU64::new(0) }
    }

    fn rewrite(&mut self) -> Result<(), StateError> {
        let mut anew = Self::over(self.log.empty_one(), self.len());
        let mut records = Records::default();
        let visited = self.visit_hashed(|hash, known| {
            records.push(hash, known);
            if records.is_enough() {
                anew.append(&records)?;
                records.clear();
            }
            Ok(ControlFlow::Continue(()))
        })?;
        debug_assert!(visited.is_continue(), "nothing breaks it off");
        anew.append(&records)?;
        *self = anew;
        Ok(())
    }

    fn visit_hashed(
        &self,
        mut visit: impl FnMut(u32, &Known<'_>) -> Result<ControlFlow<()>, StateError>,
    ) -> Result<ControlFlow<()>, StateError> {
        let mut left = self.len();
        let mut records = self.log.records(self.front.load(Ordering::Relaxed));
        let mut is_front = true;
        while left > 0
            && let Some((at, known)) = records.next()?
        {
            let hash = hash(known.key);
            if !self.has(Place::new(hash, at)) {
                continue;
            }
            if std::mem::take(&mut is_front) {
                self.front.fetch_max(at, Ordering::Relaxed);
            }
            left -= 1;
            if visit(hash, &known)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn has(&self, place: Place) -> bool {
        self.index.find(place.spread(), |other| *other == place).is_some()
    }
}

impl Place {
    fn new(hash: u32, at: u64) -> Self {
        Self(u64::from(fingerprint(hash)) << PLACE_BITS | at)
    }

    fn fingerprint(self) -> u32 {
        (self.0 >> PLACE_BITS) as u32
    }

    fn at(self) -> u64 {
        self.0 & (PLACE_MAX - 1)
    }

    /// The hash under which the index has it.
    fn spread(self) -> u64 {
        spread(self.fingerprint())
    }
}

impl Records {
    pub(crate) fn push(&mut self, hash: u32, known: &Known<'_>) {
        self.starts.push((hash, self.bytes.len() as u64));
        log::write(&mut self.bytes, known);
    }

    /// Whether it is time to append them.
    pub(crate) fn is_enough(&self) -> bool {
        self.bytes.len() >= APPEND_BYTES
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }
}

fn fingerprint(hash: u32) -> u32 {
    hash >> 8
}

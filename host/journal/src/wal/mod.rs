//! The write-ahead log: what receivers were given, durable before it is acknowledged.
//!
//! Blocks of all lanes stand one behind the other in numbered segments. Each segment begins with how far every lane was
//! before it, so recovery reads from the newest segment that begins no later than the first record that is needed,
//! and notices any that are missing. Submitted blocks are written in groups, one append and one sync for each.
//!
//! What always holds: the records of a lane are numbered from 0 without gaps, in the order of [`Wal::submit`]; a record is
//! durable only after all before it; a record that the batch log on disk still needs is never removed.

mod index;
pub(crate) mod recover;
pub(crate) mod segment;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millstream_model::{Block, Lane};
use millstream_platform::crash_point;
use tokio::sync::Notify;

use crate::JournalError;
use crate::entry::{self, Entry};
use crate::frame::{self, Body};
use crate::segment::Folder;
use crate::split::split_off;

pub use index::{Extent, LaneEnd};
pub(crate) use index::{Index, Place};
pub use writer::WalWriter;

/// The write-ahead log. Clones are the same log; when the last is dropped, the writer ends.
#[derive(Clone)]
pub struct Wal(Arc<Handle>);

struct Handle(Arc<Shared>);

/// What handles, the writer and the batch log share.
pub(crate) struct Shared {
    folder: Folder,
    history_bytes: u64,
    state: Mutex<State>,
    durable: AtomicU64,
    /// `durable` has grown, or the writer has failed. Who waits is woken in order, so that a simulation repeats itself.
    advanced: Notify,
    /// Something was submitted, or the handles are gone.
    work: Notify,
    /// The handles are gone.
    abandoned: Notify,
    cleaning: tokio::sync::Mutex<()>,
}

struct State {
    index: Index,
    /// How far each lane was submitted.
    ends: BTreeMap<Lane, LaneEnd>,
    queue: VecDeque<Waiting>,
    /// The number of the last block submitted.
    submitted: u64,
    open: bool,
    failure: Option<JournalError>,
    trouble: Option<String>,
}

/// An entry to be written.
struct Waiting {
    entry: Entry,
    body: Body,
    /// The number of the block that is durable with it: the last entry of a block has it.
    completes: Option<u64>,
}

impl Wal {
    /// Hands over a block to be written, and gives its number: blocks are counted from 1 and written in the order of the
    /// calls. Never waits: whoever calls bounds what is submitted and not yet durable.
    ///
    /// Without effect once the writer has failed; [`Wal::wait_durable`] says so.
    ///
    /// # Panics
    /// Where `first`, the number of the block's first record, is not the next of its lane.
    pub fn submit(&self, lane: &Lane, first: u64, block: &Block) -> u64 {
        // Checksums are computed before the lock is taken.
        let entries = entry::encode_block(lane, first, block);
        let mut state = self.shared().state();
        let end = state.ends.entry(lane.clone()).or_default();
        assert_eq!(first, end.next, "the records of lane {lane} are numbered without gaps");
        end.pass(first + block.rows as u64, block.resume.as_ref());
        state.submitted += 1;
        let number = state.submitted;
        if state.failure.is_none() {
            let last = entries.len() - 1;
            let completes = |at: usize| (at == last).then_some(number);
            let waiting = entries.into_iter().enumerate();
            state.queue.extend(waiting.map(|(at, (entry, body))| Waiting {
                entry,
                body,
                completes: completes(at),
            }));
        }
        drop(state);
        self.shared().work.notify_one();
        number
    }

    /// The number of the last block that is on disk, with all before it.
    pub fn durable(&self) -> u64 {
        self.shared().durable.load(Ordering::Acquire)
    }

    /// Completes when the block of that number is on disk.
    ///
    /// # Errors
    /// The error that ended the writer.
    pub async fn wait_durable(&self, number: u64) -> Result<(), JournalError> {
        loop {
            let advanced = self.shared().advanced.notified();
            if self.durable() >= number {
                return Ok(());
            }
            if let Some(error) = self.shared().state().failure.clone() {
                return Err(error);
            }
            advanced.await;
        }
    }

    /// Why nothing becomes durable at the moment, while the writer waits for room on the disk.
    pub fn trouble(&self) -> Option<String> {
        self.shared().state().trouble.clone()
    }

    /// The records that are on disk and may still be read: those that recovery found, and all since.
    pub fn unreleased(&self) -> Vec<(Lane, Vec<Extent>)> {
        self.shared().state().index.unreleased()
    }

    /// How far a lane has been submitted; nothing, where there never was a record of it.
    pub fn end(&self, lane: &Lane) -> Option<LaneEnd> {
        self.shared().state().ends.get(lane).cloned()
    }

    /// Exactly these records, in order. Blocks at the edges are split.
    ///
    /// # Errors
    /// `Gone` where not all of them are on disk and unreleased; `Damaged` where they are no longer what was written.
    pub async fn read(&self, lane: &Lane, records: Range<u64>) -> Result<Vec<Block>, JournalError> {
        let places = self.shared().state().index.places(lane, &records);
        let gone = || JournalError::Gone { lane: lane.clone(), records: records.clone() };
        let mut blocks = Vec::new();
        for place in places.ok_or_else(gone)? {
            let entry = self.shared().read_entry(&place).await?;
            let damaged = |what| self.shared().folder.damaged(place.segment, place.offset, what);
            if entry.lane != *lane || (entry.first..entry.end()) != place.records {
                return Err(damaged("other records are here than were written"));
            }
            blocks.push(trimmed(entry, &records).map_err(damaged)?);
        }
        Ok(blocks)
    }

    /// Lets go of the records of a lane below that number: they are never read again.
    pub fn release(&self, lane: &Lane, below: u64) {
        self.shared().state().index.release(lane, below);
    }

    /// Removes the oldest segments, as far as nobody needs a record of theirs and they are beyond the history to be kept.
    ///
    /// # Errors
    /// `Disk` where a file cannot be removed.
    pub async fn clean(&self) -> Result<(), JournalError> {
        let shared = self.shared();
        let _one_at_a_time = shared.cleaning.lock().await;
        let mut is_changed = false;
        while let Some(number) = shared.next_removable() {
            shared.folder.remove(&shared.folder.file(number)).await?;
            shared.state().index.removed(number);
            is_changed = true;
        }
        if is_changed {
            shared.folder.sync().await?;
            crash_point("wal-cleaned");
        }
        Ok(())
    }

    /// Bytes of all segments on disk.
    pub fn bytes(&self) -> u64 {
        self.shared().state().index.bytes()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state().open = false;
        self.0.work.notify_one();
        self.0.abandoned.notify_one();
    }
}

impl Shared {
    pub(crate) fn new(folder: Folder, index: Index, history_bytes: u64) -> Self {
        let ends = index.ends().filter(|(_, end)| **end != LaneEnd::default());
        let state = State {
            ends: ends.map(|(lane, end)| (lane.clone(), end.clone())).collect(),
            index,
            queue: VecDeque::new(),
            submitted: 0,
            open: true,
            failure: None,
            trouble: None,
        };
        Self {
            folder,
            history_bytes,
            state: Mutex::new(state),
            durable: AtomicU64::new(0),
            advanced: Notify::new(),
            work: Notify::new(),
            abandoned: Notify::new(),
            cleaning: tokio::sync::Mutex::new(()),
        }
    }

    /// The batch log is on disk and needs no records below these.
    pub(crate) fn settle(&self, below: &BTreeMap<Lane, u64>) {
        self.state().index.settle(below);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_removable(&self) -> Option<u64> {
        self.state().index.removable(self.history_bytes)
    }

    async fn read_entry(&self, place: &Place) -> Result<Entry, JournalError> {
        let bytes: Bytes = self.folder.read_at(place.segment, place.offset, place.length).await?;
        let damaged = |what| self.folder.damaged(place.segment, place.offset, what);
        let frame = frame::parse(place.segment, place.offset, &bytes).map_err(|tear| damaged(tear.what))?;
        Entry::decode(&frame.body).map_err(damaged)
    }
}

/// The block of an entry, without what is outside of `records`.
pub(crate) fn trimmed(entry: Entry, records: &Range<u64>) -> Result<Block, entry::Defect> {
    let before = records.start.saturating_sub(entry.first);
    let behind = entry.end().saturating_sub(records.end);
    let mut block = entry.block()?;
    // Both are less than the number of rows, which is a length in memory.
    if behind > 0 {
        let kept = block.rows - usize::try_from(behind).unwrap_or(block.rows);
        split_off(&mut block, kept);
    }
    match usize::try_from(before) {
        Ok(before @ 1..) => Ok(split_off(&mut block, before)),
        _ => Ok(block),
    }
}

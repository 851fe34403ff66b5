//! The way in: the two ends of a bounded queue of blocks between a source and the batches.
//!
//! The queue never holds more bytes than its limit plus one block, whatever the source sends: a source that is ahead
//! waits in [`Inlet::send`], and with it whoever feeds the source. Nothing is dropped. The limit counts a block until its
//! batch is done, so that memory is bounded while batches are slow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millstream_journal::Wal;
use millstream_model::{Block, Lane};
use thiserror::Error;
use tokio::sync::{Notify, watch};

use super::budget::{Budget, stays_in_memory};
use super::queue::{Cut, LaneStart, Mark, Queue, Taken};
use super::rate::RateLimit;
use super::settings::{InletSettings, Storage};
use crate::status::ReceiverStatus;

/// The source's end of its queue. Clones send to the same queue; when the last is dropped, the source has ended.
pub struct Inlet {
    shared: Arc<Shared>,
    closed: watch::Receiver<bool>,
}

/// The engine's end of the queue.
pub struct Outlet {
    shared: Arc<Shared>,
    close: watch::Sender<bool>,
}

/// The pipeline is stopping. The block that was being sent is taken, so that nothing received is lost; no more are.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the pipeline is stopping")]
pub struct Closed;

/// Tells when a block is safe.
#[derive(Clone)]
pub struct Receipt {
    wal: Option<Wal>,
    entry: u64,
}

struct Shared {
    lane: Lane,
    settings: InletSettings,
    wal: Option<Wal>,
    queue: Mutex<Queue>,
    ends: Mutex<Ends>,
    budget: Arc<Budget>,
    rate: RateLimit,
    /// Room on disk, or the source has ended, or the queue has changed.
    change: Notify,
}

/// What the two ends do and see.
#[derive(Default)]
struct Ends {
    inlets: usize,
    /// Whether a source waits for room.
    waiting: bool,
    blocks: u64,
    records: u64,
}

impl Receipt {
    /// Completes when the block, and all before it, are safe from a crash; at once where there is no journal.
    ///
    /// # Errors
    /// The write-ahead log has failed: it is not known whether the block is safe.
    pub async fn durable(&self) -> Result<(), Closed> {
        match &self.wal {
            Some(wal) => wal.wait_durable(self.entry).await.map_err(|_| Closed),
            None => Ok(()),
        }
    }
}

impl Inlet {
    /// The two ends of a queue for a receiver whose blocks are in memory alone.
    pub fn new(lane: Lane, settings: InletSettings) -> (Self, Outlet) {
        Self::with(lane, settings, None, false, LaneStart::default())
    }

    /// The two ends of a queue for a receiver whose blocks go to the write-ahead log.
    pub fn logged(lane: Lane, settings: InletSettings, wal: Wal) -> (Self, Outlet) {
        Self::with(lane, settings, Some(wal), false, LaneStart::default())
    }

    /// The two ends of the queue of `lane`, which goes on at `start`; logged where there is a log.
    pub(crate) fn with(
        lane: Lane,
        settings: InletSettings,
        wal: Option<Wal>,
        direct: bool,
        start: LaneStart,
    ) -> (Self, Outlet) {
        Self::over(Queue::new(lane, direct, start), settings, wal.filter(|_| !direct))
    }

    /// The two ends of the lane whose queue `before` has been the end of, for the next receiver of it: what it holds
    /// comes first. Its source has ended.
    pub(super) fn behind(before: &Outlet, settings: InletSettings) -> (Self, Outlet) {
        Self::over(before.shared.queue().hand_over(), settings, before.shared.wal.clone())
    }

    fn over(queue: Queue, settings: InletSettings, wal: Option<Wal>) -> (Self, Outlet) {
        let shared = Arc::new(Shared {
            rate: RateLimit::new(settings.rate_max),
            lane: queue.lane.clone(),
            queue: Mutex::new(queue),
            settings,
            wal,
            ends: Mutex::new(Ends { inlets: 1, ..Ends::default() }),
            budget: Arc::default(),
            change: Notify::new(),
        });
        let (close, closed) = watch::channel(false);
        (Self { shared: Arc::clone(&shared), closed }, Outlet { shared, close })
    }

    /// Hands over a block of whole records; waits while there is no room, and as long as the source's rate asks.
    pub async fn send(&self, block: Block) -> Result<Receipt, Closed> {
        let mut closed = self.closed.clone();
        if !*closed.borrow_and_update() {
            tokio::select! {
                biased;
                _closed = closed.changed() => {}
                () = self.shared.rate.wait(block.rows) => {}
            }
        }
        let is_closed = self.wait_for_room(&mut closed).await;
        let (receipt, spilled) = self.shared.push(block);
        if spilled && !is_closed {
            // What the log has not written yet is in memory after all.
            receipt.durable().await?;
        }
        if is_closed { Err(Closed) } else { Ok(receipt) }
    }

    /// Waits until a block has room; says whether the queue was closed instead.
    async fn wait_for_room(&self, closed: &mut watch::Receiver<bool>) -> bool {
        loop {
            let room = self.shared.budget.room.notified();
            let change = self.shared.change.notified();
            let is_closed = *closed.borrow_and_update();
            let has_room = self.shared.has_room();
            self.shared.ends().waiting = !has_room && !is_closed;
            if is_closed || has_room {
                return is_closed;
            }
            tokio::select! {
                biased;
                // An outlet that is gone has closed first.
                _changed = closed.changed() => {}
                () = room => {}
                () = change => {}
            }
        }
    }

    /// Which receiver of which source it is.
    pub fn lane(&self) -> &Lane {
        &self.shared.lane
    }

    /// Completes when the pipeline stops receiving. Sources select on it wherever they wait.
    pub async fn closed(&self) {
        // An outlet that is gone has closed its inlets as well.
        let mut closed = self.closed.clone();
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    /// Whether the source is to deliver what is there now and then return.
    pub fn once(&self) -> bool {
        self.shared.settings.once
    }

    /// The most rows of a block, so that rows come evenly at the source's rate.
    pub fn block_rows_max(&self) -> usize {
        self.shared.rate.block_rows_max()
    }

    /// How long records are gathered for a block that is not full.
    pub fn block_interval(&self) -> Duration {
        self.shared.settings.block_interval
    }

    /// Tells when all that was sent so far is safe.
    pub fn receipt(&self) -> Receipt {
        Receipt { wal: self.shared.wal.clone(), entry: self.shared.queue().last_entry }
    }

    /// Records that this receiver has sent since its lane began, also in earlier lives of the process.
    pub fn records(&self) -> u64 {
        self.shared.queue().next()
    }

    /// The `resume` of the last block that was sent with one, also in earlier lives of the process.
    pub fn resume(&self) -> Option<Bytes> {
        self.shared.queue().resume.clone()
    }

    /// A direct source begins with an origin, or goes on with it after a restart: its blocks follow.
    /// `stamp` tells whether the origin still holds the same records.
    pub fn open(&self, origin: &str, stamp: &str) {
        self.shared.mark(Mark::Opened { origin: origin.to_owned(), stamp: stamp.to_owned() });
    }

    /// A direct source has come to the end of an origin.
    pub fn finish(&self, origin: &str) {
        self.shared.mark(Mark::Finished { origin: origin.to_owned() });
    }

    /// An origin of a direct source is gone, and need not be remembered.
    pub fn forget(&self, origin: &str) {
        self.shared.mark(Mark::Forgotten { origin: origin.to_owned() });
    }

    /// What a direct source has delivered of an origin, also in earlier lives of the process.
    pub fn taken(&self, origin: &str) -> Option<Taken> {
        self.shared.queue().origins.get(origin).cloned()
    }

    /// The origins that a direct source has opened and not forgotten.
    pub fn origins(&self) -> Vec<String> {
        self.shared.queue().origins.keys().cloned().collect()
    }

    /// Tells operators of a fault that the source survives, as one line.
    pub fn report(&self, fault: &str) {
        tracing::warn!(source = %self.shared.lane, "{fault}");
    }
}

impl Clone for Inlet {
    fn clone(&self) -> Self {
        self.shared.ends().inlets += 1;
        Self { shared: Arc::clone(&self.shared), closed: self.closed.clone() }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.shared.ends().inlets -= 1;
        self.shared.change.notify_waiters();
    }
}

impl Outlet {
    /// Takes what a batch may have of the lane: of what is on disk, if it must be.
    pub fn take(&self) -> Cut {
        let durable = self.shared.wal.as_ref().map_or(u64::MAX, Wal::durable);
        let cut = self.shared.queue().cut(durable, &self.shared.settings);
        self.shared.change.notify_waiters();
        cut
    }

    /// Lets the source send nothing more; what was sent stays.
    pub fn close(&self) {
        self.close.send_replace(true);
    }

    /// A source's end again, for one that goes on where the last one was closed.
    pub(crate) fn reopen(&self) -> Inlet {
        self.shared.ends().inlets += 1;
        self.close.send_replace(false);
        Inlet { shared: Arc::clone(&self.shared), closed: self.close.subscribe() }
    }

    /// Whether the source has ended and everything it sent was taken.
    pub fn is_exhausted(&self) -> bool {
        self.has_ended() && self.shared.queue().is_empty()
    }

    /// Completes when the source has ended.
    pub(super) async fn ended(&self) {
        loop {
            let change = self.shared.change.notified();
            if self.has_ended() {
                return;
            }
            change.await;
        }
    }

    /// Whether the source has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ends().inlets == 0
    }

    /// Completes when a batch is full: of rows, of bytes, or because no more will come.
    pub async fn full(&self) {
        loop {
            let change = self.shared.change.notified();
            if self.shared.is_full() {
                return;
            }
            change.await;
        }
    }

    /// Completes when all that was sent so far is on disk, if it must be.
    pub(crate) async fn durable(&self) -> Result<(), Closed> {
        let entry = self.shared.queue().last_entry;
        Receipt { wal: self.shared.wal.clone(), entry }.durable().await
    }

    /// Sets the rows a second that batches can keep up with.
    pub(crate) fn set_rate(&self, rate: f64) {
        self.shared.rate.set(Some(rate));
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.shared.lane
    }

    /// Adds what is seen of the receiver from here.
    pub(crate) fn observe(&self, status: &mut ReceiverStatus) {
        let ends = self.shared.ends();
        (status.records, status.blocks, status.waiting) = (ends.records, ends.blocks, ends.waiting);
        drop(ends);
        status.rate = self.shared.rate.current();
        let queue = self.shared.queue();
        status.queued_records = queue.rows as u64;
        status.queued_bytes = queue.bytes as u64;
        status.spilled_bytes = queue.spilled_bytes as u64;
        drop(queue);
        status.memory_bytes = self.shared.budget.used() as u64;
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let in_memory = || self.budget.used() < self.settings.bytes_max;
        let on_disk = || (self.queue().spilled_bytes as u64) < self.settings.disk_bytes_max;
        match self.settings.storage {
            _ if self.wal.is_none() => in_memory(),
            Storage::Memory => in_memory(),
            Storage::MemoryAndDisk => in_memory() || on_disk(),
            Storage::Disk => on_disk(),
        }
    }

    fn is_full(&self) -> bool {
        let (rows, bytes) = {
            let queue = self.queue();
            (queue.rows, queue.bytes)
        };
        let memory_is_full = rows > 0 && self.budget.used() >= self.settings.bytes_max;
        let is_full = rows >= self.settings.batch_rows_max || bytes >= self.settings.bytes_max;
        // What has no room behind it will not grow.
        is_full || memory_is_full || (rows > 0 && !self.has_room()) || self.ends().inlets == 0
    }

    /// Queues a block; says whether it is on disk alone.
    fn push(&self, block: Block) -> (Receipt, bool) {
        let stays = self.wal.is_none() || stays_in_memory(&self.settings, self.budget.used());
        let rows = block.rows as u64;
        let entry = {
            let mut queue = self.queue();
            queue.push(block, self.wal.as_ref(), stays.then_some(&self.budget));
            queue.last_entry
        };
        let mut ends = self.ends();
        ends.blocks += 1;
        ends.records += rows;
        drop(ends);
        self.change.notify_waiters();
        (Receipt { wal: self.wal.clone(), entry }, !stays)
    }

    fn mark(&self, mark: Mark) {
        self.queue().mark(mark);
        self.change.notify_waiters();
    }
}

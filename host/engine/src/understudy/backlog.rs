//! The batches that an understudy was given and has not done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millstream_model::BatchTime;

/// More batches than these are not kept for it.
pub(super) const BATCHES_MAX: usize = 1_024;
/// More records, with the rows to compare with, are not kept in memory for it.
pub(super) const BYTES_MAX: usize = 256 << 20;

/// What waits for an understudy. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<Mutex<Waiting>>);

/// The backlog of the understudy that was begun last, for as long as there is that. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastBacklog(Arc<Mutex<Weak<Mutex<Waiting>>>>);

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<(BatchTime, usize)>,
    /// Rows that the version which runs gave, and that are not compared yet.
    outputs_bytes: usize,
}

impl LastBacklog {
    /// That of an understudy which begins.
    pub(super) fn begin(&self) -> Backlog {
        let backlog = Backlog::default();
        *lock(&self.0) = Arc::downgrade(&backlog.0);
        backlog
    }

    /// The oldest batch. Its records are not to be removed from the log, nor those of later ones.
    pub(crate) fn oldest(&self) -> Option<BatchTime> {
        let waiting = lock(&self.0).upgrade()?;
        lock(&waiting).batches.front().map(|(time, _)| *time)
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().batches.is_empty()
    }

    /// Whether it does what comes as fast as it comes.
    pub(super) fn is_short(&self) -> bool {
        self.waiting().batches.len() <= 1
    }

    pub(super) fn is_too_long(&self) -> bool {
        let waiting = self.waiting();
        let bytes: usize = waiting.batches.iter().map(|(_, bytes)| bytes).sum();
        waiting.batches.len() > BATCHES_MAX || bytes.saturating_add(waiting.outputs_bytes) > BYTES_MAX
    }

    pub(super) fn add(&self, time: BatchTime, bytes: usize) {
        self.waiting().batches.push_back((time, bytes));
    }

    #[cfg(test)]
    pub(super) fn outputs_bytes(&self) -> usize {
        self.waiting().outputs_bytes
    }

    pub(super) fn add_outputs(&self, bytes: usize) {
        self.waiting().outputs_bytes += bytes;
    }

    pub(super) fn remove_outputs(&self, bytes: usize) {
        let mut waiting = self.waiting();
        waiting.outputs_bytes = waiting.outputs_bytes.saturating_sub(bytes);
    }

    /// The oldest batch is done.
    pub(super) fn remove(&self) {
        self.waiting().batches.pop_front();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How many rows a second the receivers that share a limit may bring in, while the limit changes.
//!
//! A leaky bucket: rows that pass take the time that they need at the rate, and the next rows pass when it is over. So
//! rows come evenly, and time in which none came is not made up for. The lower of two rates counts: the one that the
//! pipeline's author set, and the one that the batches keep up with.
//!
//! What always holds: rows that have passed are paid for at the rate that they passed at, or at a higher one that came
//! later, so that a raise shortens a wait and a cut lengthens none. Rows pass in the order in which their waits began.
//! A wait that is given up has taken nothing.

mod bucket;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{self, Notify};
use tokio::time::{Instant, sleep_until};

use self::bucket::Bucket;

/// Blocks a second that a rate is spread over, so that rows come evenly and not in bursts.
const BLOCKS_PER_SECOND: f64 = 20.0;

/// The most rows a second that receivers may bring in together. Clones are one limit.
#[derive(Clone, Debug)]
pub(super) struct RateLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bucket: Mutex<Bucket>,
    /// Held by the wait that is next to pass; the lock is handed on in the order in which it was asked for.
    turn: sync::Mutex<()>,
    /// Tells the wait that has its turn that the rate is another.
    changed: Notify,
}

impl RateLimit {
    /// A limit that is never above `max` rows a second. Without one it lets all rows through until [`RateLimit::set`]
    /// says otherwise; a `max` of 0 is taken for 1.
    pub(super) fn new(max: Option<u64>) -> Self {
        let bucket = Mutex::new(Bucket::new(max.map(|max| max.max(1) as f64)));
        Self { shared: Arc::new(Shared { bucket, turn: sync::Mutex::new(()), changed: Notify::new() }) }
    }

    /// Limits to `rate` rows a second beside the most that may ever come; none takes that limit back.
    ///
    /// A rate that is 0, negative or no number says nothing and is ignored; a very low one becomes a tenth of a row
    /// a second, so that a receiver is slow and not stuck.
    pub(super) fn set(&self, rate: Option<f64>) {
        self.bucket().set(rate, Instant::now());
        self.shared.changed.notify_one();
    }

    /// The limit as it is, in rows a second.
    pub(super) fn current(&self) -> Option<f64> {
        self.bucket().rate()
    }

    /// The most rows of a block, such that a second has many: a twentieth of the rate and at least 1.
    /// Without a limit there is none either, which is `usize::MAX`.
    pub(super) fn block_rows_max(&self) -> usize {
        // The conversion keeps to the ends of the range.
        self.current().map_or(usize::MAX, |rate| ((rate / BLOCKS_PER_SECOND) as usize).max(1))
    }

    /// Waits until `rows` more may pass. They count from then on: a wait that is dropped before has taken nothing.
    pub(super) async fn wait(&self, rows: usize) {
        let since = Instant::now();
        let _turn = self.shared.turn.lock().await;
        while let Err(free) = self.pass(rows, since) {
            tokio::select! {
                biased;
                () = sleep_until(free) => {}
                () = self.shared.changed.notified() => {}
            }
        }
    }

    fn pass(&self, rows: usize, since: Instant) -> Result<(), Instant> {
        self.bucket().pass(rows, since, Instant::now())
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.shared.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The most rows a second that a source may bring in.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::cut::BLOCK_ROWS_MAX;

/// Blocks a second that a rate is spread over, so that rows come evenly and not in bursts.
const BLOCKS_PER_SECOND: u64 = 20;

/// A leaky bucket: rows reserve the time that they take at the rate, one block behind the other.
pub(crate) struct Rate {
    rows_per_second: u64,
    /// When the rows let through so far are worked off.
    free: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(rows_per_second: u64) -> Self {
        Self { rows_per_second: rows_per_second.max(1), free: Mutex::new(None) }
    }

    /// The most rows of a block at this rate.
    pub(crate) fn block_rows_max(&self) -> usize {
        let rows = (self.rows_per_second / BLOCKS_PER_SECOND).max(1);
        usize::try_from(rows).map_or(BLOCK_ROWS_MAX, |rows| rows.min(BLOCK_ROWS_MAX))
    }

    /// Waits until `rows` more may pass.
    pub(crate) async fn wait(&self, rows: usize) {
        sleep_until(self.reserve(Instant::now(), rows)).await;
    }

    /// When `rows` that are there at `now` may pass.
    pub(crate) fn reserve(&self, now: Instant, rows: usize) -> Instant {
        let takes = Duration::from_secs_f64(rows as f64 / self.rows_per_second as f64);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let start = free.map_or(now, |free| free.max(now));
        *free = Some(start + takes);
        start
    }
}

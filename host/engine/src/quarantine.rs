//! Functions that are left alone for a while: those that cannot do their work, whatever the rows.
//!
//! The batch that such a function held up waits, and is tried again later and later. Nothing of it is lost: its records are where
//! they were, the next batches queue behind it, and then the receivers wait. No batch behind it begins meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_model::BatchTime;
use millstream_platform::{Backoff, Clock};

use crate::status::QuarantineStatus;

/// How long the first wait is, at most.
pub(crate) const WAIT_FIRST: Duration = Duration::from_secs(1);
/// How long each wait is, at most.
pub(crate) const WAIT_LONGEST: Duration = Duration::from_secs(300);

/// What is in quarantine. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Quarantine(Arc<Mutex<BTreeMap<BatchTime, Confined>>>);

/// What held a batch up.
struct Confined {
    status: QuarantineStatus,
    /// When it is over, by the clock's elapsed time.
    until: Duration,
}

impl Quarantine {
    /// Puts the function that held `batch` up into quarantine, or leaves it there. Gives how long that is.
    pub(crate) fn confine(
        &self,
        batch: BatchTime,
        function: &str,
        reason: &str,
        clock: &dyn Clock,
        backoff: &mut Backoff,
    ) -> Duration {
        // Whole milliseconds, so that what is shown is when it is over.
        let wait_ms = u32::try_from(backoff.next().as_millis()).unwrap_or(u32::MAX);
        let (wait, now_ms) = (Duration::from_millis(wait_ms.into()), clock.now_ms());
        let mut confined = self.confined();
        let before =
            confined.get(&batch).map(|before| &before.status).filter(|status| status.function == function);
        let status = QuarantineStatus {
            plugin: function.split('.').next().unwrap_or_default().to_owned(),
            function: function.to_owned(),
            reason: reason.to_owned(),
            batch,
            since_ms: before.map_or(now_ms, |before| before.since_ms),
            until_ms: now_ms.saturating_add(wait_ms.into()),
            tries: before.map_or(1, |before| before.tries + 1),
        };
        confined.insert(batch, Confined { status, until: clock.elapsed() + wait });
        wait
    }

    /// The batch is done with, in whatever way.
    pub(crate) fn release(&self, batch: BatchTime) {
        self.confined().remove(&batch);
    }

    /// Waits until no function is in quarantine any more for `batch` or one before it. One behind it waits for this one anyway.
    pub(crate) async fn over(&self, batch: BatchTime, clock: &dyn Clock) {
        loop {
            let until = self.confined().range(..=batch).map(|(_, confined)| confined.until).max();
            match until.filter(|until| *until > clock.elapsed()) {
                Some(until) => clock.sleep_until(until).await,
                None => return,
            }
        }
    }

    /// What is in quarantine now.
    pub(crate) fn status(&self) -> Vec<QuarantineStatus> {
        self.confined().values().map(|confined| confined.status.clone()).collect()
    }

    fn confined(&self) -> MutexGuard<'_, BTreeMap<BatchTime, Confined>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

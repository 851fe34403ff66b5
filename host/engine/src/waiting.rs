//! How batches wait for what is outside of them: for room on a disk, and for a sink that does not take what it is to take.
//!
//! That is nobody's fault and may pass: so it is tried again, later and later and without an end, and the log and `status` say
//! why. A stop at once ends each wait. A graceful one waits for room as long as the pipeline lives, since it has received what
//! is to be processed; while it recovers it has received nothing, and what was begun is on disk for the next process, so
//! there it ends the wait after one more try.
//!
//! What a batch has waited says nothing of how fast batches are, and is counted apart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream_platform::Backoff;

use crate::EngineError;
use crate::process::Processor;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// How long was waited. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Waited(Arc<Mutex<Duration>>);

/// A wait for one thing.
pub(crate) struct Wait<'p> {
    processor: &'p Processor,
    backoff: Backoff,
    /// What was said of it last.
    told: String,
    is_over: bool,
}

/// A wait for room for one thing that is to be written.
pub(crate) struct Room<'p>(Wait<'p>);

impl Waited {
    pub(crate) fn add(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    pub(crate) fn total(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Wait<'p> {
    pub(crate) fn new(processor: &'p Processor) -> Self {
        let backoff = Backoff::new(FIRST, LONGEST, Arc::clone(&processor.randomness));
        Self { processor, backoff, told: String::new(), is_over: false }
    }

    /// Says in the log why, once for each reason.
    pub(crate) fn tell(&mut self, trouble: &str) {
        if trouble != self.told {
            tracing::warn!("{trouble}");
            trouble.clone_into(&mut self.told);
        }
    }

    /// Waits a while, or until a stop; a graceful one only where the wait `may_end` by it, and then it [is over](Self::is_over).
    ///
    /// # Errors
    /// `StoppedNow`.
    pub(crate) async fn pause(&mut self, may_end: bool) -> Result<(), EngineError> {
        let Processor { clock, stop, .. } = self.processor;
        let until = clock.elapsed() + self.backoff.next();
        tokio::select! {
            biased;
            () = stop.told_now() => return Err(EngineError::StoppedNow),
            () = stop.told(), if may_end && !self.is_over => self.is_over = true,
            () = clock.sleep_until(until) => {}
        }
        Ok(())
    }

    /// Whether what is tried now is tried for the last time.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl<'p> Room<'p> {
    pub(crate) fn new(processor: &'p Processor) -> Self {
        Self(Wait::new(processor))
    }

    /// Waits a while, where writing failed with an error that passes when there is room.
    ///
    /// # Errors
    /// The error, where it is another one or the wait is over; `StoppedNow`.
    pub(crate) async fn wait(&mut self, error: EngineError) -> Result<(), EngineError> {
        let Self(wait) = self;
        if !error.is_full() || wait.is_over() {
            return Err(error);
        }
        let Processor { clock, board, waited, is_recovering, .. } = wait.processor;
        let since = clock.elapsed();
        wait.tell(&format!("{error}; waiting for room"));
        board.update(|status| status.trouble = Some(error.to_string()));
        wait.pause(*is_recovering).await?;
        waited.add(clock.elapsed().saturating_sub(since));
        Ok(())
    }
}

impl Drop for Room<'_> {
    /// Whatever came of it, nobody waits any more.
    fn drop(&mut self) {
        if !self.0.told.is_empty() {
            self.0.processor.board.update(|status| status.trouble = None);
        }
    }
}

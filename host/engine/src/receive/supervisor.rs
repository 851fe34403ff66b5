//! Keeps a receiver running: starts it, and starts it again when it fails, later and later.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use millstream_platform::{Backoff, Clock, Randomness};

use super::inlet::Inlet;
use crate::events::ReceiverEvents;
use crate::status::ReceiverState;
use crate::{Source, SourceError};

const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// What is known of a receiver's life.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) state: ReceiverState,
    pub(super) restarts: u64,
    pub(super) error: Option<String>,
}

/// A receiver and what it is supervised with.
pub(super) struct Supervised {
    pub(super) source: Arc<dyn Source>,
    pub(super) inlet: Inlet,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) life: Arc<Mutex<Life>>,
    pub(super) events: ReceiverEvents,
}

impl Supervised {
    /// Runs the receiver until it has no more, is told to stop, or cannot go on.
    pub(super) async fn run(self) -> Result<(), SourceError> {
        let mut backoff = Backoff::new(WAIT_FIRST, WAIT_LONGEST, Arc::clone(&self.randomness));
        let mut reported = false;
        loop {
            self.events.started();
            let before = self.inlet.records();
            let fault = match self.attempt().await {
                Ok(()) => return self.end(Ok(())),
                Err(SourceError::Failed(fault)) if !self.inlet.once() => fault,
                Err(error) => return self.end(Err(error)),
            };
            if self.inlet.records() > before {
                backoff.reset();
                reported = false;
            }
            if !reported {
                self.inlet.report(&format!("{fault}; trying again until it works"));
                reported = true;
            }
            self.events.failed(&fault);
            self.note(|life| {
                life.state = ReceiverState::Waiting;
                life.error = Some(fault);
            });
            let until = self.clock.elapsed() + backoff.next();
            tokio::select! {
                biased;
                () = self.inlet.closed() => return self.end(Ok(())),
                () = self.clock.sleep_until(until) => {}
            }
            self.note(|life| {
                life.state = ReceiverState::Active;
                life.restarts += 1;
            });
        }
    }

    /// Runs it once. A panic is a failure like others: the source has no state but what the inlet keeps.
    async fn attempt(&self) -> Result<(), SourceError> {
        let running = AssertUnwindSafe(self.source.run(self.inlet.clone())).catch_unwind();
        running
            .await
            .unwrap_or_else(|panic| Err(SourceError::Failed(format!("it panicked: {}", text(&*panic)))))
    }

    fn end(&self, result: Result<(), SourceError>) -> Result<(), SourceError> {
        let error = result.as_ref().err().map(ToString::to_string);
        self.events.stopped(error.clone());
        self.note(|life| {
            life.state = ReceiverState::Ended;
            if error.is_some() {
                life.error = error;
            }
        });
        result
    }

    fn note(&self, change: impl FnOnce(&mut Life)) {
        change(&mut self.life.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

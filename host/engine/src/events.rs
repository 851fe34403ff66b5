//! What happens to a pipeline, told while it happens to whoever listens, as Spark's `StreamingListener` is.
//!
//! The engine never waits for a listener. Each has a thread of its own, where it hears one event after the other, in their
//! order, and a queue of [`WAITING_MAX`] events before it. A listener that is so slow that its queue is full misses what
//! happens meanwhile, and hears how much that was before it hears anything else. One that panics hears no more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use millstream_model::{BatchTime, Lane};
use serde::{Deserialize, Serialize};

use crate::{BatchStatus, EngineError};

/// Events that wait for a listener.
const WAITING_MAX: usize = 10_000;

/// Hears what happens to a pipeline.
pub trait Listener: Send + 'static {
    /// Something has happened. Takes as long as it likes, at the risk of missing what comes next.
    fn hear(&mut self, event: Event);
}

impl<F: FnMut(Event) + Send + 'static> Listener for F {
    fn hear(&mut self, event: Event) {
        self(event);
    }
}

/// Something that has happened to a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// What an earlier process left is finished, and the receivers are started.
    PipelineStarted {
        /// The pipeline's name.
        pipeline: String,
    },
    /// A receiver was started, or started again.
    ReceiverStarted {
        /// Its source's name, and its number where the source has several.
        receiver: String,
    },
    /// A receiver failed, and is to be started again.
    ReceiverFailed {
        /// The receiver.
        receiver: String,
        /// Why.
        error: String,
    },
    /// A receiver has ended for good.
    ReceiverStopped {
        /// The receiver.
        receiver: String,
        /// Why it could not go on, if that is why.
        error: Option<String>,
    },
    /// A batch was cut, and waits for its turn.
    BatchSubmitted {
        /// The batch.
        time: BatchTime,
        /// Records in.
        records: u64,
    },
    /// A batch begins to run.
    BatchStarted {
        /// The batch.
        time: BatchTime,
        /// Records in.
        records: u64,
    },
    /// A batch is committed and visible, and what it took is known; or it failed, gave nothing, and the pipeline goes on. Of
    /// one that stops the pipeline nothing more is told.
    BatchCompleted(BatchStatus),
    /// Batches are cut for another version from now on.
    Upgraded {
        /// The last batch before.
        after: Option<BatchTime>,
        /// Batches that had begun with the version before, and were given to this one.
        reassigned: usize,
    },
    /// The version failed on probation, and the one before it is back.
    WentBack {
        /// What failed first.
        reason: String,
        /// Batches that had begun with the version that failed, and were given to the one before.
        reassigned: usize,
    },
    /// The listener was too slow.
    Missed {
        /// What it did not hear since the event before.
        events: u64,
    },
}

/// Where events are told. Clones tell the same listeners.
#[derive(Clone, Default)]
pub(crate) struct Events(Vec<Arc<Queue>>);

/// The events before one listener.
struct Queue {
    sender: SyncSender<Event>,
    missed: Arc<AtomicU64>,
}

impl Events {
    /// With one listener more.
    pub(crate) fn with(mut self, listener: impl Listener) -> Result<Self, EngineError> {
        let (sender, events) = sync_channel(WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let at_the_end = Arc::clone(&missed);
        let hearing = move || hear(listener, &events, &at_the_end);
        let hearing = thread::Builder::new().name("listener".to_owned()).spawn(hearing);
        hearing.map_err(EngineError::Runtime)?;
        self.0.push(Arc::new(Queue { sender, missed }));
        Ok(self)
    }

    /// Tells an event, which is made only where somebody listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if !self.0.is_empty() {
            let event = event();
            self.0.iter().for_each(|queue| queue.put(event.clone()));
        }
    }
}

impl Queue {
    fn put(&self, event: Event) {
        let events = self.missed.swap(0, Ordering::Relaxed);
        let told = events == 0 || self.try_put(Event::Missed { events });
        let put = told && self.try_put(event);
        let missed = if told { 0 } else { events } + u64::from(!put);
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }

    /// Whether there was room. One that hears no more has room for everything.
    fn try_put(&self, event: Event) -> bool {
        !matches!(self.sender.try_send(event), Err(TrySendError::Full(_)))
    }
}

/// What a listener's thread does, until nobody tells anything any more, and then about what it `missed` last.
fn hear(mut listener: impl Listener, events: &Receiver<Event>, missed: &AtomicU64) {
    let hearing = catch_unwind(AssertUnwindSafe(|| {
        events.iter().for_each(|event| listener.hear(event));
        match missed.swap(0, Ordering::Relaxed) {
            0 => {}
            events => listener.hear(Event::Missed { events }),
        }
    }));
    if hearing.is_err() {
        tracing::error!("a listener panicked, and hears no more");
    }
}

/// The events of one receiver.
pub(crate) struct ReceiverEvents {
    pub(crate) events: Events,
    pub(crate) lane: Lane,
}

impl ReceiverEvents {
    pub(crate) fn started(&self) {
        self.events.tell(|| Event::ReceiverStarted { receiver: self.lane.to_string() });
    }

    pub(crate) fn failed(&self, error: &str) {
        let event = || Event::ReceiverFailed { receiver: self.lane.to_string(), error: error.to_owned() };
        self.events.tell(event);
    }

    pub(crate) fn stopped(&self, error: Option<String>) {
        self.events.tell(|| Event::ReceiverStopped { receiver: self.lane.to_string(), error });
    }
}

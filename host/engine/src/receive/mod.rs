//! The receivers of a running pipeline and the queues they fill.

mod budget;
mod inlet;
mod pause;
mod pid;
mod queue;
mod rate;
mod settings;
mod succession;
mod supervisor;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use millstream_journal::Wal;
use millstream_model::Lane;
use millstream_platform::{Clock, Randomness};
use tokio::task::{AbortHandle, JoinSet};

pub(crate) use budget::Lease;
pub use inlet::{Closed, Inlet, Outlet, Receipt};
pub(crate) use pid::PidEstimator;
pub use pid::{PidError, PidSettings};
pub use queue::{Cut, LaneStart, Taken};
pub use settings::{InletSettings, Storage};

use crate::application::{Backpressure, SourceBinding};
use crate::events::{Events, ReceiverEvents};
use crate::status::{BatchStatus, ReceiverStatus};
use crate::{EngineError, Mode, SourceError, Stop};
use succession::Fate;
use supervisor::{Life, Supervised};

/// How long a source may take to return once its inlet is closed; then it is cut off.
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// What receivers are started with.
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) wal: Option<Wal>,
    pub(crate) mode: Mode,
    pub(crate) backpressure: Backpressure,
    pub(crate) batch_interval: Duration,
    pub(crate) events: Events,
}

/// All receivers of a pipeline.
pub(crate) struct Receivers {
    lanes: Vec<Receiver>,
    running: Running,
    around: Surroundings,
    closed: bool,
    /// When receivers that are to end for others are cut off, by the clock's elapsed time.
    retired_by: Option<Duration>,
}

/// The receivers' tasks.
type Running = JoinSet<(Lane, Result<(), SourceError>)>;

/// A lane's queue, its receiver's life, and what is known of its speed.
struct Receiver {
    outlet: Outlet,
    /// Whether the source had no more when the receivers were closed.
    had_ended: bool,
    life: Arc<Mutex<Life>>,
    estimator: Option<PidEstimator>,
    /// What it was started for.
    binding: SourceBinding,
    task: AbortHandle,
    /// What becomes of it.
    fate: Fate,
}

impl Receivers {
    /// Starts every source's receivers; a lane goes on where `start` says.
    pub(crate) fn start(
        sources: &[SourceBinding],
        around: Surroundings,
        mut start: impl FnMut(&Lane) -> LaneStart,
    ) -> Result<Self, EngineError> {
        let mut receivers =
            Self { lanes: Vec::new(), running: JoinSet::new(), around, closed: false, retired_by: None };
        for binding in sources {
            for lane in binding.lanes() {
                let start = start(&lane);
                let begin = |settings, wal, direct| Inlet::with(lane.clone(), settings, wal, direct, start);
                receivers.add(binding, begin)?;
            }
        }
        Ok(receivers)
    }

    /// Starts a receiver on a lane that `begin` makes the two ends of.
    fn add(
        &mut self,
        binding: &SourceBinding,
        begin: impl FnOnce(InletSettings, Option<Wal>, bool) -> (Inlet, Outlet),
    ) -> Result<(), EngineError> {
        let around = &self.around;
        let estimator = around.backpressure.estimator(around.batch_interval)?;
        let parts = binding.parallelism.max(1);
        let settings = InletSettings {
            bytes_max: (binding.settings.bytes_max / parts as usize).max(1),
            disk_bytes_max: (binding.settings.disk_bytes_max / u64::from(parts)).max(1),
            batch_rows_max: (binding.settings.batch_rows_max / parts as usize).max(1),
            rate_max: binding.settings.rate_max.map(|rate| (rate / u64::from(parts)).max(1)),
            once: around.mode == Mode::Once,
            ..binding.settings.clone()
        };
        let (inlet, outlet) = begin(settings, around.wal.clone(), binding.source.direct().is_some());
        let life = Arc::default();
        let task = self.run(binding, inlet, &life);
        let (binding, fate) = (binding.clone(), Fate::Stays);
        self.lanes.push(Receiver { outlet, had_ended: false, life, estimator, binding, task, fate });
        Ok(())
    }

    /// Runs a receiver on the lane of `inlet`.
    fn run(&mut self, binding: &SourceBinding, inlet: Inlet, life: &Arc<Mutex<Life>>) -> AbortHandle {
        let (around, lane) = (&self.around, inlet.lane().clone());
        let supervised = Supervised {
            source: Arc::clone(&binding.source),
            inlet,
            clock: Arc::clone(&around.clock),
            randomness: Arc::clone(&around.randomness),
            life: Arc::clone(life),
            events: ReceiverEvents { events: around.events.clone(), lane: lane.clone() },
        };
        self.running.spawn(async move { (lane, supervised.run().await) })
    }

    /// Three things to wait for: that every source has a full batch or has ended, and what they have is safe; that a
    /// receiver cannot go on, which never comes while all can; and that those have ended that are to end for others.
    pub(crate) fn events(
        &mut self,
    ) -> (impl Future<Output = ()>, impl Future<Output = EngineError>, impl Future<Output = ()>) {
        let retired = succession::retired(&self.lanes, self.retired_by, &*self.around.clock);
        (full(&self.lanes), failed(&mut self.running), retired)
    }

    /// Takes a batch's records out of the queues, a part for each lane.
    pub(crate) fn cut(&self) -> Vec<(Lane, Cut)> {
        self.lanes.iter().map(|lane| (lane.outlet.lane().clone(), lane.outlet.take())).collect()
    }

    /// Stops receiving, waits for the sources to hand over what they have, and until that is safe.
    pub(crate) async fn close(&mut self, stop: &Stop) -> Result<(), EngineError> {
        if !std::mem::replace(&mut self.closed, true) {
            self.lanes.iter_mut().for_each(Receiver::close);
        }
        let deadline = self.around.clock.elapsed() + CLOSE_TIME_MAX;
        let all_ended = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = stop.told_now() => return Err(EngineError::StoppedNow),
            () = all_ended => {}
            () = self.around.clock.sleep_until(deadline) => {
                tracing::warn!("a source did not stop within {CLOSE_TIME_MAX:?} and is cut off");
            }
        }
        // Those that were cut off drop their inlets here.
        self.running.shutdown().await;
        tokio::select! {
            biased;
            () = stop.told_now() => Err(EngineError::StoppedNow),
            // A log that has failed shows when the batch is cut.
            _safe = self.are_safe() => Ok(()),
        }
    }

    /// Waits until all that was sent is on disk, if it must be; says whether it is, which it is not where the log has
    /// failed.
    pub(crate) async fn are_safe(&self) -> bool {
        join_all(self.lanes.iter().map(|lane| lane.outlet.durable())).await.iter().all(Result::is_ok)
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.closed
    }

    /// Whether every source has ended and every record was taken.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.lanes.iter().all(|lane| lane.outlet.is_exhausted())
    }

    /// Lets the receivers be as fast as the batch that was done at `now` says that batches can be.
    pub(crate) fn adapt(&mut self, batch: &BatchStatus, taken: &[(Lane, u64)]) {
        let now_ms = self.around.clock.elapsed().as_secs_f64() * 1e3;
        for receiver in &mut self.lanes {
            let Some(estimator) = &mut receiver.estimator else { continue };
            let of = |(lane, _): &&(Lane, u64)| lane == receiver.outlet.lane();
            let records = taken.iter().find(of).map_or(0, |(_, records)| *records);
            let rate = estimator.estimate(now_ms, records, batch.processing_ms, batch.scheduling_delay_ms);
            if let Some(rate) = rate {
                receiver.outlet.set_rate(rate);
            }
        }
    }

    /// What is seen of every receiver.
    pub(crate) fn status(&self) -> Vec<ReceiverStatus> {
        let status = |receiver: &Receiver| {
            let life = receiver.life.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut status = ReceiverStatus {
                receiver: receiver.outlet.lane().to_string(),
                state: life.state,
                restarts: life.restarts,
                error: life.error,
                ..ReceiverStatus::default()
            };
            receiver.outlet.observe(&mut status);
            status
        };
        self.lanes.iter().map(status).collect()
    }

    /// What keeps the log from being written, if anything does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.around.wal.as_ref().and_then(Wal::trouble)
    }
}

async fn full(lanes: &[Receiver]) {
    join_all(lanes.iter().map(|lane| lane.outlet.full())).await;
    // A log that has failed shows when the batch is cut.
    let _failed = join_all(lanes.iter().map(|lane| lane.outlet.durable())).await;
}

async fn failed(running: &mut Running) -> EngineError {
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((lane, Err(source))) => return EngineError::Source { name: lane.to_string(), source },
            // It was cut off.
            Err(error) if error.is_cancelled() => {}
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    std::future::pending().await
}

//! The receivers of a running pipeline and the queues they fill.

mod budget;
mod inlet;
mod pid;
mod queue;
mod rate;
mod settings;
mod supervisor;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use millstream_journal::Wal;
use millstream_model::Lane;
use millstream_platform::{Clock, Randomness};
use tokio::task::JoinSet;

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
    clock: Arc<dyn Clock>,
    wal: Option<Wal>,
    closed: bool,
}

/// The receivers' tasks.
type Running = JoinSet<(Lane, Result<(), SourceError>)>;

/// A lane's queue, its receiver's life, and what is known of its speed.
struct Receiver {
    outlet: Outlet,
    life: Arc<Mutex<Life>>,
    estimator: Option<PidEstimator>,
}

impl Receivers {
    /// Starts every source's receivers; a lane goes on where `start` says.
    pub(crate) fn start(
        sources: &[SourceBinding],
        around: Surroundings,
        mut start: impl FnMut(&Lane) -> LaneStart,
    ) -> Result<Self, EngineError> {
        let mut receivers = Self {
            lanes: Vec::new(),
            running: JoinSet::new(),
            clock: Arc::clone(&around.clock),
            wal: around.wal.clone(),
            closed: false,
        };
        for binding in sources {
            for receiver in 0..binding.parallelism.max(1) {
                let lane = Lane { source: binding.name.clone(), receiver };
                let from = start(&lane);
                let estimator = around.backpressure.estimator(around.batch_interval)?;
                receivers.add(binding, lane, from, &around, estimator);
            }
        }
        Ok(receivers)
    }

    fn add(
        &mut self,
        binding: &SourceBinding,
        lane: Lane,
        from: LaneStart,
        around: &Surroundings,
        estimator: Option<PidEstimator>,
    ) {
        let parts = binding.parallelism.max(1);
        let settings = InletSettings {
            bytes_max: (binding.settings.bytes_max / parts as usize).max(1),
            disk_bytes_max: (binding.settings.disk_bytes_max / u64::from(parts)).max(1),
            batch_rows_max: (binding.settings.batch_rows_max / parts as usize).max(1),
            rate_max: binding.settings.rate_max.map(|rate| (rate / u64::from(parts)).max(1)),
            once: around.mode == Mode::Once,
            ..binding.settings.clone()
        };
        let direct = binding.source.direct().is_some();
        let (inlet, outlet) = Inlet::with(lane.clone(), settings, around.wal.clone(), direct, from);
        let life = Arc::new(Mutex::new(Life::default()));
        let supervised = Supervised {
            source: Arc::clone(&binding.source),
            inlet,
            clock: Arc::clone(&around.clock),
            randomness: Arc::clone(&around.randomness),
            life: Arc::clone(&life),
            events: ReceiverEvents { events: around.events.clone(), lane: lane.clone() },
        };
        self.running.spawn(async move { (lane, supervised.run().await) });
        self.lanes.push(Receiver { outlet, life, estimator });
    }

    /// Two things to wait for: that every source has a full batch or has ended, and what they have is safe; and that a
    /// receiver cannot go on, which never comes while all can.
    pub(crate) fn events(&mut self) -> (impl Future<Output = ()>, impl Future<Output = EngineError>) {
        (full(&self.lanes), failed(&mut self.running))
    }

    /// Takes a batch's records out of the queues, a part for each lane.
    pub(crate) fn cut(&self) -> Vec<(Lane, Cut)> {
        self.lanes.iter().map(|lane| (lane.outlet.lane().clone(), lane.outlet.take())).collect()
    }

    /// Stops receiving, waits for the sources to hand over what they have, and until that is safe.
    pub(crate) async fn close(&mut self, stop: &Stop) -> Result<(), EngineError> {
        self.closed = true;
        self.lanes.iter().for_each(|lane| lane.outlet.close());
        let deadline = self.clock.elapsed() + CLOSE_TIME_MAX;
        let all_ended = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = stop.told_now() => return Err(EngineError::StoppedNow),
            () = all_ended => {}
            () = self.clock.sleep_until(deadline) => {
                tracing::warn!("a source did not stop within {CLOSE_TIME_MAX:?} and is cut off");
            }
        }
        // Those that were cut off drop their inlets here.
        self.running.shutdown().await;
        tokio::select! {
            biased;
            () = stop.told_now() => Err(EngineError::StoppedNow),
            // A log that has failed shows when the batch is cut.
            _safe = join_all(self.lanes.iter().map(|lane| lane.outlet.durable())) => Ok(()),
        }
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
        let now_ms = self.clock.elapsed().as_secs_f64() * 1e3;
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
        self.wal.as_ref().and_then(Wal::trouble)
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
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    std::future::pending().await
}

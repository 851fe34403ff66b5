//! The sources of a running pipeline and the queues they fill.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millstream_model::{BatchTime, DeadLetter};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::batch::{Batch, BatchInput};
use crate::engine::SourceBinding;
use crate::{Decoder, EngineError, Inlet, InletLimits, Outlet, SourceError, Stop};

/// How long a source may take to return once its inlet is closed.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// All sources of a pipeline.
pub(crate) struct Receivers {
    lanes: Vec<Lane>,
    running: JoinSet<(String, Result<(), SourceError>)>,
    closed: bool,
}

/// A source's queue, and how its records are read.
struct Lane {
    source: String,
    outlet: Outlet,
    decoder: Arc<dyn Decoder>,
}

impl Receivers {
    pub(crate) fn start(sources: Vec<SourceBinding>, limits: InletLimits) -> Self {
        let mut running = JoinSet::new();
        let lanes = sources.into_iter().map(|binding| {
            let SourceBinding { name, source, decoder } = binding;
            let (inlet, outlet) = Inlet::new(&name, limits);
            let lane = Lane { source: name.clone(), outlet, decoder };
            running.spawn(async move { (name, source.run(inlet).await) });
            lane
        });
        Self { lanes: lanes.collect(), running, closed: false }
    }

    /// Completes when every source has a full batch or has ended.
    pub(crate) async fn full(&self) {
        join_all(self.lanes.iter().map(|lane| lane.outlet.full())).await;
    }

    /// Takes a batch's rows out of the queues.
    pub(crate) fn cut(&self, time: BatchTime) -> Batch {
        let input = |lane: &Lane| BatchInput {
            source: lane.source.clone(),
            blocks: Arc::new(lane.outlet.take()),
            decoder: Arc::clone(&lane.decoder),
        };
        Batch { time, inputs: self.lanes.iter().map(input).collect() }
    }

    /// The records that sources put aside since the last batch, and how many more there were than are kept.
    pub(crate) fn take_letters(&self) -> (Vec<DeadLetter>, u64) {
        let taken = self.lanes.iter().map(|lane| lane.outlet.take_letters());
        taken.fold((Vec::new(), 0), |(mut letters, uncounted), (more, more_uncounted)| {
            letters.extend(more);
            (letters, uncounted + more_uncounted)
        })
    }

    /// Finds a source that has failed.
    pub(crate) fn check(&mut self) -> Result<(), EngineError> {
        while let Some(ended) = self.running.try_join_next() {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(source))) => return Err(EngineError::Source { name, source }),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }

    /// Stops receiving, and waits for the sources to hand over what they have.
    pub(crate) async fn close(&mut self, stop: &Stop) -> Result<(), EngineError> {
        self.closed = true;
        self.lanes.iter().for_each(|lane| lane.outlet.close());
        let all_ended = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            ended = timeout(CLOSE_TIME_MAX, all_ended) => if ended.is_err() {
                tracing::warn!("a source did not stop within {CLOSE_TIME_MAX:?} and is cut off");
            },
            () = stop.told_now() => return Err(EngineError::StoppedNow),
        }
        // Those that were cut off drop their inlets here.
        self.running.shutdown().await;
        Ok(())
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.closed
    }

    /// Whether every source has ended and every row was taken.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.lanes.iter().all(|lane| lane.outlet.is_exhausted())
    }
}

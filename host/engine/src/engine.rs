//! Runs pipelines: the two runtimes, and the way from an application to its end.

use std::sync::Arc;

use millstream_platform::{Clock, Randomness};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::events::Events;
use crate::run::{Around, Run};
use crate::warming::Beside;
use crate::{Application, Board, Cpu, EngineError, Listener, Stop};

/// When a pipeline cuts its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At every interval, until it is told to stop.
    Continuous,
    /// As soon as a batch is full, until the sources have given what they hold now.
    Once,
}

/// What a pipeline did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Batches committed.
    pub batches: u64,
    /// Records in them.
    pub rows: u64,
    /// Records put aside.
    pub dead_letters: u64,
}

/// Runs pipelines. Its threads for computing live as long as it does.
pub struct Engine {
    /// Where batches run, if not where the engine is called.
    compute: Option<Runtime>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    events: Events,
}

impl Engine {
    /// An engine with `threads` threads for computing.
    pub fn new(
        threads: usize,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, EngineError> {
        let mut compute = Builder::new_multi_thread();
        // Functions may wait for sockets that are granted to them.
        let compute = compute.worker_threads(threads).thread_name(Cpu::COMPUTING).enable_all().build();
        let compute = Some(compute.map_err(EngineError::Runtime)?);
        Ok(Self { compute, clock, randomness, events: Events::default() })
    }

    /// An engine that computes on the runtime where it is called: for simulations, which have one thread.
    pub fn single(clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>) -> Self {
        Self { compute: None, clock, randomness, events: Events::default() }
    }

    /// Tells `listener` what happens to the pipelines that are run from now on. It is called on a thread of its own, which
    /// ends when the engine does; what happens while 10,000 events wait for it, it misses.
    pub fn with_listener(mut self, listener: impl Listener) -> Result<Self, EngineError> {
        self.events = std::mem::take(&mut self.events).with(listener)?;
        Ok(self)
    }

    /// Runs `application` until it is told to stop, or in [`Mode::Once`] until its sources end. With a checkpoint folder
    /// it begins with what an earlier process left there.
    pub async fn run(
        &self,
        application: Application,
        mode: Mode,
        stop: Stop,
        board: Board,
    ) -> Result<Summary, EngineError> {
        let compute = self.compute.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let beside = match self.compute {
            Some(_) => Beside::Spare,
            None => Beside::Here(Handle::current()),
        };
        let (clock, randomness) = (Arc::clone(&self.clock), Arc::clone(&self.randomness));
        let around = Around { clock, randomness, compute, board, events: self.events.clone(), beside };
        let mut run = Run::open(application, mode, stop, around).await?;
        run.recover().await?;
        run.start()?;
        run.run().await
    }
}

impl Drop for Engine {
    /// A runtime may not be dropped where it would block, as in async code; its threads end by themselves.
    fn drop(&mut self) {
        if let Some(compute) = self.compute.take() {
            compute.shutdown_background();
        }
    }
}

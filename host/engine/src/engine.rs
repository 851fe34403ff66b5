//! The life of a pipeline: start the sources, then batch after batch, then stop in order.

use std::sync::Arc;
use std::time::Duration;

use millstream_model::BatchTime;
use millstream_platform::Clock;
use millstream_query::Program;
use tokio::runtime::{Builder, Runtime};

use crate::batch::{Batch, Processor};
use crate::receivers::Receivers;
use crate::{DeadLetters, Decoder, EngineError, InletLimits, Sink, Source, Stop};

/// A pipeline, checked, compiled and wired to its connectors.
pub struct Application {
    /// From one batch to the next.
    pub batch_interval: Duration,
    /// Rows that a batch takes from one source at most.
    pub max_batch_rows: usize,
    /// Bytes that one source keeps waiting at most.
    pub receive_memory_bytes: usize,
    /// What the batches compute.
    pub program: Program,
    /// Where rows come from.
    pub sources: Vec<SourceBinding>,
    /// Where rows go.
    pub sinks: Vec<SinkBinding>,
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
}

/// A source under its name in the pipeline.
pub struct SourceBinding {
    /// The input's name in the program.
    pub name: String,
    /// Brings records in.
    pub source: Box<dyn Source>,
    /// Reads them.
    pub decoder: Arc<dyn Decoder>,
}

/// A sink under its name in the pipeline.
pub struct SinkBinding {
    /// Its name.
    pub name: String,
    /// The relation whose rows it takes.
    pub from: String,
    /// Takes rows out.
    pub sink: Box<dyn Sink>,
}

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
    /// Rows received.
    pub rows: u64,
    /// Records put aside.
    pub dead_letters: u64,
}

/// Runs pipelines. Its threads for computing live as long as it does.
pub struct Engine {
    compute: Option<Runtime>,
    clock: Arc<dyn Clock>,
}

impl Engine {
    /// An engine with `threads` threads for computing.
    pub fn new(threads: usize, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        let mut compute = Builder::new_multi_thread();
        let compute = compute.worker_threads(threads).thread_name("batch").enable_time().build();
        Ok(Self { compute: Some(compute.map_err(EngineError::Runtime)?), clock })
    }

    /// Runs `application` until it is told to stop, or in [`Mode::Once`] until its sources end.
    pub async fn run(
        &self,
        application: Application,
        mode: Mode,
        stop: Stop,
    ) -> Result<Summary, EngineError> {
        let mut ticks = Ticks::new(Arc::clone(&self.clock), application.batch_interval);
        let (mut receivers, mut processor) = start(application, mode);
        let mut summary = Summary::default();
        while let Some(time) = next_batch(&mut receivers, &mut ticks, mode, &stop).await? {
            let batch = receivers.cut(time);
            let (letters, uncounted) = receivers.take_letters();
            processor.dead_letters.write(&letters, uncounted)?;
            summary.rows += batch.rows() as u64;
            processor = self.compute(processor, batch, &stop).await?;
            summary.batches += 1;
        }
        summary.dead_letters = processor.dead_letters.count();
        Ok(summary)
    }

    /// Runs a batch on the threads that compute. Told to stop at once, it is left where it is.
    async fn compute(
        &self,
        mut processor: Processor,
        batch: Batch,
        stop: &Stop,
    ) -> Result<Processor, EngineError> {
        let compute = self.compute.as_ref().expect("the runtime is there until the engine is dropped");
        let mut running = compute.spawn(async move {
            let processed = processor.process(&batch).await;
            processed.map(|()| processor)
        });
        tokio::select! {
            done = &mut running => match done {
                Ok(result) => result,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = stop.told_now() => {
                running.abort();
                Err(EngineError::StoppedNow)
            }
        }
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

/// Starts the sources.
fn start(application: Application, mode: Mode) -> (Receivers, Processor) {
    let limits = InletLimits {
        bytes_max: application.receive_memory_bytes,
        batch_rows_max: application.max_batch_rows,
        once: mode == Mode::Once,
    };
    let receivers = Receivers::start(application.sources, limits);
    let Application { program, sinks, dead_letters, .. } = application;
    (receivers, Processor { program, sinks, dead_letters })
}

/// Waits until a batch is due and gives its time; none where there is nothing left to do.
async fn next_batch(
    receivers: &mut Receivers,
    ticks: &mut Ticks,
    mode: Mode,
    stop: &Stop,
) -> Result<Option<BatchTime>, EngineError> {
    if !receivers.are_closed() {
        let due = async {
            match mode {
                Mode::Continuous => ticks.wait().await,
                Mode::Once => receivers.full().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.told() => receivers.close(stop).await?,
            () = due => {}
        }
        receivers.check()?;
    }
    let ran_before = ticks.last.is_some();
    let may_end = receivers.are_closed() || (mode == Mode::Once && ran_before);
    Ok(match may_end && receivers.are_exhausted() {
        true => None,
        false => Some(ticks.next()),
    })
}

/// The times of batches.
struct Ticks {
    clock: Arc<dyn Clock>,
    interval: Duration,
    /// The batch that was cut last.
    last: Option<BatchTime>,
    /// No batch has an earlier time than the first tick after the start.
    start: BatchTime,
}

impl Ticks {
    fn new(clock: Arc<dyn Clock>, interval: Duration) -> Self {
        let start = BatchTime::at_or_before(clock.now_ms(), interval).next(interval);
        Self { clock, interval, last: None, start }
    }

    /// Waits for the tick after the last batch's; it may be in the past already.
    async fn wait(&self) {
        let due = self.last.map_or(self.start, |last| last.next(self.interval));
        self.clock.wait_until(due.as_ms()).await;
    }

    /// The latest tick, if that is after the last batch, or else the one after it. Ticks that were missed meanwhile
    /// have no batch of their own: their rows are in this one.
    fn next(&mut self) -> BatchTime {
        let now = BatchTime::at_or_before(self.clock.now_ms(), self.interval);
        let time = match self.last {
            Some(last) => now.max(last.next(self.interval)),
            None => now,
        };
        self.last = Some(time);
        time
    }
}

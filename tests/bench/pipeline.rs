//! The pipelines that are measured, as a user would write them, wired as `millstream run` wires them, but for their sinks:
//! those check what they are given, so that every measure is one of a right result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use arrow::array::AsArray;
use arrow::compute::sum;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_connectors::{Handover, Plugins, decoder, source};
use millstream_engine::{
    Application, Board, Checkpoint, Code, Cpu, DeadLetters, Engine, InletSettings, Mode, Policy, Programs,
    Recovery, Sink, SinkBatch, SinkBinding, SinkError, Source, SourceBinding, Stop, StopHandle, Summary,
    Upgrades, Versions,
};
use millstream_journal::Limits;
use millstream_model::pipeline::CallSpec;
use millstream_model::{self as model, BatchTime, Usages, Version};
use millstream_pipeline::{Checked, Components, check};
use millstream_platform::{SystemClock, SystemDisk, SystemRandomness};
use millstream_query::Program;
use millstream_state::Limits as StateLimits;

/// Where the lines come from, and how they are cut.
pub(crate) struct Feed<'a> {
    /// The keys of `[sources.lines]`.
    pub(crate) keys: &'a str,
    /// What is counted.
    pub(crate) totals: Totals,
    /// Sends the lines in place of the source that the file names.
    pub(crate) source: Option<Arc<dyn Source>>,
    /// The folder of the journal, if there is to be one.
    pub(crate) checkpoint: Option<PathBuf>,
    /// Rows of a batch at most.
    pub(crate) max_batch_rows: usize,
    /// At the ticks, or as soon as a batch is full.
    pub(crate) mode: Mode,
    /// Words in all lines.
    pub(crate) words: u64,
}

/// What is counted of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Totals {
    /// Those of each batch.
    Batch,
    /// Those of a window that is looked at with each batch, and long enough for all.
    Window,
}

impl Totals {
    fn stream(self) -> &'static str {
        match self {
            Self::Batch => r#"sql = "SELECT word, count(*) AS total FROM words GROUP BY word""#,
            Self::Window => {
                r#"from = "words"
aggregate = { by = ["word"], total = "count(*)", window = { length = "60s" } }"#
            }
        }
    }
}

/// A pipeline, and what stands in for what its file names.
pub(crate) struct Job {
    /// The file's text. It has one sink, and one source whose name is `lines`.
    pub(crate) text: String,
    /// Sends the lines in place of the source that the file names.
    pub(crate) source: Option<Arc<dyn Source>>,
    /// At the ticks, or as soon as a batch is full.
    pub(crate) mode: Mode,
    /// Takes what the file's sink is for.
    pub(crate) sink: Arc<dyn Sink>,
    /// How often states are written into a snapshot, as in [`StateLimits`].
    pub(crate) snapshot_every: u64,
    pub(crate) stop: Stop,
}

/// What a pipeline did, and what that took.
pub(crate) struct Executed {
    pub(crate) summary: Summary,
    pub(crate) functions: Usages,
    pub(crate) cpu: Cpu,
}

/// Runs the word count until all words are counted.
pub(crate) fn run(components: &dyn Components, feed: Feed<'_>) -> Result<Summary> {
    Ok(run_accounted(components, feed)?.summary)
}

/// Runs the word count until all words are counted, and says what that took.
pub(crate) fn run_accounted(components: &dyn Components, feed: Feed<'_>) -> Result<Executed> {
    let (counted, stop) = Counted::up_to(feed.words, feed.totals);
    let sink = Arc::new(counted.clone());
    let snapshot_every = StateLimits::default().snapshot_every;
    let job = Job { text: text(&feed), source: feed.source, mode: feed.mode, sink, snapshot_every, stop };
    let executed = execute_accounted(components, job)?;
    let words = counted.words.load(Ordering::Relaxed);
    ensure!(words == feed.words, "{words} words were counted of {}", feed.words);
    Ok(executed)
}

/// Runs a pipeline to its end.
pub(crate) fn execute(components: &dyn Components, job: Job) -> Result<Summary> {
    Ok(execute_accounted(components, job)?.summary)
}

fn execute_accounted(components: &dyn Components, job: Job) -> Result<Executed> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let waiting = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    waiting.block_on(async {
        let checked = check(&root.join("bench.toml"), &job.text, components).await?;
        let mut application = wire(&checked, job.source, job.sink).await?;
        application.state_limits.snapshot_every = job.snapshot_every;
        let engine = Engine::new(threads()?, Arc::new(SystemClock), Arc::new(SystemRandomness))?;
        let board = Board::default();
        let summary = engine.run(application, job.mode, job.stop, board.clone()).await?;
        // The engine's threads are still there to be asked.
        Ok(Executed { summary, functions: board.read().functions, cpu: Cpu::now() })
    })
}

fn threads() -> Result<usize> {
    Ok(available_parallelism()?.get())
}

fn text(feed: &Feed<'_>) -> String {
    let Feed { keys, max_batch_rows, .. } = feed;
    let checkpoint =
        feed.checkpoint.as_ref().map(|folder| format!("checkpoint = {:?}", folder.display().to_string()));
    let checkpoint = checkpoint.unwrap_or_default();
    format!(
        r#"
name = "bench"
batch-interval = "100ms"
max-batch-rows = {max_batch_rows}
receive-memory = "32MiB"
{checkpoint}
[plugins.text]
component = "plugins/bin/text.wasm"
[sources.lines]
{keys}
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
{totals}
[sinks.screen]
from = "totals"
type = "print"
"#,
        totals = feed.totals.stream()
    )
}

async fn wire(
    checked: &Checked,
    instead: Option<Arc<dyn Source>>,
    sink: Arc<dyn Sink>,
) -> Result<Application> {
    let (pipeline, spec) = (&checked.pipeline, &checked.pipeline.sources[0]);
    let wanted = pipeline.sinks[0].from.value.as_str();
    let settings = InletSettings {
        bytes_max: usize::try_from(pipeline.receive_memory_bytes)?,
        batch_rows_max: pipeline.max_batch_rows,
        block_interval: pipeline.block_interval,
        ..InletSettings::default()
    };
    let code = Code {
        version: Version::default(),
        states: Arc::clone(&checked.states),
        tables: Default::default(),
        programs: Programs::new(vec![Program::compile(&checked.relations, &[wanted], threads()?).await?]),
        sources: vec![SourceBinding {
            name: spec.name.value.clone(),
            source: instead.unwrap_or_else(|| source(spec, &Receivers(checked), &Handover::default())),
            decoder: decoder(spec),
            parallelism: 1,
            settings,
            identity: String::new(),
            format: String::new(),
        }],
        sinks: vec![SinkBinding {
            name: "checked".into(),
            from: wanted.into(),
            sink,
            identity: String::new(),
        }],
        metered: checked.components.values().filter_map(|component| component.metered()).collect(),
    };
    let checkpoint = |folder: &PathBuf| Checkpoint {
        disk: Arc::new(SystemDisk),
        folder: folder.clone(),
        limits: Limits::default(),
        versions: Arc::new(NoVersions),
    };
    Ok(Application {
        upgrades: Upgrades::none(),
        state_limits: StateLimits { memory_bytes: pipeline.state_memory_bytes, ..StateLimits::default() },
        name: pipeline.name.clone(),
        batch_interval: pipeline.batch_interval,
        code,
        checkpoint: pipeline.checkpoint.as_ref().map(checkpoint),
        policy: Policy::default(),
        dead_letters: DeadLetters::logged(),
    })
}

/// The receivers of the file's plugins; its sink is stood in for.
struct Receivers<'c>(&'c Checked);

impl Plugins for Receivers<'_> {
    fn receiver(&self, call: &CallSpec) -> Arc<dyn model::Receiver> {
        let component = &self.0.components[&call.plugin];
        let mut functions = component.description().functions.iter();
        let index = functions.position(|function| function.name == call.function);
        index.and_then(|index| component.receiver(index)).expect("the pipeline is checked")
    }

    fn sink(&self, call: &CallSpec) -> Arc<dyn model::Sink> {
        unreachable!("no sink of a bench is of the plugin {}", call.plugin)
    }
}

/// A new folder has no batches of other versions.
struct NoVersions;

#[async_trait]
impl Versions for NoVersions {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        Err(format!("{version:?} was never run"))
    }
}

/// Adds up the totals, and stops the pipeline when there can be no more.
#[derive(Clone)]
struct Counted {
    words: Arc<AtomicU64>,
    words_max: u64,
    totals: Totals,
    stop: StopHandle,
}

/// The totals of a batch.
struct CountedBatch {
    of_all: Counted,
    words: u64,
}

impl Counted {
    fn up_to(words_max: u64, totals: Totals) -> (Self, Stop) {
        let (handle, stop) = StopHandle::new();
        (Self { words: Arc::default(), words_max, totals, stop: handle }, stop)
    }
}

#[async_trait]
impl Sink for Counted {
    async fn begin(&self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(CountedBatch { of_all: self.clone(), words: 0 }))
    }

    async fn recover(&self, _time: BatchTime) -> Result<Recovery, SinkError> {
        Ok(Recovery::Published)
    }
}

#[async_trait]
impl SinkBatch for CountedBatch {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        let totals = sum(rows.column(1).as_primitive::<Int64Type>()).unwrap_or(0);
        self.words += totals.unsigned_abs();
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        let Counted { words, words_max, totals, stop } = &self.of_all;
        match totals {
            Totals::Batch => words.fetch_add(self.words, Ordering::Relaxed),
            Totals::Window => words.fetch_max(self.words, Ordering::Relaxed),
        };
        if words.load(Ordering::Relaxed) >= *words_max {
            stop.gracefully();
        }
        Ok(())
    }
}

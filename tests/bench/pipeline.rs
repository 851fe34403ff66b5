//! The pipeline that is measured, as a user would write it, wired as `millstream run` wires it, but for its sink:
//! that adds the totals up, so that every measure is one of a right result.

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
use millstream_connectors::{decoder, source};
use millstream_engine::{
    Application, Board, Checkpoint, Code, DeadLetters, Engine, InletSettings, Mode, Policy, Programs,
    Recovery, Sink, SinkBatch, SinkBinding, SinkError, Source, SourceBinding, Stop, StopHandle, Summary,
    Versions,
};
use millstream_journal::Limits;
use millstream_model::{BatchTime, Version};
use millstream_pipeline::{Checked, Components, check};
use millstream_platform::{SystemClock, SystemDisk, SystemRandomness};
use millstream_query::Program;

/// Where the lines come from, and how they are cut.
pub(crate) struct Feed<'a> {
    /// The keys of `[sources.lines]`.
    pub(crate) keys: &'a str,
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

/// Runs the word count until all words are counted.
pub(crate) fn run(components: &dyn Components, feed: Feed<'_>) -> Result<Summary> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let (mode, words) = (feed.mode, feed.words);
    let waiting = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    waiting.block_on(async {
        let checked = check(&root.join("bench.toml"), &text(&feed), components).await?;
        let (counted, stop) = Counted::up_to(words);
        let application = wire(&checked, feed, counted.clone()).await?;
        let engine = Engine::new(threads()?, Arc::new(SystemClock), Arc::new(SystemRandomness))?;
        let summary = engine.run(application, mode, stop, Board::default()).await?;
        let counted = counted.words.load(Ordering::Relaxed);
        ensure!(counted == words, "{counted} words were counted of {words}");
        Ok(summary)
    })
}

fn threads() -> Result<usize> {
    Ok(available_parallelism()?.get())
}

fn text(feed: &Feed<'_>) -> String {
    let Feed { keys, max_batch_rows, .. } = feed;
    format!(
        r#"
name = "bench"
batch-interval = "100ms"
max-batch-rows = {max_batch_rows}
receive-memory = "32MiB"
[plugins.text]
component = "plugins/bin/text.wasm"
[sources.lines]
{keys}
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
sql = "SELECT word, count(*) AS total FROM words GROUP BY word"
[sinks.screen]
from = "totals"
type = "print"
"#
    )
}

async fn wire(checked: &Checked, feed: Feed<'_>, counted: Counted) -> Result<Application> {
    let (pipeline, spec) = (&checked.pipeline, &checked.pipeline.sources[0]);
    let settings = InletSettings {
        bytes_max: usize::try_from(pipeline.receive_memory_bytes)?,
        batch_rows_max: pipeline.max_batch_rows,
        block_interval: pipeline.block_interval,
        ..InletSettings::default()
    };
    let code = Code {
        version: Version::default(),
        states: Arc::default(),
        tables: Default::default(),
        programs: Programs::new(vec![Program::compile(&checked.relations, &["totals"], threads()?).await?]),
        sources: vec![SourceBinding {
            name: "lines".into(),
            source: feed.source.unwrap_or_else(|| source(spec)),
            decoder: decoder(spec),
            parallelism: 1,
            settings,
        }],
        sinks: vec![SinkBinding { name: "counted".into(), from: "totals".into(), sink: Arc::new(counted) }],
    };
    let checkpoint = |folder| Checkpoint {
        disk: Arc::new(SystemDisk),
        folder,
        limits: Limits::default(),
        state_limits: Default::default(),
        versions: Arc::new(NoVersions),
    };
    Ok(Application {
        name: pipeline.name.clone(),
        batch_interval: pipeline.batch_interval,
        code,
        checkpoint: feed.checkpoint.map(checkpoint),
        policy: Policy::default(),
        dead_letters: DeadLetters::logged(),
    })
}

/// A new folder has no batches of other versions.
struct NoVersions;

#[async_trait]
impl Versions for NoVersions {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        Err(format!("{version:?} was never run"))
    }
}

/// Adds up the totals of all batches, and stops the pipeline when there can be no more.
#[derive(Clone)]
struct Counted {
    words: Arc<AtomicU64>,
    words_max: u64,
    stop: StopHandle,
}

impl Counted {
    fn up_to(words_max: u64) -> (Self, Stop) {
        let (handle, stop) = StopHandle::new();
        (Self { words: Arc::default(), words_max, stop: handle }, stop)
    }
}

#[async_trait]
impl Sink for Counted {
    async fn begin(&self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(self.clone()))
    }

    async fn recover(&self, _time: BatchTime) -> Result<Recovery, SinkError> {
        Ok(Recovery::Published)
    }
}

#[async_trait]
impl SinkBatch for Counted {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        let totals = sum(rows.column(1).as_primitive::<Int64Type>()).unwrap_or(0);
        self.words.fetch_add(totals.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        if self.words.load(Ordering::Relaxed) >= self.words_max {
            self.stop.gracefully();
        }
        Ok(())
    }
}

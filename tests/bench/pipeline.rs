//! The pipeline that is measured, as a user would write it, wired as `millstream run` wires it, but for its sink:
//! that adds the totals up, so that every measure is one of a right result.

use std::path::Path;
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
    Application, DeadLetters, Engine, Mode, Sink, SinkBatch, SinkBinding, SinkError, Source, SourceBinding,
    Stop, StopHandle, Summary,
};
use millstream_model::BatchTime;
use millstream_pipeline::{Checked, Components, check};
use millstream_platform::SystemClock;
use millstream_query::Program;

/// Where the lines come from, and how they are cut.
pub(crate) struct Feed<'a> {
    /// The keys of `[sources.lines]`.
    pub(crate) keys: &'a str,
    /// Sends the lines in place of the source that the file names.
    pub(crate) source: Option<Box<dyn Source>>,
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
        let application = wire(&checked, feed.source, counted.clone()).await?;
        let engine = Engine::new(threads()?, Arc::new(SystemClock))?;
        let summary = engine.run(application, mode, stop).await?;
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
receive-memory = "24MiB"
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

async fn wire(checked: &Checked, given: Option<Box<dyn Source>>, counted: Counted) -> Result<Application> {
    let (pipeline, spec) = (&checked.pipeline, &checked.pipeline.sources[0]);
    Ok(Application {
        batch_interval: pipeline.batch_interval,
        max_batch_rows: pipeline.max_batch_rows,
        receive_memory_bytes: usize::try_from(pipeline.receive_memory_bytes)?,
        program: Program::compile(&checked.relations, &["totals"], threads()?).await?,
        sources: vec![SourceBinding {
            name: "lines".into(),
            source: given.unwrap_or_else(|| source(spec)),
            decoder: decoder(spec),
        }],
        sinks: vec![SinkBinding { name: "counted".into(), from: "totals".into(), sink: Box::new(counted) }],
        dead_letters: DeadLetters::new(None),
    })
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
    async fn begin(&mut self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl SinkBatch for Counted {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        let totals = sum(rows.column(1).as_primitive::<Int64Type>()).unwrap_or(0);
        self.words.fetch_add(totals.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), SinkError> {
        if self.words.load(Ordering::Relaxed) >= self.words_max {
            self.stop.gracefully();
        }
        Ok(())
    }
}

//! The pipeline that is measured, as a user would write it, wired as `millstream run` wires it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Result;
use millstream_connectors::{Screen, decoder, sink, source};
use millstream_engine::{
    Application, DeadLetters, Engine, Mode, SinkBinding, Source, SourceBinding, StopHandle, Summary,
};
use millstream_pipeline::{Components, check};
use millstream_platform::SystemClock;
use millstream_query::Program;

/// What stands for the source in the file, and what may take its place.
pub(crate) struct Feed<'a> {
    /// The keys of `[sources.lines]`.
    pub(crate) keys: &'a str,
    /// Sends the lines in place of the source that the file names.
    pub(crate) source: Option<Box<dyn Source>>,
}

/// Runs the word count until its source ends.
pub(crate) fn run(components: &dyn Components, feed: Feed<'_>, max_batch_rows: usize) -> Result<Summary> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let text = format!(
        r#"
name = "bench"
batch-interval = "1s"
max-batch-rows = {max_batch_rows}
receive-memory = "32MiB"
[plugins.text]
component = "plugins/bin/text.wasm"
[sources.lines]
{}
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
sql = "SELECT word, count(*) AS total FROM words GROUP BY word"
[sinks.screen]
from = "totals"
type = "print"
"#,
        feed.keys
    );
    let threads = available_parallelism()?.get();
    let waiting = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    waiting.block_on(async {
        let checked = check(&root.join("bench.toml"), &text, components).await?;
        let pipeline = &checked.pipeline;
        let (spec, sink_spec) = (&pipeline.sources[0], &pipeline.sinks[0]);
        let schema = checked.relations.schema("totals").expect("the pipeline defines it");
        let application = Application {
            batch_interval: pipeline.batch_interval,
            max_batch_rows: pipeline.max_batch_rows,
            receive_memory_bytes: usize::try_from(pipeline.receive_memory_bytes)?,
            program: Program::compile(&checked.relations, &["totals"], threads).await?,
            sources: vec![SourceBinding {
                name: "lines".into(),
                source: feed.source.unwrap_or_else(|| source(spec)),
                decoder: decoder(spec),
            }],
            sinks: vec![SinkBinding {
                name: "screen".into(),
                from: "totals".into(),
                sink: sink(sink_spec, schema, Screen::new(io::sink(), false))?,
            }],
            dead_letters: DeadLetters::new(None),
        };
        let (_handle, stop) = StopHandle::new();
        let engine = Engine::new(threads, Arc::new(SystemClock))?;
        Ok(engine.run(application, Mode::Once, stop).await?)
    })
}

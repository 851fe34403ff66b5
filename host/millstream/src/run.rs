//! `millstream run`: a checked pipeline, wired to its connectors and run until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::Args;
use millstream_connectors::{Screen, decoder, sink, source};
use millstream_engine::{
    Application, DeadLetters, Engine, Mode, SinkBinding, SourceBinding, Stop, StopHandle,
};
use millstream_model::pipeline::Pipeline;
use millstream_pipeline::Checked;
use millstream_platform::SystemClock;
use millstream_query::Program;
use tokio::signal::unix::{SignalKind, signal};

use crate::host_file::Lock;
use crate::load::{Overrides, Refused, load, runtime};

/// What `run` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The pipeline file
    pipeline: PathBuf,
    /// Process what the sources hold now, then end
    #[arg(long)]
    once: bool,
    /// Print sinks write a JSON object a row
    #[arg(long)]
    json: bool,
    /// Use another component for a plugin
    #[arg(long = "plugin", value_name = "NAME=PATH", value_parser = parse_override)]
    plugins: Vec<(String, PathBuf)>,
}

fn parse_override(text: &str) -> Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts.ok_or_else(|| "write NAME=PATH, such as text=./text.wasm".to_owned())?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

pub(crate) fn run(options: &Options) -> Result<()> {
    runtime()?.block_on(async {
        let stop = listen_for_signals()?;
        let overrides: Overrides = options.plugins.iter().cloned().collect();
        let checked = load(&options.pipeline, overrides).await?;
        let lock = checked.pipeline.checkpoint.as_deref().map(Lock::take).transpose()?;
        let application = wire(&checked, &Screen::stdout(options.json)).await?;
        let engine = Engine::new(threads(), Arc::new(SystemClock))?;
        let mode = if options.once { Mode::Once } else { Mode::Continuous };
        tracing::info!("{} runs", checked.pipeline.name);
        let summary = engine.run(application, mode, stop).await?;
        let (batches, rows) = (summary.batches, summary.rows);
        tracing::info!("{} ended: {batches} batches, {rows} rows", checked.pipeline.name);
        if summary.dead_letters > 0 {
            tracing::warn!("{} records were rejected{}", summary.dead_letters, kept_in(&checked.pipeline));
        }
        drop(lock);
        Ok(())
    })
}

fn kept_in(pipeline: &Pipeline) -> String {
    let file = dead_letters_file(pipeline);
    file.map_or(String::new(), |path| format!(" and kept in {}", path.display()))
}

fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Wires a checked pipeline to its connectors. Nothing is opened yet.
async fn wire(checked: &Checked, screen: &Screen) -> Result<Application> {
    let pipeline = &checked.pipeline;
    let wanted: Vec<&str> = pipeline.sinks.iter().map(|sink| sink.from.value.as_str()).collect();
    let program = Program::compile(&checked.relations, &wanted, threads()).await;
    let program = program.context("compiling the pipeline")?;
    let is_read = |name: &str| program.inputs().any(|input| input == name);
    let sources = pipeline.sources.iter().filter(|spec| {
        let read = is_read(&spec.name.value);
        if !read {
            tracing::warn!("source \"{}\" leads to no sink and is not started", spec.name);
        }
        read
    });
    let sources = sources.map(|spec| SourceBinding {
        name: spec.name.value.clone(),
        source: source(spec),
        decoder: decoder(spec),
    });
    let sources = sources.collect();
    let sinks = pipeline.sinks.iter().map(|spec| {
        let schema = checked.relations.schema(&spec.from.value);
        let schema = schema.with_context(|| format!("sink \"{}\" has no input", spec.name))?;
        let sink = sink(spec, schema, screen.clone())
            .map_err(|error| Refused(format!("sink \"{}\": {error}", spec.name)))?;
        Ok(SinkBinding { name: spec.name.value.clone(), from: spec.from.value.clone(), sink })
    });
    Ok(Application {
        batch_interval: pipeline.batch_interval,
        max_batch_rows: pipeline.max_batch_rows,
        receive_memory_bytes: usize::try_from(pipeline.receive_memory_bytes).unwrap_or(usize::MAX),
        program,
        sources,
        sinks: sinks.collect::<Result<_>>()?,
        dead_letters: DeadLetters::new(dead_letters_file(pipeline)),
    })
}

/// The file that the pipeline names, or one in its checkpoint folder.
fn dead_letters_file(pipeline: &Pipeline) -> Option<PathBuf> {
    let in_checkpoint = |folder: &Path| folder.join("dead-letters.jsonl");
    pipeline.dead_letters.clone().or_else(|| pipeline.checkpoint.as_deref().map(in_checkpoint))
}

/// The first SIGINT or SIGTERM asks for a graceful stop, a second for an immediate one.
fn listen_for_signals() -> Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let (handle, stop) = StopHandle::new();
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            told += 1;
            if told == 1 {
                tracing::info!("stopping: what was received is processed first; once more stops at once");
                handle.gracefully();
            } else {
                handle.now();
            }
        }
    });
    Ok(stop)
}

//! `millstream run`: a checked pipeline, wired to its connectors and run until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use millstream_connectors::Screen;
use millstream_engine::{
    Application, Board, Checkpoint, Engine, EngineError, Mode, Stop, StopHandle, Summary,
};
use millstream_journal::{Archive, JournalError, Limits};
use millstream_model::pipeline::Pipeline;
use millstream_pipeline::Checked;
use millstream_platform::{SystemClock, SystemDisk, SystemRandomness};
use millstream_plugins::Cache;
use millstream_state::StateError;
use tokio::signal::unix::{SignalKind, signal};

use crate::allowed::Allowed;
use crate::compiled::keep;
use crate::control;
use crate::host_file::Lock;
use crate::load::{Overrides, Refused, check_components, runtime};
use crate::supervise::supervise;
use crate::target::Target;
use crate::versions::Store;
use crate::wire::{dead_letters, dead_letters_file, policy, state_limits, threads, version, wire};

/// What `run` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    allowed: Allowed,
    /// Process what the sources hold now, then end
    #[arg(long)]
    once: bool,
    /// Print sinks write a JSON object a row
    #[arg(long)]
    json: bool,
    /// Use another component for a plugin
    #[arg(long = "plugin", value_name = "NAME=PATH", value_parser = parse_override)]
    plugins: Vec<(String, PathBuf)>,
    /// Start the pipeline again whenever it ends by a crash
    #[arg(long)]
    supervise: bool,
}

fn parse_override(text: &str) -> Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts.ok_or_else(|| "write NAME=PATH, such as text=./text.wasm".to_owned())?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.supervise {
        return supervise();
    }
    runtime()?.block_on(async {
        let stop = listen_for_signals()?;
        let overrides: Overrides = options.plugins.iter().cloned().collect();
        let read = options.target.read().await?;
        let (text, compiled) = (read.text.as_str(), read.compiled());
        let checked = check_components(&read, &options.allowed, overrides.clone(), compiled.clone()).await?;
        let lock = checked.pipeline.checkpoint.as_deref().map(Lock::take).transpose()?;
        let screen = Screen::stdout(options.json);
        let pipeline = &checked.pipeline;
        let checkpoint = match &pipeline.checkpoint {
            Some(folder) => {
                let store = Store::new(folder, &read.file, screen.clone());
                Some(open(folder, pipeline, &store, text, &checked, &overrides, compiled.as_ref()).await?)
            }
            None => None,
        };
        let application = Application {
            name: pipeline.name.clone(),
            batch_interval: pipeline.batch_interval,
            code: wire(text, &checked, &screen, pipeline.concurrent_batches).await?,
            checkpoint,
            state_limits: state_limits(pipeline),
            policy: policy(pipeline),
            dead_letters: dead_letters(pipeline),
        };
        let board = Board::new(&pipeline.name);
        let _control =
            pipeline.checkpoint.as_deref().map(|folder| control::serve(folder, board.clone())).transpose()?;
        let engine = Engine::new(threads(), Arc::new(SystemClock), Arc::new(SystemRandomness))?;
        let mode = if options.once { Mode::Once } else { Mode::Continuous };
        tracing::info!("{} runs", pipeline.name);
        let summary = engine.run(application, mode, stop, board).await.map_err(refused)?;
        report(pipeline, &summary);
        drop(lock);
        Ok(())
    })
}

/// What another start does not get by either is refused, so that nobody starts it again and again.
fn refused(error: EngineError) -> anyhow::Error {
    match &error {
        EngineError::Journal(JournalError::Damaged { .. } | JournalError::Newer { .. })
        | EngineError::State(
            StateError::Journal(JournalError::Damaged { .. } | JournalError::Newer { .. })
            | StateError::Mismatch { .. },
        )
        | EngineError::Orphans { .. }
        | EngineError::Table { .. }
        | EngineError::Version { .. } => Refused(error.to_string()).into(),
        _ => error.into(),
    }
}

fn report(pipeline: &Pipeline, summary: &Summary) {
    let (batches, rows) = (summary.batches, summary.rows);
    tracing::info!("{} ended: {batches} batches, {rows} rows", pipeline.name);
    if summary.dead_letters > 0 {
        let file = dead_letters_file(pipeline);
        let kept = file.map_or(String::new(), |path| format!(" and kept in {}", path.display()));
        tracing::warn!("{} records were rejected{kept}", summary.dead_letters);
    }
}

/// The checkpoint folder, with this version of the pipeline in it and none that no batch needs.
async fn open(
    folder: &Path,
    pipeline: &Pipeline,
    store: &Store,
    text: &str,
    checked: &Checked,
    overrides: &Overrides,
    compiled: Option<&Cache>,
) -> Result<Checkpoint> {
    let disk = Arc::new(SystemDisk);
    store.keep(text, checked, overrides)?;
    let archive = Archive::open(disk.clone(), folder).await?;
    let kept = archive.batches().filter_map(|time| archive.batch(time));
    let mut versions: Vec<_> = kept.map(|(manifest, _)| manifest.version.clone()).collect();
    versions.push(version(text, checked));
    store.prune(&versions)?;
    keep(compiled, folder, &versions);
    let limits = Limits { history_bytes: pipeline.history_bytes, ..Limits::default() };
    let versions = Arc::new(store.clone());
    Ok(Checkpoint { disk, folder: folder.to_owned(), limits, versions })
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

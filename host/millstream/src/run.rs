//! `millstream run`: a checked pipeline, wired to its connectors and run until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use millstream_connectors::{Handover, Screen};
use millstream_engine::{
    Application, Board, Checkpoint, Code, Engine, EngineError, MigrateError, Mode, Stop, StopHandle, Summary,
    Upgrader,
};
use millstream_journal::{JournalError, Limits};
use millstream_model::pipeline::Pipeline;
use millstream_platform::{SystemClock, SystemDisk, SystemRandomness, Task};
use millstream_plugins::Cache;
use millstream_state::StateError;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch as watched};

use crate::allowed::Allowed;
use crate::control;
use crate::host_file::Lock;
use crate::load::{Overrides, Refused, runtime};
use crate::status::VersionStatus;
use crate::supervise::supervise;
use crate::takeover::{Giving, take_over};
use crate::target::{Read, Target};
use crate::upgrade::{Adopted, Drops, Loaded, Returned, Running, Watched, choose, stamp};
use crate::versions::Store;
use crate::wire::{
    close_unclaimed, dead_letters, dead_letters_file, names, policy, state_limits, threads, wire,
};

/// What `run` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    allowed: Allowed,
    #[command(flatten)]
    drops: Drops,
    /// Process what the sources hold now, then end
    #[arg(long)]
    once: bool,
    /// Print sinks write a JSON object a row
    #[arg(long)]
    json: bool,
    /// Use another component for a plugin
    #[arg(long = "plugin", value_name = "NAME=PATH", value_parser = parse_override)]
    plugins: Vec<(String, PathBuf)>,
    /// Go on with other code whenever the pipeline file or a component changes
    #[arg(long, conflicts_with = "once")]
    watch: bool,
    /// Start the pipeline again whenever it ends by a crash
    #[arg(long)]
    supervise: bool,
    /// Go on in the place of the process that runs the pipeline: with its connections, and after what it received
    #[arg(long, conflicts_with = "once")]
    takeover: bool,
}

pub(crate) fn parse_override(text: &str) -> Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts.ok_or_else(|| "write NAME=PATH, such as text=./text.wasm".to_owned())?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.supervise {
        return supervise();
    }
    runtime()?.block_on(async {
        let (handle, stop) = listen_for_signals()?;
        let (unread, read) = (stamp(options.target.file()), options.target.read().await?);
        let (compiled, screen) = (read.compiled(), Screen::stdout(options.json));
        let watched = match options.watch {
            true => Some(Watched::look(&options.target, unread, options.given(), compiled.as_ref()).await),
            false => None,
        };
        let (folder, handover) = (read.text().parse()?.checkpoint, Handover::default());
        let store = folder.as_deref().map(|folder| Store::new(folder, &read.file, screen.clone()));
        let prepare = async || {
            Start::prepare(options, &read, compiled.as_ref(), store.as_ref(), &screen, &handover).await
        };
        // Whatever takes long is done before another process is asked to end.
        let mut start = prepare().await?;
        let lock = lock(options, folder.as_deref(), &handover, &stop).await?;
        if start.adopted != adopted(store.as_ref())? {
            tracing::info!("the pipeline was upgraded while this process was about to start");
            start = prepare().await?;
        }
        let Start { loaded, code, .. } = start;
        let pipeline = &loaded.checked.pipeline;
        close_unclaimed(&handover, pipeline, &names(&code.sources));
        let (checkpoint, version) = match (&folder, &store) {
            (Some(folder), Some(store)) => open(folder, store, &loaded).await.map(Some)?,
            _ => None,
        }
        .unzip();
        let (upgrader, upgrades) = Upgrader::new();
        let application = Application {
            name: pipeline.name.clone(),
            batch_interval: pipeline.batch_interval,
            code,
            checkpoint,
            state_limits: state_limits(pipeline),
            policy: policy(pipeline),
            dead_letters: dead_letters(pipeline),
            upgrades,
        };
        let (board, pipeline) = (Board::new(&pipeline.name), pipeline.clone());
        let giving = Arc::new(Giving::new(handle, handover.clone()));
        let running = Arc::new(Running {
            target: options.target.clone(),
            given: options.given(),
            screen: screen.clone(),
            handover,
            store,
            compiled: compiled.clone(),
            upgrader,
            current: Mutex::new(Arc::new(loaded)),
            returned: Returned::default(),
            version: watched::Sender::new(version.unwrap_or_default()),
        });
        let serve = |folder: &Path| control::serve(folder, board.clone(), Arc::clone(&running), giving);
        let control = folder.as_deref().map(serve).transpose()?;
        let watch = |watched: Watched| Task::spawn(&Handle::current(), watched.watch(Arc::clone(&running)));
        let _watching = watched.map(watch);
        let engine = Engine::new(threads(), Arc::new(SystemClock), Arc::new(SystemRandomness))?;
        let mode = if options.once { Mode::Once } else { Mode::Continuous };
        tracing::info!("{} runs", pipeline.name);
        let tidying = Task::spawn(&Handle::current(), tidy(running, board.clone()));
        let summary = engine.run(application, mode, stop, board).await.map_err(refused)?;
        tidying.await;
        report(&pipeline, &summary);
        // Before the lock is free: whoever takes it listens at the same place.
        drop(control);
        drop(lock);
        Ok(())
    })
}

/// What a process starts with, which is chosen while another one may still run the pipeline.
struct Start {
    /// What the choice depends on.
    adopted: Option<Adopted>,
    loaded: Loaded,
    code: Code,
}

impl Start {
    async fn prepare(
        options: &Options,
        read: &Read,
        compiled: Option<&Cache>,
        store: Option<&Store>,
        screen: &Screen,
        handover: &Handover,
    ) -> Result<Self> {
        let adopted = adopted(store)?;
        let kept = store.zip(adopted.as_ref());
        let loaded = choose(read, &options.given(), &options.allowed, compiled.cloned(), kept).await?;
        loaded.checked.states.allow_drops(options.drops.drop_state.iter().cloned());
        let concurrent = loaded.checked.pipeline.concurrent_batches;
        let code = wire(&loaded.text, &loaded.checked, screen, handover, concurrent).await?;
        Ok(Self { adopted, loaded, code })
    }
}

impl Options {
    /// The files that are given for plugins.
    fn given(&self) -> Overrides {
        self.plugins.iter().cloned().collect()
    }
}

/// The version that the pipeline was given last while it ran, if there is one.
fn adopted(store: Option<&Store>) -> Result<Option<Adopted>> {
    store.map_or(Ok(None), Store::adopted)
}

/// Lets go of other versions once this one has begun.
async fn tidy(running: Arc<Running>, board: Board) {
    board.running().await;
    if let Err(error) = running.tidy().await {
        tracing::warn!("removing versions that are not needed any more: {error:#}");
    }
}

/// The checkpoint folder's lock, if there is to be one; with `--takeover` from the process that has it.
async fn lock(
    options: &Options,
    folder: Option<&Path>,
    handover: &Handover,
    stop: &Stop,
) -> Result<Option<Lock>> {
    let Some(folder) = folder else {
        if options.takeover {
            let name = options.target.file().display();
            let reason = "names no `checkpoint` folder, by which a running pipeline is found; start it without --takeover";
            return Err(Refused(format!("{name} {reason}")).into());
        }
        return Ok(None);
    };
    if !options.takeover {
        return Lock::take(folder).map(Some);
    }
    take_over(folder, handover, stop).await.map(Some)
}

/// What another start does not get by either is refused, so that nobody starts it again and again.
fn refused(error: EngineError) -> anyhow::Error {
    match &error {
        EngineError::Journal(JournalError::Damaged { .. } | JournalError::Newer { .. })
        | EngineError::State(
            StateError::Journal(JournalError::Damaged { .. } | JournalError::Newer { .. })
            | StateError::Mismatch { .. },
        )
        | EngineError::Migration(MigrateError::Function { .. } | MigrateError::Clash { .. })
        | EngineError::Orphans { .. }
        | EngineError::Losses(_)
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

/// The checkpoint folder, with this version of the pipeline in it; and what there is to show of it. Other versions are left
/// alone: this one may still be refused.
async fn open(folder: &Path, store: &Store, loaded: &Loaded) -> Result<(Checkpoint, VersionStatus)> {
    store.keep(&loaded.text, &loaded.checked, &loaded.overrides)?;
    let shown = VersionStatus::of(loaded.version(), &store.archive().await?, store.adopted()?.as_ref());
    let limits = Limits { history_bytes: loaded.checked.pipeline.history_bytes, ..Limits::default() };
    let (disk, versions) = (Arc::new(SystemDisk), Arc::new(store.clone()));
    Ok((Checkpoint { disk, folder: folder.to_owned(), limits, versions }, shown))
}

/// The first SIGINT or SIGTERM asks for a graceful stop, a second for an immediate one.
fn listen_for_signals() -> Result<(StopHandle, Stop)> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let (handle, stop) = StopHandle::new();
    let told = (handle.clone(), stop);
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            signals += 1;
            if signals == 1 {
                tracing::info!("stopping: what was received is processed first; once more stops at once");
                handle.gracefully();
            } else {
                handle.now();
            }
        }
    });
    Ok(told)
}

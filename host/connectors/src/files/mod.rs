//! The files of a folder or a glob, each taken once when it is complete.
//!
//! Files are read one after the other on a thread that may block, a few blocks ahead of the inlet. A file that
//! cannot be read, or only in part, is told to the operator; the next one follows.

mod parquet;
mod read;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Closed, Inlet, Source, SourceError};
use millstream_model::pipeline::{Format, SourceSpec};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::cut::Cut;
use crate::intake::{Intake, Origin};
use watch::Watch;

/// From one look at the folder to the next.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Blocks that are read ahead of the inlet.
const BLOCKS_AHEAD: usize = 2;

/// A source of files.
pub(crate) struct Files {
    origin: Origin,
    path: PathBuf,
    format: Format,
    poll_every: Duration,
}

impl Files {
    pub(crate) fn new(spec: &SourceSpec, path: &Path) -> Self {
        Self {
            origin: Origin::new(spec),
            path: path.to_owned(),
            format: spec.format.clone(),
            poll_every: POLL_EVERY,
        }
    }

    #[cfg(test)]
    fn poll_every(self, poll_every: Duration) -> Self {
        Self { poll_every, ..self }
    }

    /// Looks for files, again and again or once, and delivers them.
    async fn deliver_all(&self, intake: &Intake) -> Result<(), Closed> {
        let mut watch = Watch::new(&self.path);
        let mut told = false;
        loop {
            let (looked, found) = look(watch, intake.inlet().once()).await?;
            watch = looked;
            if let Err(fault) = &found
                && !told
            {
                intake.inlet().report(fault);
            }
            told = found.is_err();
            for file in found.unwrap_or_default() {
                self.deliver(intake, file).await?;
            }
            if intake.inlet().once() {
                return Ok(());
            }
            pause(self.poll_every, intake.inlet()).await?;
        }
    }

    /// Delivers the records of one file.
    async fn deliver(&self, intake: &Intake, file: PathBuf) -> Result<(), Closed> {
        let (sender, mut cuts) = mpsc::channel(BLOCKS_AHEAD);
        let (path, format, rows_max) = (file.clone(), self.format.clone(), intake.block_rows_max());
        let reading = spawn_blocking(move || read::read(&path, &format, rows_max, &sender));
        while let Some(cut) = next(&mut cuts, intake.inlet()).await? {
            intake.take(cut).await?;
        }
        let fault = match reading.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(fault)) => fault,
            // A parser's panic over a damaged file costs that file and nothing else.
            Err(panic) => {
                format!("reading {}: {panic}; the rest of the file is skipped", file.display())
            }
        };
        intake.inlet().report(&fault);
        Ok(())
    }
}

/// Lets `watch` look on a thread that may block.
async fn look(mut watch: Watch, once: bool) -> Result<(Watch, Result<Vec<PathBuf>, String>), Closed> {
    let looking = spawn_blocking(move || {
        let found = if once { watch.all() } else { watch.complete() };
        (watch, found)
    });
    // The runtime drops blocking work only when it shuts down.
    looking.await.map_err(|_| Closed)
}

async fn next(cuts: &mut mpsc::Receiver<Cut>, inlet: &Inlet) -> Result<Option<Cut>, Closed> {
    tokio::select! {
        () = inlet.closed() => Err(Closed),
        cut = cuts.recv() => Ok(cut),
    }
}

async fn pause(length: Duration, inlet: &Inlet) -> Result<(), Closed> {
    tokio::select! {
        () = inlet.closed() => Err(Closed),
        () = tokio::time::sleep(length) => Ok(()),
    }
}

#[async_trait]
impl Source for Files {
    async fn run(self: Box<Self>, inlet: Inlet) -> Result<(), SourceError> {
        let intake = self.origin.intake(inlet);
        // Closed or done, both are a source's good end.
        match self.deliver_all(&intake).await {
            Ok(()) | Err(Closed) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

//! The files of a folder or a glob, each taken once when it is complete.
//!
//! Files are read one after the other on a thread that may block, a few blocks ahead of the inlet. A file that
//! cannot be read, or only in part, is told to the operator; the next one follows.
//!
//! The source is direct: its records stay in their files, and only which were taken is kept, by the inlet. An origin
//! is a file's absolute path, its stamp the size and the time of the file. A file that was taken in part goes on behind
//! its last record taken, also when it has grown meanwhile; one that was taken to its end is not looked at again
//! for as long as its name stays.

mod parquet;
pub(crate) mod read;
pub(crate) mod records;
mod reread;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Closed, Direct, Inlet, Source, SourceError, Taken};
use millstream_model::pipeline::{Format, SourceSpec};
use millstream_model::{Block, OriginRange};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use read::{Opened, Reading, Request};
use watch::{Found, Watch};

/// From one look at the folder to the next.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Blocks that are read ahead of the inlet.
const BLOCKS_AHEAD: usize = 2;

/// A source of files.
pub(crate) struct Files {
    path: PathBuf,
    format: Format,
    poll_every: Duration,
}

impl Files {
    pub(crate) fn new(spec: &SourceSpec, path: &Path) -> Self {
        Self { path: path.to_owned(), format: spec.format.clone(), poll_every: POLL_EVERY }
    }

    #[cfg(test)]
    fn poll_every(self, poll_every: Duration) -> Self {
        Self { poll_every, ..self }
    }

    /// Looks for files, again and again or once, and delivers them.
    async fn deliver_all(&self, inlet: &Inlet) -> Result<(), Closed> {
        let mut watch = Watch::new(&self.path);
        let mut told = false;
        loop {
            let (looked, found) = look(watch, inlet.clone()).await?;
            watch = looked;
            if let Err(fault) = &found
                && !told
            {
                inlet.report(fault);
            }
            told = found.is_err();
            if let Ok(found) = found {
                forget_gone(&found, inlet);
                for file in found.complete {
                    let taken = inlet.taken(&file.to_string_lossy());
                    self.deliver(inlet, &file, taken).await?;
                }
            }
            if inlet.once() {
                return Ok(());
            }
            pause(self.poll_every, inlet).await?;
        }
    }

    /// Delivers the records of one file that were not taken yet.
    async fn deliver(&self, inlet: &Inlet, path: &Path, taken: Option<Taken>) -> Result<(), Closed> {
        let origin = path.to_string_lossy();
        match open(path).await? {
            Err(fault) => inlet.report(&format!("reading {origin}: {fault}; the file is skipped")),
            Ok(opened) => {
                if let Some(fault) = changed(&origin, taken.as_ref(), &opened) {
                    inlet.report(&fault);
                }
                inlet.open(&origin, &opened.stamp);
                let first = taken.map_or(0, |taken| taken.records);
                if let Some(fault) = self.deliver_from(first, inlet, opened).await? {
                    inlet.report(&format!("reading {origin}: {fault}"));
                }
            }
        }
        inlet.finish(&origin);
        Ok(())
    }

    /// Delivers the records of a file from number `first` on; gives what the operator has to know.
    async fn deliver_from(
        &self,
        first: u64,
        inlet: &Inlet,
        opened: Opened,
    ) -> Result<Option<String>, Closed> {
        let (sender, mut blocks) = mpsc::channel(BLOCKS_AHEAD);
        let (format, rows_max) = (self.format.clone(), inlet.block_rows_max());
        let request = Request { format, rows_max, records: first..u64::MAX };
        let reading = spawn_blocking(move || {
            read::read(opened, &request, &mut |block| sender.blocking_send(block).is_ok())
        });
        while let Some(block) = next(&mut blocks, inlet).await? {
            inlet.send(block).await?;
        }
        // A parser's panic over a damaged file costs that file and nothing else.
        Ok(match reading.await {
            Ok(reading) => told_of(&reading, first),
            Err(panic) => Some(format!("{panic}; the rest of the file is skipped")),
        })
    }
}

/// Lets `watch` look on a thread that may block.
async fn look(mut watch: Watch, inlet: Inlet) -> Result<(Watch, Result<Found, String>), Closed> {
    let looking = spawn_blocking(move || {
        let is_finished =
            |path: &Path| inlet.taken(&path.to_string_lossy()).is_some_and(|taken| taken.finished);
        let found = if inlet.once() { watch.all(&is_finished) } else { watch.complete(&is_finished) };
        (watch, found)
    });
    // The runtime drops blocking work only when it shuts down.
    looking.await.map_err(|_| Closed)
}

/// Opens a file on a thread that may block; an error is what to tell the operator.
async fn open(path: &Path) -> Result<Result<Opened, String>, Closed> {
    if path.to_str().is_none() {
        return Ok(Err("its name is not UTF-8".to_owned()));
    }
    let path = path.to_owned();
    let opening = spawn_blocking(move || Opened::open(&path).map_err(|fault| fault.to_string()));
    opening.await.map_err(|_| Closed)
}

/// Drops what is known of files whose names are gone.
fn forget_gone(found: &Found, inlet: &Inlet) {
    for origin in inlet.origins().into_iter().filter(|origin| !found.names.contains(origin)) {
        if let Some(taken) = inlet.taken(&origin).filter(|taken| !taken.finished && taken.records > 0) {
            inlet.report(&format!("{origin} is gone after {} of its records were taken", taken.records));
        }
        inlet.forget(&origin);
    }
}

/// What to tell of a file that is not as it was when its first records were taken.
fn changed(origin: &str, taken: Option<&Taken>, opened: &Opened) -> Option<String> {
    let Taken { stamp, records, .. } = taken?;
    (*records > 0 && *stamp != opened.stamp).then(|| {
        format!("{origin} was written to after {records} of its records were taken; it goes on behind them")
    })
}

/// What to tell of a reading that was to begin at record `first`.
fn told_of(reading: &Reading, first: u64) -> Option<String> {
    let Reading { records, fault } = reading;
    match fault {
        Some(fault) => Some(format!(
            "{}; the {} records before that are taken, the rest of the file is skipped",
            fault.reason, fault.after
        )),
        None if *records < first => {
            Some(format!("the file holds {records} records, and {first} were taken of it before"))
        }
        None => None,
    }
}

async fn next(blocks: &mut mpsc::Receiver<Block>, inlet: &Inlet) -> Result<Option<Block>, Closed> {
    tokio::select! {
        () = inlet.closed() => Err(Closed),
        block = blocks.recv() => Ok(block),
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
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        // Closed or done, both are a source's good end.
        match self.deliver_all(&inlet).await {
            Ok(()) | Err(Closed) => Ok(()),
        }
    }

    fn direct(&self) -> Option<&dyn Direct> {
        Some(self)
    }
}

#[async_trait]
impl Direct for Files {
    async fn read(&self, range: &OriginRange) -> Result<Vec<Block>, SourceError> {
        if range.records.is_empty() {
            return Ok(Vec::new());
        }
        let (range, format) = (range.clone(), self.format.clone());
        let origin = range.origin.clone();
        let reading = spawn_blocking(move || reread::reread(&range, &format));
        reading.await.unwrap_or_else(|panic| {
            Err(SourceError::Refused(format!("reading {origin} again: {panic}; the file is damaged")))
        })
    }
}

#[cfg(test)]
mod tests;

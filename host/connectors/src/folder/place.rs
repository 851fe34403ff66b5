//! Where a batch's files are, from their first byte until everybody sees them.
//!
//! A batch of time T is in one of these states, and every step from one to the next is one rename or removal, so
//! that a crash leaves it in one of them:
//!
//! ```text
//!                   .T.tmp/N .T.ready   T        .T.old.tmp   recovery of a committed batch
//! begun             (files)             earlier
//! prepared                   files      earlier               publishes: replaces the earlier
//! set aside                  files               earlier      publishes
//! published                             files    (earlier)    is published; removes the earlier
//! done                                  files                 is published
//! ```
//! A batch without rows is prepared as an empty folder, which marks it. It goes the same way, but that the marker is
//! removed instead of shown, and only when the earlier batch of the same time is gone:
//!
//! ```text
//! prepared                   empty      earlier               publishes: removes the earlier
//! set aside                  empty               (earlier)    publishes
//! done                                                        needs rows: there are none
//! ```
//! So a batch that was prepared and is neither ready nor visible had no rows, or somebody has taken its folder away
//! before the engine knew that it was published; both are answered with a need for rows, which computes it again. Where
//! it is visible and not ready, it is the batch itself and none earlier, since only publishing takes `.T.ready` away.
//! What is begun and not prepared was never committed; beginning again removes it. Every attempt at a batch has a number
//! of its own, so that one which was given up and has not noticed yet touches nothing of the next.
//!
//! Before a step that cannot be undone what it relies on is on disk: files and their folder before they are ready, being
//! ready before the commit, being shown before the earlier batch is removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_engine::{Recovery, SinkError};
use millstream_model::BatchTime;
use millstream_platform::crash_point;

/// The folders of one batch.
pub(super) struct Place {
    folder: PathBuf,
    attempts: PathBuf,
    ready: PathBuf,
    visible: PathBuf,
    replaced: PathBuf,
}

/// Numbers the attempts of this process; those of an earlier one are over.
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

impl Place {
    pub(super) fn new(folder: &Path, time: BatchTime) -> Self {
        Self {
            folder: folder.to_owned(),
            attempts: folder.join(format!(".{time}.tmp")),
            ready: folder.join(format!(".{time}.ready")),
            visible: folder.join(time.to_string()),
            replaced: folder.join(format!(".{time}.old.tmp")),
        }
    }

    /// Removes what earlier attempts at this batch left hidden, and gives the folder of a new one, which is not there
    /// yet.
    pub(super) fn begin(&self) -> Result<PathBuf, SinkError> {
        [&self.attempts, &self.ready, &self.replaced].into_iter().try_for_each(|folder| remove(folder))?;
        Ok(self.attempts.join(ATTEMPTS.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    /// Makes the folder of an attempt. The folders above the sink's are on disk after this.
    pub(super) fn create(&self, staged: &Path) -> Result<(), SinkError> {
        let missing = self.folder.ancestors().take_while(|folder| !folder.exists());
        let above: Vec<_> = missing.filter_map(Path::parent).collect();
        attempt("creating", staged, fs::create_dir_all(staged))?;
        above.into_iter().try_for_each(sync)
    }

    /// Removes the folder of an attempt.
    pub(super) fn discard(&self, staged: &Path) -> Result<(), SinkError> {
        remove(staged)?;
        self.tidy();
        Ok(())
    }

    /// Marks what was staged as complete. The files and their names are on disk.
    pub(super) fn make_ready(&self, staged: &Path) -> Result<(), SinkError> {
        attempt("renaming", staged, fs::rename(staged, &self.ready))?;
        self.tidy();
        sync(&self.folder).inspect_err(|_| {
            if let Err(fault) = remove(&self.ready) {
                tracing::warn!("{fault}");
            }
        })
    }

    /// Removes the folder of the attempts, if there is none in it: otherwise it is removed with them.
    fn tidy(&self) {
        if let Err(fault) = fs::remove_dir(&self.attempts) {
            tracing::debug!("leaving {}: {fault}", self.attempts.display());
        }
    }

    /// Makes what is ready visible, in place of an earlier batch of the same time.
    pub(super) fn publish(&self) -> Result<(), SinkError> {
        let has_rows = attempt(
            "reading",
            &self.ready,
            fs::read_dir(&self.ready).map(|mut files| files.next().is_some()),
        )?;
        self.set_aside()?;
        if has_rows {
            attempt("renaming", &self.ready, fs::rename(&self.ready, &self.visible))?;
            crash_point("output-published");
            sync(&self.folder)?;
            remove(&self.replaced)
        } else {
            if exists(&self.replaced)? {
                sync(&self.folder)?;
                remove(&self.replaced)?;
            }
            // Where a crash of the machine brings it back, it is removed again.
            remove(&self.ready)?;
            crash_point("output-published");
            Ok(())
        }
    }

    /// Finishes what a crash interrupted, for a batch that was prepared and committed.
    pub(super) fn recover(&self) -> Result<Recovery, SinkError> {
        remove(&self.attempts)?;
        if exists(&self.ready)? {
            self.publish()?;
        } else if exists(&self.visible)? {
            sync(&self.folder)?;
            remove(&self.replaced)?;
        } else {
            return Ok(Recovery::NeedsRows);
        }
        Ok(Recovery::Published)
    }

    /// Moves an earlier batch of the same time out of the way.
    fn set_aside(&self) -> Result<(), SinkError> {
        if exists(&self.visible)? {
            remove(&self.replaced)?;
            attempt("replacing", &self.visible, fs::rename(&self.visible, &self.replaced))?;
        }
        Ok(())
    }
}

fn exists(folder: &Path) -> Result<bool, SinkError> {
    attempt("looking for", folder, folder.try_exists())
}

/// Waits until the names in a folder are on disk.
pub(super) fn sync(folder: &Path) -> Result<(), SinkError> {
    // The parent of a relative name is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let open = attempt("opening", folder, File::open(folder))?;
    open.sync_all().map_err(|fault| SinkError::Unsynced(format!("syncing {}: {fault}", folder.display())))
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), SinkError> {
    match fs::remove_dir_all(folder) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => attempt("removing", folder, removed),
    }
}

/// The outcome of `doing` something to `path`, with that in its error.
pub(super) fn attempt<T>(doing: &str, path: &Path, result: io::Result<T>) -> Result<T, SinkError> {
    result.map_err(|fault| {
        let told = format!("{doing} {}: {fault}", path.display());
        if is_full(&fault) { SinkError::Full(told) } else { SinkError::Failed(told) }
    })
}

/// Whether there is no room, on the disk or for this user.
pub(super) fn is_full(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

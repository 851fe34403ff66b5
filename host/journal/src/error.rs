use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_model::Lane;
use thiserror::Error;

use crate::LedgerError;

/// What went wrong with the journal, by what the caller does about it.
#[derive(Clone, Debug, Error)]
pub enum JournalError {
    /// *Retry later*: there is no room on the disk. Nothing was changed.
    #[error("{doing}: no room on the disk: {error}; free some, and it goes on")]
    Full {
        /// What was being done, to what.
        doing: String,
        /// What the disk said.
        error: Arc<io::Error>,
    },
    /// *Stop and recover*: the disk failed, and nobody knows what of the last change is on it.
    #[error("{doing}: {error}")]
    Disk {
        /// What was being done, to what.
        doing: String,
        /// What the disk said.
        error: Arc<io::Error>,
    },
    /// *Refuse*: what is on disk is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {what}; \"millstream repair PIPELINE\" says what can be saved",
        file.display()
    )]
    Damaged {
        /// The file, or the folder where one is missing.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// *Refuse*: a newer program wrote it.
    #[error(
        "{} has format {format} and this program reads up to {newest}; run it with a newer millstream",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u32,
        /// The newest format that can be read.
        newest: u32,
    },
    /// *Refuse*: the records are not in the log, or no longer.
    #[error("records {} to {} of {lane} are not kept in the write-ahead log", records.start, records.end)]
    Gone {
        /// Whose.
        lane: Lane,
        /// Which.
        records: Range<u64>,
    },
    /// *Refuse*: a record of the batch log, or a part in an outbox, that is larger than any may be. Nothing was changed.
    #[error("a record takes {bytes} bytes, and at most {bytes_max} are allowed; take less into a batch")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What it may take.
        bytes_max: usize,
    },
    /// A record that contradicts those before it was to be written: a mistake of the caller. Nothing was changed.
    #[error("the batch log refuses a record that contradicts those before it: {0}")]
    Contradiction(#[from] LedgerError),
    /// The log ended before, by an error that was told then or because the writer stopped.
    #[error("the journal is closed; start again to recover")]
    Closed,
}

impl JournalError {
    /// Whether the disk has no room: the call may be repeated when there is some.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether a file is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Self::Disk { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// The error of doing something to a file.
    pub(crate) fn of(doing: &str, path: &Path, error: io::Error) -> Self {
        let doing = format!("{doing} {}", path.display());
        match is_full(&error) {
            true => Self::Full { doing, error: Arc::new(error) },
            false => Self::Disk { doing, error: Arc::new(error) },
        }
    }

    /// The error of a sync: whatever the disk said, it may not be tried again.
    pub(crate) fn of_sync(path: &Path, error: io::Error) -> Self {
        let told = format!("{error}; what is on it is not known: start again, to recover from what is there");
        let error = Arc::new(io::Error::new(error.kind(), told));
        Self::Disk { doing: format!("syncing {}", path.display()), error }
    }

    pub(crate) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}

/// Whether a write failed for want of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

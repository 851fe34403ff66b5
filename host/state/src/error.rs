use millstream_journal::{JournalError, Oversized};
use thiserror::Error;

use crate::names::owner;

/// What went wrong with states, by what the caller does about it.
#[derive(Clone, Debug, Error)]
pub enum StateError {
    /// The files failed, or are not what was written. What to do is the journal's error's to say.
    #[error("{}", told(.0))]
    Journal(#[from] JournalError),
    /// *Fail the batch*: there would be more in memory than is allowed, with all states on disk that can be there. Nothing was
    /// changed.
    #[error(
        "states and windows would take {bytes} bytes of memory with what this batch puts into \"{table}\", and \
         {limit} are allowed; raise \"state-memory\", make windows shorter, or take less into a batch"
    )]
    TooLarge {
        /// The table that the batch adds to.
        table: String,
        /// What all tables would take.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },
    /// *Fail the batch*: something that cannot be written at all. Nothing was changed.
    #[error("writing to the state of \"{table}\": {error}")]
    Oversized {
        /// The table.
        table: String,
        /// What is wrong with it.
        error: Oversized,
    },
    /// *Begin the upgrade anew*: a copy of the states was given up, as batches have changed too much while it was made. The
    /// states themselves are as they are to be.
    #[error(
        "copying the states was given up: what batches changed meanwhile takes more than {limit} bytes of memory; try again when \
         less comes in, or raise \"state-memory\""
    )]
    ForkTooLarge {
        /// What it may take.
        limit: u64,
    },
    /// *Refuse the pipeline*: the stored table is not the one that was asked for.
    #[error(
        "the stored state of \"{table}\" does not fit: {what}; keep what it is made of, or drop it with --drop-state {}",
        owner(table)
    )]
    Mismatch {
        /// The table.
        table: String,
        /// The difference.
        what: String,
    },
    /// A change to a table that there is not, or that holds something else: a mistake of the caller. Nothing was changed.
    #[error("there is no table \"{table}\" of states to change in this way")]
    Unknown {
        /// The table.
        table: String,
    },
    /// Columns that are not those of the table: a mistake of the caller, or a type that keys cannot have.
    #[error("the columns do not fit the state of \"{table}\": {what}")]
    Columns {
        /// The table.
        table: String,
        /// What is wrong with them.
        what: String,
    },
}

/// What the journal says, but for what can be saved: of damaged states nothing can.
fn told(error: &JournalError) -> String {
    match error {
        JournalError::Damaged { file, offset, what } => format!(
            "{} is damaged at byte {offset}: {what}; put the checkpoint folder back from a copy of it",
            file.display()
        ),
        other => other.to_string(),
    }
}

impl StateError {
    /// Whether the disk has no room: the call may be repeated when there is some.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Journal(error) if error.is_full())
    }
}

use std::path::PathBuf;

use millstream_journal::JournalError;
use millstream_model::{BatchTime, Lane};
use millstream_query::QueryError;
use millstream_state::StateError;
use thiserror::Error;

use crate::{MigrateError, PidError, SinkError, SourceError, TableError};

/// Why a pipeline stopped by itself.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A batch failed as often as it may. Its input is safe, if there is a journal.
    #[error("batch {time}: {source}")]
    Batch {
        /// The batch.
        time: BatchTime,
        /// What failed.
        source: QueryError,
    },
    /// A sink did not take a batch.
    #[error("batch {time}: sink \"{sink}\": {source}")]
    Sink {
        /// The batch.
        time: BatchTime,
        /// The sink's name.
        sink: String,
        /// What failed.
        source: SinkError,
    },
    /// A source cannot go on.
    #[error("source \"{name}\": {source}")]
    Source {
        /// The source's name.
        name: String,
        /// What failed.
        source: SourceError,
    },
    /// A table cannot be read.
    #[error("table \"{name}\": {source}")]
    Table {
        /// The table's name.
        name: String,
        /// What is wrong with it.
        source: TableError,
    },
    /// Rejected records cannot be kept.
    #[error("writing dead letters to {}: {source}", path.display())]
    DeadLetters {
        /// Their file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The journal cannot be read or written.
    #[error("{0}")]
    Journal(JournalError),
    /// States cannot be read or written.
    #[error("states: {0}")]
    State(StateError),
    /// States of another version cannot be made into those of this one.
    #[error("{0}")]
    Migration(MigrateError),
    /// The pipeline would lose states that nobody allowed it to drop. None was dropped.
    #[error("{0}")]
    Losses(String),
    /// A batch was begun by code that is not to be had.
    #[error(
        "batch {time} was begun by another version of the pipeline, which cannot finish it: {reason}; put back what that \
         version needs until the batch is done, or start once with on-failure = \"continue\", which leaves the batch out \
         unless it was committed"
    )]
    Version {
        /// The batch.
        time: BatchTime,
        /// What is missing.
        reason: String,
    },
    /// Records were received from a source that the pipeline has no more.
    #[error(
        "{records} records of the source \"{lane}\" were received and are not processed, and the pipeline has it no \
         more; put it back, run the pipeline until it has processed them, and take it out then"
    )]
    Orphans {
        /// Whose.
        lane: Lane,
        /// How many.
        records: u64,
    },
    /// The estimator of the rate cannot work with its settings.
    #[error("backpressure: {0}")]
    Backpressure(#[from] PidError),
    /// The threads that compute cannot be started.
    #[error("starting the runtime for batches: {0}")]
    Runtime(std::io::Error),
    /// Told to stop at once: what was received and not yet processed is left.
    #[error(
        "stopped at once; records that were received and are not processed are left to the journal, if there is one"
    )]
    StoppedNow,
}

use std::path::PathBuf;

use millstream_model::BatchTime;
use millstream_query::QueryError;
use thiserror::Error;

use crate::{SinkError, SourceError};

/// Why a pipeline stopped by itself.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A batch failed, and failed again on fresh instances.
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
    /// Rejected records cannot be kept.
    #[error("writing dead letters to {}: {source}", path.display())]
    DeadLetters {
        /// Their file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The threads that compute cannot be started.
    #[error("starting the runtime for batches: {0}")]
    Runtime(std::io::Error),
    /// Told to stop at once: what was received and not yet processed is left.
    #[error("stopped at once; records that were received and not yet processed are lost")]
    StoppedNow,
}

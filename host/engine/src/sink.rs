//! What a connector implements to take rows out.
//!
//! A batch goes out in two steps, so that it is seen once and only if it has happened: everything is staged and
//! made durable out of sight, then the batch's commit is written to the journal, and then it is made visible. After a
//! crash between the last two, [`Sink::recover`] finishes the work.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::BatchTime;
use thiserror::Error;

/// Takes the rows of a stream out, a batch at a time. Batches may be staged side by side; they are published in order.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Begins a batch. What was staged for the same time before and never published is dropped.
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError>;

    /// Makes the batch visible that was prepared and committed before a crash, if it is not yet.
    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError>;

    /// What a sink of the same name has in common with this one, so that a later version of the pipeline ends the batches
    /// of an earlier one by its own. Nothing, where each version ends its own.
    fn succession(&self) -> Option<&str> {
        None
    }
}

/// A batch on its way out. Nothing of it is visible before it is published; dropped before that, nothing ever is,
/// but what was prepared stays for [`Sink::recover`].
#[async_trait]
pub trait SinkBatch: Send {
    /// Stages rows of a partition. Calls for different partitions interleave; those of one come in its order.
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError>;

    /// Makes what was staged safe from a crash, and still not visible.
    async fn prepare(&mut self) -> Result<(), SinkError>;

    /// Makes the whole batch visible at once, in place of one of the same time.
    async fn publish(self: Box<Self>) -> Result<(), SinkError>;
}

/// What a sink has of a batch after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// All of it, and it is visible.
    Published,
    /// Nothing: the batch is to be computed and published again.
    NeedsRows,
}

/// What a sink was doing, to what, and what went wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SinkError {
    /// A fault; the batch is tried again a few times.
    #[error("{0}")]
    Failed(String),
    /// There is no room; the batch waits until there is.
    #[error("{0}")]
    Full(String),
    /// What is outside does not take the batch now. One that was committed waits until it does.
    #[error("{0}")]
    Unavailable(String),
    /// A sync failed, and nobody knows what is on the disk. What was committed is not made visible by another sync, which may
    /// say that all is well: the pipeline ends, and recovers from what is there.
    #[error("{0}")]
    Unsynced(String),
}

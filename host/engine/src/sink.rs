//! What a connector implements to take rows out.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::BatchTime;
use thiserror::Error;

/// Takes the rows of a stream out, a batch at a time.
#[async_trait]
pub trait Sink: Send {
    /// Begins a batch. One that was begun before and never committed is replaced.
    async fn begin(&mut self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError>;
}

/// A batch on its way out. Nothing of it is visible before the commit; dropped without one, nothing ever is.
#[async_trait]
pub trait SinkBatch: Send {
    /// Stages rows of a partition. Calls for different partitions interleave; those of one come in its order.
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError>;

    /// Makes the whole batch visible at once.
    async fn commit(self: Box<Self>) -> Result<(), SinkError>;
}

/// What a sink was doing, to what, and what went wrong.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SinkError(pub String);

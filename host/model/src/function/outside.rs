//! Functions at the edges: receivers, which bring rows in, and sinks, which take them out.

use std::fmt;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;

use super::{CALL_ROWS_MAX, FunctionDescription, FunctionError};
use crate::BatchTime;

/// Brings rows in. It may be started several times, after failures.
#[async_trait]
pub trait Receiver: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Begins a life, which goes on behind the rows that `position` was delivered with.
    ///
    /// # Errors
    /// `Rejected` where it can never work; all others may pass.
    async fn start(&self, position: Option<Bytes>) -> Result<Box<dyn Receiving>, FunctionError>;
}

/// A life of a receiver. A call that is dropped or fails is the last: it leaves nothing that runs.
#[async_trait]
pub trait Receiving: Send {
    /// The next rows; none where none came until the deadline.
    async fn poll(&mut self, deadline: Duration) -> Result<Delivery, FunctionError>;

    /// Says that the rows up to a position are safe from a crash.
    async fn acknowledge(&mut self, position: Bytes) -> Result<(), FunctionError>;

    /// Ends the life in good order.
    async fn stop(&mut self) -> Result<(), FunctionError>;
}

/// What a poll of a receiver brought.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Rows in the columns of the described output.
    pub rows: RecordBatch,
    /// Where the receiver goes on behind them, if it can: with all rows of a life or with none. Means nothing without rows.
    pub position: Option<Bytes>,
    /// Whether there are no more, ever.
    pub ended: bool,
}

impl Delivery {
    /// The most rows of a delivery.
    pub const ROWS_MAX: usize = 1 << 20;
    /// The most bytes that they may take in memory. A delivery has to fit into one frame of the write-ahead log, so that it
    /// is safe as a whole or not at all.
    pub const BYTES_MAX: usize = 32 << 20;
    /// The most bytes of a position: each batch notes one.
    pub const POSITION_BYTES_MAX: usize = 4 << 10;
}

/// Takes rows out, part by part. A repeat brings the same rows under the same part.
#[async_trait]
pub trait Sink: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Writes rows, whose columns are the fields of the described input, in their Arrow types.
    ///
    /// # Errors
    /// `Rejected` where it never will take these rows; all others may pass.
    async fn write(&self, part: SinkPart, rows: RecordBatch) -> Result<(), FunctionError>;
}

/// Which rows of a batch a sink is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkPart {
    /// The batch.
    pub batch_time: BatchTime,
    /// The number of the part, from 0.
    pub part: u32,
    /// How many parts the batch has.
    pub parts: u32,
}

impl SinkPart {
    /// The most rows of a part.
    pub const ROWS_MAX: usize = CALL_ROWS_MAX;
}

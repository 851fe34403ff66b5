//! What a connector implements to bring records in.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{Block, DeadLetter};
use thiserror::Error;

use crate::Inlet;

/// Brings records in as blocks. It runs on the runtime for waiting, never on the one that computes.
#[async_trait]
pub trait Source: Send {
    /// Sends blocks to `inlet` until the source has no more, ever, or the inlet is closed.
    ///
    /// A passing fault (a lost connection, a vanished file) is reported through the inlet and survived here;
    /// an error returned is one that no retry can mend.
    async fn run(self: Box<Self>, inlet: Inlet) -> Result<(), SourceError>;
}

/// Turns a block's records into rows. Called on the threads that compute, by several at once.
pub trait Decoder: Send + Sync {
    /// The columns it gives.
    fn schema(&self) -> SchemaRef;

    /// The rows of `block`. A record that cannot be read is handed to `reject` and left out.
    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch;
}

/// A fault of a source that no retry can mend: what was being done, to what, and what went wrong.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SourceError(pub String);

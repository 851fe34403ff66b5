//! What a connector implements to bring records in.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{Block, DeadLetter, OriginRange};
use thiserror::Error;

use crate::Inlet;

/// Brings records in as blocks. It runs on the runtime for waiting, never on the one that computes.
///
/// There are two kinds. A *receiver* is given records once: its blocks go to the write-ahead log before a batch
/// takes them, and what it must acknowledge it acknowledges when the block's [`crate::Receipt`] says so. A *direct*
/// source can read the same records again at any time: only which they were is kept.
#[async_trait]
pub trait Source: Send + Sync {
    /// Sends blocks to `inlet` until the source has no more, ever, or the inlet is closed. Then it is cut off where it has not
    /// returned within [`crate::CLOSE_TIME_MAX`].
    ///
    /// It goes on where [`Inlet::resume`] or [`Inlet::taken`] say. After [`SourceError::Failed`] and after a panic it is
    /// called again, later and later.
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError>;

    /// How its records are read again, if it is a direct source.
    fn direct(&self) -> Option<&dyn Direct> {
        None
    }
}

/// A source whose records stay where they are.
#[async_trait]
pub trait Direct: Send + Sync {
    /// Reads the records of `range` again: the same, in the same order, cut into blocks in any way.
    ///
    /// # Errors
    /// They are not there any more, or are others: the message says what the operator can do.
    async fn read(&self, range: &OriginRange) -> Result<Vec<Block>, SourceError>;
}

/// Turns a block's records into rows. Called on the threads that compute, by several at once.
///
/// A block of the one record that its source rejected never reaches a decoder.
pub trait Decoder: Send + Sync {
    /// The columns it gives.
    fn schema(&self) -> SchemaRef;

    /// The rows of `block`. A record that cannot be read is handed to `reject` and left out.
    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch;

    /// For each row that it gives of `block`, the number of its record in the block: all records but those that are
    /// rejected, if it leaves out no others. Asked for where a row is traced to its record.
    fn records(&self, block: &Block) -> Vec<u64> {
        let mut rejected = BTreeSet::new();
        let first = block.position.record;
        self.decode(block, &mut |letter| {
            rejected.insert(letter.position.record.wrapping_sub(first));
        });
        (0..block.rows as u64).filter(|record| !rejected.contains(record)).collect()
    }
}

/// A fault of a source: what was being done, to what, and what went wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// A passing one, such as a lost connection: the source is started again after a while.
    #[error("{0}")]
    Failed(String),
    /// One that no retry can mend: the pipeline stops.
    #[error("{0}")]
    Refused(String),
}

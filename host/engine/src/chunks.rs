//! A source's blocks as a batch's input: decoded by the threads that compute, when they come to them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use millstream_model::{Block, DeadLetter};
use millstream_query::Chunks;

use crate::Decoder;

/// Records that are kept of those a batch rejects; more are only counted.
const REJECTED_MAX: usize = 10_000;

/// The blocks of one source in one batch.
pub(crate) struct BlockChunks {
    blocks: Arc<Vec<Block>>,
    decoder: Arc<dyn Decoder>,
    rejected: Mutex<(Vec<DeadLetter>, u64)>,
}

impl BlockChunks {
    pub(crate) fn new(blocks: Arc<Vec<Block>>, decoder: Arc<dyn Decoder>) -> Self {
        Self { blocks, decoder, rejected: Mutex::default() }
    }

    /// The records that were rejected while this was read, in no order, and how many more there were than are kept.
    pub(crate) fn take_rejected(&self) -> (Vec<DeadLetter>, u64) {
        std::mem::take(&mut *self.rejected.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Chunks for BlockChunks {
    fn rows(&self) -> Vec<usize> {
        self.blocks.iter().map(|block| block.rows).collect()
    }

    fn read(&self, chunk: usize) -> RecordBatch {
        self.decoder.decode(&self.blocks[chunk], &mut |letter| {
            let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            match rejected.0.len() < REJECTED_MAX {
                true => rejected.0.push(letter),
                false => rejected.1 += 1,
            }
        })
    }
}

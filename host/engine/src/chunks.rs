//! A source's blocks as a batch's input: decoded by the threads that compute, when they come to them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use millstream_model::{Block, DeadLetter, Payload};
use millstream_query::Chunks;

use crate::Decoder;

/// Records that are kept of those a batch rejects, and their bytes; more are only counted.
const REJECTED_MAX: usize = 10_000;
const REJECTED_BYTES_MAX: usize = 16 << 20;

/// The blocks of one source in one batch.
pub(crate) struct BlockChunks {
    source: String,
    blocks: Arc<Vec<Block>>,
    decoder: Arc<dyn Decoder>,
    rejected: Mutex<Rejected>,
}

/// The records that a batch puts aside, in no order.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    pub(crate) letters: Vec<DeadLetter>,
    bytes: usize,
    /// How many more there were than are kept.
    pub(crate) uncounted: u64,
}

impl Rejected {
    fn push(&mut self, letter: DeadLetter) {
        if self.letters.len() < REJECTED_MAX && self.bytes < REJECTED_BYTES_MAX {
            self.bytes += letter.record.len();
            self.letters.push(letter);
        } else {
            self.uncounted += 1;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.letters.len() as u64 + self.uncounted
    }

    pub(crate) fn add(&mut self, other: Self) {
        other.letters.into_iter().for_each(|letter| self.push(letter));
        self.uncounted += other.uncounted;
    }
}

impl BlockChunks {
    pub(crate) fn new(source: String, blocks: Arc<Vec<Block>>, decoder: Arc<dyn Decoder>) -> Self {
        Self { source, blocks, decoder, rejected: Mutex::default() }
    }

    /// The records that were rejected while this was read, in the order of their positions.
    pub(crate) fn take_rejected(&self) -> Rejected {
        let mut rejected = std::mem::take(&mut *self.rejected.lock().unwrap_or_else(PoisonError::into_inner));
        rejected.letters.sort_by(|a, b| {
            (&a.position.origin, a.position.record).cmp(&(&b.position.origin, b.position.record))
        });
        rejected
    }

    fn reject(&self, letter: DeadLetter) {
        self.reject_many(letter, 1);
    }

    /// Puts so many records aside, for which one letter stands.
    fn reject_many(&self, letter: DeadLetter, records: usize) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.push(letter);
        rejected.uncounted += records.saturating_sub(1) as u64;
    }
}

impl Chunks for BlockChunks {
    fn rows(&self) -> Vec<usize> {
        self.blocks.iter().map(|block| block.rows).collect()
    }

    fn read(&self, chunk: usize) -> RecordBatch {
        let block = &self.blocks[chunk];
        if let Payload::Rejected(rejected) = &block.payload {
            let position = block.position.clone();
            let letter = DeadLetter::new(&self.source, position, &rejected.error, &rejected.record);
            self.reject_many(letter, block.rows);
            return RecordBatch::new_empty(self.decoder.schema());
        }
        self.decoder.decode(block, &mut |letter| self.reject(letter))
    }
}

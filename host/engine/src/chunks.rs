//! A source's blocks as a batch's input: decoded by the threads that compute, when they come to them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use millstream_model::{Block, DeadLetter, Payload};
use millstream_query::Chunks;

use crate::Decoder;
use crate::letter::{Letter, Records};

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
    pub(crate) letters: Vec<Letter>,
    bytes: usize,
    /// How many more there were than are kept.
    pub(crate) uncounted: u64,
}

impl Rejected {
    pub(crate) fn push(&mut self, letter: Letter) {
        if self.letters.len() < DeadLetter::OF_BATCH_MAX && self.bytes < DeadLetter::OF_BATCH_BYTES_MAX {
            self.bytes += letter.line_bytes();
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
        let place = |letter: &Letter| letter.record().map(|record| record.position.clone());
        let key = |letter: &Letter| place(letter).map(|place| (place.origin, place.record));
        rejected.letters.sort_by_cached_key(key);
        rejected
    }

    /// Letters for the records of rows, with what is wrong with each. What is known of a row is how many records are before
    /// its own, as [`Chunks::rows`] counts them; these numbers must not fall.
    pub(crate) fn trace<'r>(&self, rows: impl Iterator<Item = (u64, &'r str)>) -> Vec<Option<DeadLetter>> {
        let (mut blocks, mut before) = (self.blocks.iter(), 0);
        let mut records: Option<Records<'_>> = None;
        let mut next = 0;
        let mut letter = |(row, error): (u64, &str)| {
            while row >= next {
                let block = blocks.next()?;
                (before, next) = (next, next + block.rows as u64);
                // Reading a block again is for those that have such a row.
                records = (row < next).then(|| Records::new(block, self.decoder.records(block)));
            }
            records.as_ref()?.letter(&self.source, row - before, error)
        };
        rows.map(&mut letter).collect()
    }

    fn reject(&self, letter: DeadLetter) {
        self.reject_many(letter, 1);
    }

    /// Puts so many records aside, for which one letter stands.
    fn reject_many(&self, letter: DeadLetter, records: usize) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.push(Letter::Record(letter));
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

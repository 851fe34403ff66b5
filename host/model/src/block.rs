use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

/// Records as a source gave them: the unit of receiving, and what a batch is cut from.
///
/// The bytes stay as they came until a batch's plan asks for them, so receiving costs one scan for record
/// ends, and decoding is spread over the partitions that compute.
#[derive(Clone, Debug)]
pub struct Block {
    /// The records.
    pub payload: Payload,
    /// How many records there are.
    pub rows: usize,
    /// Where the first of them stands.
    pub position: Position,
    /// Where a reliable receiver goes on behind them: bytes of its own, which it gets back after a restart.
    pub resume: Option<Bytes>,
}

/// The records of a block.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Whole records of a line format, each ended by a line feed; the last may lack it.
    Lines(Bytes),
    /// Records of a format that is columnar already.
    Rows(RecordBatch),
    /// One record that its source could not cut or read: a dead letter.
    Rejected(Rejected),
}

/// A record that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub error: String,
    /// Its bytes, or the first of them.
    pub record: Bytes,
}

/// Where a record stands in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// A file's path or a peer's address.
    pub origin: Arc<str>,
    /// Records of that origin before this one.
    pub record: u64,
}

impl Block {
    /// A block of whole lines that came from an origin which cannot be resumed.
    pub fn lines(bytes: Bytes, rows: usize, position: Position) -> Self {
        Self { payload: Payload::Lines(bytes), rows, position, resume: None }
    }

    /// A block of the one record at `position` that cannot be taken.
    pub fn rejected(error: impl Into<String>, record: Bytes, position: Position) -> Self {
        let payload = Payload::Rejected(Rejected { error: error.into(), record });
        Self { payload, rows: 1, position, resume: None }
    }

    /// Bytes that the block keeps in memory.
    pub fn size_bytes(&self) -> usize {
        match &self.payload {
            Payload::Lines(bytes) => bytes.len(),
            Payload::Rows(rows) => rows.get_array_memory_size(),
            Payload::Rejected(rejected) => rejected.record.len(),
        }
    }
}

impl Position {
    /// The position `records` further on.
    pub fn after(&self, records: u64) -> Self {
        Self { origin: Arc::clone(&self.origin), record: self.record + records }
    }
}

impl fmt::Display for Position {
    /// As an editor would: the origin and the record's number counted from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.record + 1)
    }
}

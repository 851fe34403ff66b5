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
}

/// The records of a block.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Whole records of a line format, each ended by a line feed; the last may lack it.
    Lines(Bytes),
    /// Records of a format that is columnar already.
    Rows(RecordBatch),
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
    /// Bytes that the block keeps in memory.
    pub fn size_bytes(&self) -> usize {
        match &self.payload {
            Payload::Lines(bytes) => bytes.len(),
            Payload::Rows(rows) => rows.get_array_memory_size(),
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

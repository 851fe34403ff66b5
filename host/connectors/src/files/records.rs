//! Reads records that all have the same number of bytes: each is a row of one column, `value`.
//!
//! The column's views point into the bytes as they were read, so that a record costs sixteen bytes of view.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BinaryViewBuilder, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};
use millstream_model::{Block, Payload, Position};

use super::read::{Fault, Reading, Request, read_into};

/// The columns of records.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::BinaryView, false)]))
}

/// Gives the records of `length` bytes that are wanted to `give`, until that wants no more.
pub(super) fn read(
    mut bytes: impl Read,
    origin: &str,
    length: usize,
    request: &Request,
    give: &mut dyn FnMut(Block) -> bool,
) -> Reading {
    let mut cutter = Cutter::new(origin, length, request);
    let ended = loop {
        let read = read_into(&mut bytes, &mut cutter.buffer);
        while let Some(block) = cutter.cut() {
            if !give(block) {
                return Reading { records: cutter.next.record, fault: None };
            }
        }
        match read {
            _ if cutter.is_done() => break Ok(()),
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(fault) => break Err(fault),
        }
    };
    let fault = ended.err().map(|fault| Fault { reason: fault.to_string(), after: cutter.next.record });
    cutter.finish(fault.as_ref()).map(give);
    Reading { records: cutter.next.record, fault }
}

/// The bytes read and not yet cut, and where they stand.
struct Cutter {
    buffer: BytesMut,
    length: usize,
    rows_max: usize,
    /// The records that are wanted: those before are dropped, and cutting ends with the last.
    wanted: Range<u64>,
    next: Position,
}

impl Cutter {
    fn new(origin: &str, length: usize, request: &Request) -> Self {
        Self {
            buffer: BytesMut::new(),
            length,
            rows_max: request.rows_max.max(1),
            wanted: request.records.clone(),
            next: Position { origin: origin.into(), record: 0 },
        }
    }

    fn is_done(&self) -> bool {
        self.next.record >= self.wanted.end
    }

    /// How many of the whole records that were read stand before record number `end`.
    fn whole(&self, end: u64) -> usize {
        let left = usize::try_from(end.saturating_sub(self.next.record)).unwrap_or(usize::MAX);
        left.min(self.buffer.len() / self.length)
    }

    /// The next block of whole records; nothing while none is there.
    fn cut(&mut self) -> Option<Block> {
        let passed = self.whole(self.wanted.start);
        self.buffer.advance(passed * self.length);
        self.next.record += passed as u64;
        let rows = self.whole(self.wanted.end).min(self.rows_max);
        if rows == 0 || self.next.record < self.wanted.start {
            return None;
        }
        let bytes = self.buffer.split_to(rows * self.length).freeze();
        let next = self.next.after(rows as u64);
        let position = std::mem::replace(&mut self.next, next);
        Some(Block { payload: Payload::Rows(self.rows(bytes, rows)), rows, position, resume: None })
    }

    fn rows(&self, bytes: Bytes, rows: usize) -> RecordBatch {
        let mut column = BinaryViewBuilder::with_capacity(rows);
        let block = column.append_block(Buffer::from(bytes));
        let length = u32::try_from(self.length).expect("a record has at most 1 MiB");
        for row in 0..rows {
            let start = u32::try_from(row * self.length).expect("a block is far smaller than 4 GiB");
            column.try_append_view(block, start, length).expect("the block holds the record");
        }
        RecordBatch::try_new(schema(), vec![Arc::new(column.finish())]).expect("one column without nulls")
    }

    /// What is left of a last record that is not whole: the file ended, or broke off by that fault.
    fn finish(&mut self, fault: Option<&Fault>) -> Option<Block> {
        if self.buffer.is_empty() || self.is_done() {
            return None;
        }
        let record = self.buffer.split().freeze();
        let position = self.next.clone();
        self.next.record += 1;
        let (found, length) = (record.len(), self.length);
        let error = match fault {
            Some(fault) => format!("the record is not whole: {}", fault.reason),
            None => format!("the file ends after {found} of the record's {length} bytes"),
        };
        let wanted = position.record >= self.wanted.start;
        wanted.then(|| Block::rejected(error, record, position))
    }
}

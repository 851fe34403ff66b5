//! Cuts the bytes of one origin (a connection, a file) into blocks of whole records.
//!
//! A record ends with a line feed. Whatever the sizes of the reads, the records and their numbers are the
//! same. A block has at most [`BLOCK_BYTES_MAX`] bytes and [`BLOCK_ROWS_MAX`] records, and its bytes are those
//! of the read buffer: they are never copied. A record that is longer than [`RECORD_BYTES_MAX`] is left out,
//! and only its head is kept, in a block of its own, so that memory is bounded whatever comes in. It counts as the
//! one record that it is, so that the same range of records is the same bytes at every reading.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memrchr};
use millstream_model::{Block, DeadLetter, Position};

/// Bytes of a block.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Records of a block.
pub(crate) const BLOCK_ROWS_MAX: usize = 32_768;
/// Bytes of a record with its line feed.
pub(crate) const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX;

/// The bytes read and not yet cut, and where they stand.
pub(crate) struct Cutter {
    buffer: BytesMut,
    /// Bytes at the start of `buffer` that are known to hold no record's end.
    scanned: usize,
    next: Position,
    /// The records that are wanted: those before are passed over, and cutting ends with the last.
    wanted: Range<u64>,
    rows_max: usize,
    /// The head of a record that is too long, while its rest is being skipped.
    oversized: Option<Bytes>,
    /// Whether a record that is passed over has begun and not ended.
    passing: bool,
}

/// The beginning of a record that was read and not cut: all that another cutter needs to go on with its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The number of the record in its origin.
    pub record: u64,
    /// Its bytes so far. Empty, if it is too long.
    pub bytes: Bytes,
    /// The head of the record, if it is too long; its rest is passed over.
    pub oversized: Option<Bytes>,
}

impl Cutter {
    /// Cuts what `origin` gives into blocks of at most `rows_max` records.
    pub(crate) fn new(origin: &str, rows_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            next: Position { origin: origin.into(), record: 0 },
            wanted: 0..u64::MAX,
            rows_max: rows_max.clamp(1, BLOCK_ROWS_MAX),
            oversized: None,
            passing: false,
        }
    }

    /// Goes on where another cutter of the origin was left.
    pub(crate) fn going_on(origin: &str, rows_max: usize, begun: Begun) -> Self {
        let Begun { record, bytes, oversized } = begun;
        Self { buffer: bytes.into(), oversized, ..Self::new(origin, rows_max).starting_at(record) }
    }

    /// What another cutter goes on with. Call it once `cut` gives nothing.
    pub(crate) fn leave(&mut self) -> Begun {
        let bytes = self.buffer.split().freeze();
        Begun { record: self.next.record, bytes, oversized: self.oversized.take() }
    }

    /// For bytes that begin with the origin's record number `record`.
    pub(crate) fn starting_at(mut self, record: u64) -> Self {
        self.next.record = record;
        self
    }

    /// Cuts the records of a range alone.
    pub(crate) fn only(mut self, records: Range<u64>) -> Self {
        self.wanted = records;
        self
    }

    /// The buffer to read into, with room for about `bytes`.
    ///
    /// A quarter of that is enough to go on: asking for all of it every time would leave most of every
    /// allocation unused.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < bytes / 4 {
            self.buffer.reserve(bytes);
        }
        &mut self.buffer
    }

    /// Bytes read and not yet cut.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The number of the next record: how many were cut or passed over.
    pub(crate) fn records(&self) -> u64 {
        self.next.record
    }

    /// Whether all records that are wanted were cut.
    pub(crate) fn is_done(&self) -> bool {
        self.next.record >= self.wanted.end
    }

    /// Whether a record has begun and not ended. Ask once `cut` gives nothing.
    pub(crate) fn is_amid_record(&self) -> bool {
        self.passing || self.oversized.is_some() || !self.buffer.is_empty()
    }

    /// The next block, or a record that is too long; nothing while no whole record is there.
    pub(crate) fn cut(&mut self) -> Option<Block> {
        if self.next.record < self.wanted.start {
            self.pass();
        }
        if self.next.record < self.wanted.start || self.is_done() {
            return None;
        }
        if self.oversized.is_some() {
            return self.skip();
        }
        let window = &self.buffer[..self.buffer.len().min(BLOCK_BYTES_MAX)];
        match memrchr(b'\n', &window[self.scanned..]) {
            Some(last) => Some(self.block(self.scanned + last + 1)),
            None if window.len() < RECORD_BYTES_MAX => {
                self.scanned = window.len();
                None
            }
            None => {
                let head = &window[..DeadLetter::RECORD_BYTES_MAX];
                self.oversized = Some(Bytes::copy_from_slice(head));
                self.skip()
            }
        }
    }

    /// What is left when the origin has ended: a last record that no line feed ends. Call it once `cut` gives nothing.
    pub(crate) fn finish(&mut self) -> Option<Block> {
        if self.passed_last() || self.is_done() {
            return None;
        }
        if let Some(head) = self.oversized.take() {
            return Some(self.too_long(head));
        }
        (!self.buffer.is_empty()).then(|| self.take(self.buffer.len(), 1))
    }

    /// As [`Cutter::finish`], for an origin that broke off: its last record is not known to be whole.
    pub(crate) fn abandon(&mut self, error: &str) -> Option<Block> {
        if self.passed_last() || self.is_done() {
            return None;
        }
        let record = self.oversized.take().unwrap_or_else(|| self.buffer.split().freeze());
        (!record.is_empty()).then(|| self.rejected(record, format!("the record is not whole: {error}")))
    }

    /// Drops whole records that are before the wanted ones. What is left begins with a wanted record, or is nothing.
    fn pass(&mut self) {
        let most = usize::try_from(self.wanted.start - self.next.record).unwrap_or(usize::MAX);
        let ends = memchr_iter(b'\n', &self.buffer).take(most);
        let (end, passed) = ends.fold((0, 0), |(_, passed), at| (at + 1, passed + 1));
        self.next.record += passed;
        self.passing &= passed == 0;
        if self.next.record == self.wanted.start {
            self.buffer.advance(end);
        } else {
            self.passing |= end < self.buffer.len();
            self.buffer.clear();
        }
    }

    /// Counts a last record that is passed over and that no line feed ends; says whether there was one.
    fn passed_last(&mut self) -> bool {
        self.next.record += u64::from(self.passing);
        std::mem::take(&mut self.passing)
    }

    /// A block of the records that end within the first `end` bytes, at least one.
    fn block(&mut self, end: usize) -> Block {
        let left = usize::try_from(self.wanted.end - self.next.record).unwrap_or(usize::MAX);
        let rows_max = self.rows_max.min(left);
        if rows_max == BLOCK_ROWS_MAX {
            let rows = memchr_iter(b'\n', &self.buffer[..end]).count();
            if rows <= rows_max {
                return self.take(end, rows);
            }
        }
        // Small blocks: a walk that ends with the block costs less than counting all that is there.
        let ends = memchr_iter(b'\n', &self.buffer[..end]).take(rows_max);
        let (end, rows) = ends.fold((0, 0), |(_, rows), at| (at + 1, rows + 1));
        self.take(end, rows)
    }

    fn take(&mut self, end: usize, rows: usize) -> Block {
        let position = self.next.clone();
        self.next.record += rows as u64;
        self.scanned = 0;
        Block::lines(self.buffer.split_to(end).freeze(), rows, position)
    }

    /// Drops the bytes of a record that is too long; gives it out when its end is reached.
    fn skip(&mut self) -> Option<Block> {
        self.scanned = 0;
        let Some(end) = memchr(b'\n', &self.buffer) else {
            self.buffer.clear();
            return None;
        };
        self.buffer.advance(end + 1);
        self.oversized.take().map(|head| self.too_long(head))
    }

    fn too_long(&mut self, head: Bytes) -> Block {
        let error =
            format!("the record is longer than {RECORD_BYTES_MAX} bytes; its first {} are kept", head.len());
        self.rejected(head, error)
    }

    fn rejected(&mut self, record: Bytes, error: String) -> Block {
        let position = self.next.clone();
        self.next.record += 1;
        Block::rejected(error, record, position)
    }
}

#[cfg(test)]
mod tests;

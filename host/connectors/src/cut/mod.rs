//! Cuts the bytes of one origin (a connection, a file) into blocks of whole records.
//!
//! A record ends with a line feed. Whatever the sizes of the reads, the records and their numbers are the
//! same. A block has at most [`BLOCK_BYTES_MAX`] bytes and [`BLOCK_ROWS_MAX`] records, and its bytes are those
//! of the read buffer: they are never copied. A record that is longer than [`RECORD_BYTES_MAX`] is skipped,
//! and only its head is kept, so that memory is bounded whatever comes in.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memrchr};
use millstream_model::{Block, DeadLetter, Payload, Position};

/// Bytes of a block.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Records of a block.
pub(crate) const BLOCK_ROWS_MAX: usize = 32_768;
/// Bytes of a record with its line feed.
pub(crate) const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX;

/// What comes out of the bytes that went in.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Whole records.
    Block(Block),
    /// A record that cannot be taken.
    Rejected(Rejected),
}

/// A record that cannot be taken.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Where it stood.
    pub(crate) position: Position,
    /// Why.
    pub(crate) error: String,
    /// Its bytes, or the first of them.
    pub(crate) record: Bytes,
}

/// The bytes read and not yet cut, and where they stand.
pub(crate) struct Cutter {
    buffer: BytesMut,
    /// Bytes at the start of `buffer` that are known to hold no record's end.
    scanned: usize,
    next: Position,
    rows_max: usize,
    /// The head of a record that is too long, while its rest is being skipped.
    oversized: Option<Bytes>,
}

impl Cutter {
    /// Cuts what `origin` gives into blocks of at most `rows_max` records.
    pub(crate) fn new(origin: &str, rows_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            next: Position { origin: origin.into(), record: 0 },
            rows_max: rows_max.clamp(1, BLOCK_ROWS_MAX),
            oversized: None,
        }
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

    /// Records cut so far.
    pub(crate) fn records(&self) -> u64 {
        self.next.record
    }

    /// The next block, or a record that is too long; nothing while no whole record is there.
    pub(crate) fn cut(&mut self) -> Option<Cut> {
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
    pub(crate) fn finish(&mut self) -> Option<Cut> {
        if let Some(head) = self.oversized.take() {
            return Some(self.too_long(head));
        }
        (!self.buffer.is_empty()).then(|| self.take(self.buffer.len(), 1))
    }

    /// As [`Cutter::finish`], for an origin that broke off: its last record is not known to be whole.
    pub(crate) fn abandon(&mut self, error: &str) -> Option<Cut> {
        let record = self.oversized.take().unwrap_or_else(|| self.buffer.split().freeze());
        (!record.is_empty()).then(|| self.rejected(record, format!("the record is not whole: {error}")))
    }

    /// A block of the records that end within the first `end` bytes, at least one.
    fn block(&mut self, end: usize) -> Cut {
        if self.rows_max == BLOCK_ROWS_MAX {
            let rows = memchr_iter(b'\n', &self.buffer[..end]).count();
            if rows <= self.rows_max {
                return self.take(end, rows);
            }
        }
        // Small blocks: a walk that ends with the block costs less than counting all that is there.
        let ends = memchr_iter(b'\n', &self.buffer[..end]).take(self.rows_max);
        let (end, rows) = ends.fold((0, 0), |(_, rows), at| (at + 1, rows + 1));
        self.take(end, rows)
    }

    fn take(&mut self, end: usize, rows: usize) -> Cut {
        let position = self.next.clone();
        self.next.record += rows as u64;
        self.scanned = 0;
        Cut::Block(Block { payload: Payload::Lines(self.buffer.split_to(end).freeze()), rows, position })
    }

    /// Drops the bytes of a record that is too long; gives it out when its end is reached.
    fn skip(&mut self) -> Option<Cut> {
        self.scanned = 0;
        let Some(end) = memchr(b'\n', &self.buffer) else {
            self.buffer.clear();
            return None;
        };
        self.buffer.advance(end + 1);
        self.oversized.take().map(|head| self.too_long(head))
    }

    fn too_long(&mut self, head: Bytes) -> Cut {
        let error =
            format!("the record is longer than {RECORD_BYTES_MAX} bytes; its first {} are kept", head.len());
        self.rejected(head, error)
    }

    fn rejected(&mut self, record: Bytes, error: String) -> Cut {
        let position = self.next.clone();
        self.next.record += 1;
        Cut::Rejected(Rejected { position, error, record })
    }
}

#[cfg(test)]
mod tests;

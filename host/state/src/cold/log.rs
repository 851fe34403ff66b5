//! The records of the cold keys of a shard, in the order in which the keys were seen.
//!
//! ```text
//! ┌───────┬────────────┬──────────────┬─────┬───────┐
//! │ time  │ key length │ state length │ key │ state │ ...
//! │ i64   │ u32        │ u32          │     │       │
//! └───────┴────────────┴──────────────┴─────┴───────┘
//! ```
//!
//! Numbers have their lowest byte first. A record's place is how many bytes were ever before it. Records are appended, and
//! the oldest chunks are let go when nobody needs them; nothing else is ever changed. So a clone, which costs little, stays as it
//! is while the log goes on.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::Arc;

use millstream_model::BatchTime;

use super::file::{CHUNK_BYTES, Chunk, ColdFile};
use crate::StateError;
use crate::keyed::shard::Known;

/// What is in front of a key.
pub(super) const HEAD_BYTES: usize = 16;
/// So much is read where one record is asked for: more than most take.
const GUESS_BYTES: u64 = 256;
/// Whoever looks for keys that time out often finds that the first one does not.
const PIECE_BYTES_MIN: u64 = 4 << 10;

#[derive(Clone, Debug)]
pub(super) struct Log {
    file: Arc<ColdFile>,
    chunks: VecDeque<Arc<Chunk>>,
    /// How many chunks were before the first of these.
    first: u64,
    end: u64,
}

/// Records one after the other, read in pieces that become larger.
#[derive(Debug)]
pub(super) struct Cursor<L> {
    log: L,
    at: u64,
    piece: Vec<u8>,
    piece_at: u64,
}

impl Log {
    pub(super) fn new(file: &Arc<ColdFile>) -> Self {
        Self { file: Arc::clone(file), chunks: VecDeque::new(), first: 0, end: 0 }
    }

    /// One without records in the same file.
    pub(super) fn empty_one(&self) -> Self {
        Self::new(&self.file)
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends records. After an error it is as it was.
    pub(super) fn append(&mut self, mut records: &[u8]) -> Result<(), StateError> {
        let mut added: Vec<Arc<Chunk>> = Vec::new();
        let mut at = self.end;
        while !records.is_empty() {
            let (number, offset) = (at / CHUNK_BYTES - self.first, at % CHUNK_BYTES);
            let known = self.chunks.len() as u64 + added.len() as u64;
            if number == known {
                added.push(Arc::new(self.file.take()));
            }
            let chunk = added.last().or(self.chunks.back()).expect("there is one that is not full");
            let (piece, rest) = records.split_at(records.len().min(as_length(CHUNK_BYTES - offset)));
            chunk.write(offset, piece)?;
            at += piece.len() as u64;
            records = rest;
        }
        self.chunks.extend(added);
        self.end = at;
        Ok(())
    }

    /// Lets go of the chunks that end before a place.
    pub(super) fn forget_before(&mut self, at: u64) {
        let needed = at / CHUNK_BYTES;
        while self.first < needed && self.chunks.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Reads the record at a place, in place of what is in `bytes`.
    pub(super) fn read_record(&self, at: u64, bytes: &mut Vec<u8>) -> Result<(), StateError> {
        let there = self.end.checked_sub(at).ok_or_else(|| self.impossible())?;
        bytes.resize(as_length(there.min(GUESS_BYTES)), 0);
        self.read(at, bytes)?;
        let read = bytes.len();
        let length = self.length(at, bytes)?;
        bytes.resize(length, 0);
        if length > read {
            self.read(at + read as u64, &mut bytes[read..])?;
        }
        Ok(())
    }

    /// All records from a place on.
    pub(super) fn records(&self, at: u64) -> Cursor<&Self> {
        Cursor::new(self, at)
    }

    /// How long the record is that begins with `bytes`.
    fn length(&self, at: u64, bytes: &[u8]) -> Result<usize, StateError> {
        let head = bytes.get(..HEAD_BYTES).ok_or_else(|| self.impossible())?;
        let (key, state) = (u64::from(u32_at(head, 8)), u64::from(u32_at(head, 12)));
        let length = HEAD_BYTES as u64 + key + state;
        if at + length > self.end {
            return Err(self.impossible());
        }
        usize::try_from(length).map_err(|_| self.impossible())
    }

    fn read(&self, mut at: u64, mut bytes: &mut [u8]) -> Result<(), StateError> {
        while !bytes.is_empty() {
            let number = (at / CHUNK_BYTES).checked_sub(self.first).map(as_length);
            let chunk = number.and_then(|number| self.chunks.get(number));
            let chunk = chunk.ok_or_else(|| self.impossible())?;
            let offset = at % CHUNK_BYTES;
            let length = bytes.len().min(as_length(CHUNK_BYTES - offset));
            let (piece, rest) = bytes.split_at_mut(length);
            chunk.read(offset, piece)?;
            at += length as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn impossible(&self) -> StateError {
        self.file.damaged("what was written there is not there any more; start again to recover")
    }
}

impl<L: Borrow<Log>> Cursor<L> {
    pub(super) fn new(log: L, at: u64) -> Self {
        Self { log, at, piece: Vec::new(), piece_at: at }
    }

    /// The next record and its place.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Known<'_>)>, StateError> {
        let Some(length) = self.find()? else { return Ok(None) };
        self.at += length as u64;
        Ok(Some(self.record(self.at - length as u64, length)))
    }

    /// The same, without going on behind it.
    pub(super) fn peek(&mut self) -> Result<Option<(u64, Known<'_>)>, StateError> {
        let Some(length) = self.find()? else { return Ok(None) };
        Ok(Some(self.record(self.at, length)))
    }

    /// Sees to it that the next record is here, if there is one. Gives its length.
    fn find(&mut self) -> Result<Option<usize>, StateError> {
        if self.at >= self.log.borrow().end {
            return Ok(None);
        }
        self.read(HEAD_BYTES)?;
        let length = self.log.borrow().length(self.at, self.here())?;
        self.read(length)?;
        Ok(Some(length))
    }

    fn record(&self, at: u64, length: usize) -> (u64, Known<'_>) {
        let from = as_length(at - self.piece_at);
        (at, parse(&self.piece[from..from + length]))
    }

    /// Sees to it that so many bytes are here.
    fn read(&mut self, length: usize) -> Result<(), StateError> {
        if self.here().len() >= length {
            return Ok(());
        }
        let piece = (2 * self.piece.len() as u64).clamp(PIECE_BYTES_MIN, CHUNK_BYTES);
        let piece = as_length(piece.min(self.log.borrow().end - self.at));
        self.piece.resize(piece.max(length), 0);
        self.piece_at = self.at;
        self.log.borrow().read(self.at, &mut self.piece)
    }

    fn here(&self) -> &[u8] {
        self.piece.get(as_length(self.at - self.piece_at)..).unwrap_or_default()
    }
}

/// Appends a record.
pub(super) fn write(records: &mut Vec<u8>, known: &Known<'_>) {
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len()).expect("what is in a shard is shorter than 4 GiB").to_le_bytes()
    };
    records.extend_from_slice(&known.time.as_ms().to_le_bytes());
    records.extend_from_slice(&length(known.key));
    records.extend_from_slice(&length(known.state));
    records.extend_from_slice(known.key);
    records.extend_from_slice(known.state);
}

/// What a whole record says.
pub(super) fn parse(record: &[u8]) -> Known<'_> {
    let (head, content) = record.split_at(HEAD_BYTES);
    let (key, state) = content.split_at(u32_at(head, 8) as usize);
    let time = i64::from_le_bytes(head[..8].try_into().expect("it has eight bytes"));
    Known { key, state, time: BatchTime::from_ms(time) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("it has four bytes"))
}

fn as_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

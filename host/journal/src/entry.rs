//! What a frame of the write-ahead log holds.
//!
//! ```text
//! 0      1         2        4               8          12      20      28
//! ┌──────┬─────────┬────────┬───────────────┬──────────┬───────┬───────┐
//! │ kind │ padding │ 0      │ source length │ receiver │ first │ rows  │
//! └──────┴─────────┴────────┴───────────────┴──────────┴───────┴───────┘
//! 28       36              40              44
//! ┌────────┬───────────────┬───────────────┬────────┬────────┬────────┬─────────┬─────────┐
//! │ record │ origin length │ resume length │ source │ origin │ resume │ padding │ payload │
//! └────────┴───────────────┴───────────────┴────────┴────────┴────────┴─────────┴─────────┘
//! ```
//!
//! `first` is the number of the first record in its lane, `rows` how many there are; origin and record are the position
//! of the first. A resume length of `0xFFFFFFFF` says that there is none. The padding puts columns where they need not be
//! copied when they are read. The payload is, by kind:
//!
//! - 1, lines: the bytes as they came;
//! - 2, rows: an Arrow IPC stream of one batch, not compressed;
//! - 3, rejected: the length of the error as four bytes, the error, and the record's bytes;
//! - 4, lost: nothing. It stands for records that a repair could not save.
//!
//! Kind 0 is the start of a segment: the kind, and then a JSON list of how far every lane was before it.

use std::str;
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{Block, Lane, Payload, Position, Rejected};
use serde::{Deserialize, Serialize};

use crate::columns;
use crate::frame::{BODY_BYTES_MAX, Body, HEAD_BYTES};
use crate::split::split_off;

const START: u8 = 0;
const LINES: u8 = 1;
const ROWS: u8 = 2;
const REJECTED: u8 = 3;
const LOST: u8 = 4;

const FIXED_BYTES: usize = 44;
const NO_RESUME: u32 = u32::MAX;
/// Columns begin at a multiple of this many bytes from the frame's beginning.
const ALIGNMENT: usize = 64;
/// What is kept of a record that is too large for the log.
const TOO_LARGE_KEPT_BYTES: usize = 64 << 10;

/// What records read as that a repair could not save.
pub(crate) const LOST_ERROR: &str = "lost by damage of the log";

/// What is wrong with an entry.
pub(crate) type Defect = &'static str;

/// How far a lane was when a segment began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Start {
    pub(crate) lane: Lane,
    pub(crate) next: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<Vec<u8>>,
}

/// An entry, with its payload still as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) lane: Lane,
    pub(crate) first: u64,
    pub(crate) rows: u64,
    pub(crate) position: Position,
    pub(crate) resume: Option<Bytes>,
    kind: u8,
    payload: Bytes,
}

impl Entry {
    /// The number of the record behind it.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.rows
    }

    /// An entry that stands for records that are lost.
    pub(crate) fn lost(lane: &Lane, first: u64, rows: u64) -> Self {
        let position = Position { origin: lane.to_string().into(), record: first };
        Self { lane: lane.clone(), first, rows, position, resume: None, kind: LOST, payload: Bytes::new() }
    }

    /// Its bytes, as one piece and the payload.
    pub(crate) fn encode(&self) -> Body {
        let mut body = Body::default();
        body.push(envelope(self, self.kind == ROWS));
        body.push(self.payload.clone());
        body
    }

    /// The entry in the body of a frame; the payload is not looked at.
    pub(crate) fn decode(body: &Bytes) -> Result<Self, Defect> {
        let mut left = Cursor(body.clone());
        let kind = left.u8()?;
        let padding = left.u8()?;
        left.take(2)?;
        let (source_length, receiver) = (left.u32()?, left.u32()?);
        let (first, rows, record) = (left.u64()?, left.u64()?, left.u64()?);
        let (origin_length, resume_length) = (left.u32()?, left.u32()?);
        let source = left.text(source_length)?;
        let origin = left.text(origin_length)?;
        let resume = match resume_length {
            NO_RESUME => None,
            length => Some(left.take(length as usize)?),
        };
        left.take(padding.into())?;
        if !(LINES..=LOST).contains(&kind) {
            return Err("an entry is of no known kind");
        }
        if first.checked_add(rows).is_none() || record.checked_add(rows).is_none() {
            return Err("an entry's records have impossible numbers");
        }
        let lane = Lane { source: str_of(&source).to_owned(), receiver };
        let position = Position { origin: Arc::from(str_of(&origin)), record };
        Ok(Self { lane, first, rows, position, resume, kind, payload: left.0 })
    }

    /// The records.
    pub(crate) fn block(self) -> Result<Block, Defect> {
        let rows = usize::try_from(self.rows).map_err(|_| "an entry has more records than fit in memory")?;
        let payload = match self.kind {
            LINES => Payload::Lines(self.payload),
            ROWS => Payload::Rows(columns::decode(self.payload)?),
            REJECTED => Payload::Rejected(decode_rejected(self.payload)?),
            _ => Payload::Rejected(Rejected { error: LOST_ERROR.to_owned(), record: Bytes::new() }),
        };
        let counted = match &payload {
            Payload::Lines(bytes) => rows <= bytes.len(),
            Payload::Rows(batch) => batch.num_rows() == rows,
            Payload::Rejected(_) => rows == 1 || self.kind == LOST,
        };
        match counted {
            true => Ok(Block { payload, rows, position: self.position, resume: self.resume }),
            false => Err("an entry has another number of records than it says"),
        }
    }
}

/// A block's entries, each with the records that are in it: one, unless it is larger than a frame may be.
/// A single record that is larger becomes a dead letter.
pub(crate) fn encode_block(lane: &Lane, first: u64, block: &Block) -> Vec<(Entry, Body)> {
    let mut entries = Vec::with_capacity(1);
    let mut left = vec![(first, block.clone())];
    while let Some((first, mut block)) = left.pop() {
        let (entry, body) = encode_whole(lane, first, &block);
        if body.len() <= BODY_BYTES_MAX {
            entries.push((entry, body));
        } else if block.rows > 1 {
            let half = block.rows / 2;
            let rest = split_off(&mut block, half);
            left.push((first + half as u64, rest));
            left.push((first, block));
        } else {
            left.push((first, too_large(block)));
        }
    }
    entries
}

/// The body that begins a segment.
pub(crate) fn encode_start(lanes: &[Start]) -> Body {
    let mut bytes = vec![START];
    serde_json::to_writer(&mut bytes, lanes).expect("numbers and names can be written as JSON into memory");
    Bytes::from(bytes).into()
}

/// The lanes in the body that begins a segment.
pub(crate) fn decode_start(body: &[u8]) -> Result<Vec<Start>, Defect> {
    match body.split_first() {
        Some((&START, json)) => serde_json::from_slice(json).map_err(|_| "a segment's start cannot be read"),
        _ => Err("a segment does not begin with its start"),
    }
}

fn encode_whole(lane: &Lane, first: u64, block: &Block) -> (Entry, Body) {
    let (kind, parts) = match &block.payload {
        Payload::Lines(bytes) => (LINES, vec![bytes.clone()]),
        Payload::Rows(batch) => (ROWS, columns::encode(batch)),
        Payload::Rejected(rejected) => (REJECTED, encode_rejected(rejected)),
    };
    let entry = Entry {
        lane: lane.clone(),
        first,
        rows: block.rows as u64,
        position: block.position.clone(),
        resume: block.resume.clone(),
        kind,
        payload: Bytes::new(),
    };
    let mut body = Body::default();
    body.push(envelope(&entry, kind == ROWS));
    for part in parts {
        body.push(part);
    }
    (entry, body)
}

/// All of an entry that comes before its payload.
fn envelope(entry: &Entry, aligned: bool) -> Bytes {
    let (source, origin) = (entry.lane.source.as_bytes(), entry.position.origin.as_bytes());
    let resume = entry.resume.as_deref();
    let length = FIXED_BYTES + source.len() + origin.len() + resume.map_or(0, <[u8]>::len);
    let padded =
        if aligned { (HEAD_BYTES + length).next_multiple_of(ALIGNMENT) - HEAD_BYTES } else { length };
    let padding = u8::try_from(padded - length).expect("padding is less than the alignment");
    let mut bytes = Vec::with_capacity(padded);
    bytes.extend_from_slice(&[entry.kind, padding, 0, 0]);
    bytes.extend_from_slice(&length_of(source).to_le_bytes());
    bytes.extend_from_slice(&entry.lane.receiver.to_le_bytes());
    bytes.extend_from_slice(&entry.first.to_le_bytes());
    bytes.extend_from_slice(&entry.rows.to_le_bytes());
    bytes.extend_from_slice(&entry.position.record.to_le_bytes());
    bytes.extend_from_slice(&length_of(origin).to_le_bytes());
    bytes.extend_from_slice(&resume.map_or(NO_RESUME, length_of).to_le_bytes());
    bytes.extend_from_slice(source);
    bytes.extend_from_slice(origin);
    bytes.extend_from_slice(resume.unwrap_or_default());
    bytes.resize(padded, 0);
    bytes.into()
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("names and positions are far shorter than 4 GiB")
}

fn encode_rejected(rejected: &Rejected) -> Vec<Bytes> {
    let error = rejected.error.as_bytes();
    let mut bytes = Vec::with_capacity(4 + error.len());
    bytes.extend_from_slice(&length_of(error).to_le_bytes());
    bytes.extend_from_slice(error);
    vec![bytes.into(), rejected.record.clone()]
}

fn decode_rejected(payload: Bytes) -> Result<Rejected, Defect> {
    let mut left = Cursor(payload);
    let length = left.u32()?;
    let error = left.text(length)?;
    Ok(Rejected { error: str_of(&error).to_owned(), record: left.0 })
}

/// The dead letter that stands for a record which is larger than a frame may be.
fn too_large(block: Block) -> Block {
    let bytes = block.size_bytes();
    let record = match block.payload {
        Payload::Lines(bytes) => bytes,
        Payload::Rejected(rejected) => rejected.record,
        Payload::Rows(_) => Bytes::new(),
    };
    // Copied, so that the large record is not kept in memory for the sake of its beginning.
    let record = Bytes::copy_from_slice(&record[..record.len().min(TOO_LARGE_KEPT_BYTES)]);
    let error = format!("a record of {bytes} bytes is too large for the write-ahead log");
    let resume = block.resume.filter(|resume| resume.len() <= TOO_LARGE_KEPT_BYTES);
    Block { resume, ..Block::rejected(error, record, block.position) }
}

/// The text of bytes that [`Cursor::text`] has checked.
fn str_of(bytes: &Bytes) -> &str {
    str::from_utf8(bytes).expect("was checked when it was taken")
}

/// What is left to read.
struct Cursor(Bytes);

impl Cursor {
    fn take(&mut self, length: usize) -> Result<Bytes, Defect> {
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err("an entry is cut short"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        Ok(self.take(N)?[..].try_into().expect("as many bytes were taken"))
    }

    fn u8(&mut self) -> Result<u8, Defect> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Defect> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Defect> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, length: u32) -> Result<Bytes, Defect> {
        let bytes = self.take(length as usize)?;
        match str::from_utf8(&bytes) {
            Ok(_) => Ok(bytes),
            Err(_) => Err("a name in an entry is not UTF-8"),
        }
    }
}

//! Records of the state log, to and from the bodies of frames.

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_model::BatchTime;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Operations, StateStart, StoredTable};
use crate::columns;
use crate::frame::{BODY_BYTES_MAX, Body, HEAD_BYTES};

const START: u8 = 0;
const TABLES: u8 = 1;
const KEYED: u8 = 2;
const PANE: u8 = 3;
const EXPIRE: u8 = 4;

const FIXED_BYTES: usize = 16;
const SECTION_BYTES: usize = 8;
/// A record of keys that is this long is followed by another.
const RECORD_BYTES: usize = 8 << 20;
/// The longest operation there may be.
const OPERATION_BYTES_MAX: usize = BODY_BYTES_MAX - 2 * RECORD_BYTES;
/// Columns begin at a multiple of this many bytes from the frame's beginning.
const ALIGNMENT: usize = 64;

type Defect = &'static str;

/// One record of the log, with its rows still as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateRecord {
    /// Tables come and go.
    Tables {
        /// Those that come.
        created: Vec<StoredTable>,
        /// The numbers of those that go.
        dropped: Vec<u32>,
    },
    /// Something happens to keys.
    Keyed {
        /// The table's number.
        table: u32,
        /// The batch.
        time: BatchTime,
        /// Shards, and the bytes of the operations on each: for [`Operations::read`].
        shards: Vec<(u32, Bytes)>,
    },
    /// A batch's rows are in the log here: for [`super::StateFiles::read_pane`].
    Pane {
        /// The table's number.
        table: u32,
        /// The batch.
        time: BatchTime,
    },
    /// Panes go.
    Expire {
        /// The table's number.
        table: u32,
        /// Those before this one go.
        before: BatchTime,
    },
}

/// Something that does not fit into a record of the log.
#[derive(Clone, Debug, Error)]
pub enum Oversized {
    /// A key with its state, or a row.
    #[error("a row or a key with its state takes {bytes} bytes, and at most {bytes_max} can be written")]
    Row {
        /// What it takes.
        bytes: usize,
        /// What it may take.
        bytes_max: usize,
    },
    /// Columns of a type that the format of the log has no form for.
    #[error("the columns cannot be written: {0}")]
    Type(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tables {
    created: Vec<StoredTable>,
    dropped: Vec<u32>,
}

/// A batch's records, ready to be written.
#[derive(Debug, Default)]
pub struct StateRecords {
    pub(super) bodies: Vec<Body>,
    /// Which of them are rows of panes, and of which.
    pub(super) panes: Vec<(usize, u32, BatchTime)>,
}

impl StateRecords {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Tables come and go.
    pub fn tables(&mut self, created: Vec<StoredTable>, dropped: Vec<u32>) {
        let json = to_json(&Tables { created, dropped });
        self.push(head(TABLES, 0, 0, BatchTime::default()), json);
    }

    /// Something happens to keys: for each shard, by its number, the operations.
    ///
    /// # Errors
    /// Where one operation alone is too large. Some of the others may be among the records already.
    pub fn keyed<'a>(
        &mut self,
        table: u32,
        time: BatchTime,
        shards: impl Iterator<Item = (u32, &'a Operations)>,
    ) -> Result<(), Oversized> {
        let mut content = Vec::new();
        let pieces = shards.flat_map(|(shard, operations)| {
            operations.pieces(RECORD_BYTES).into_iter().map(move |piece| (shard, piece))
        });
        for (shard, piece) in pieces.filter(|(_, piece)| !piece.is_empty()) {
            if piece.len() > OPERATION_BYTES_MAX {
                return Err(Oversized::Row { bytes: piece.len(), bytes_max: OPERATION_BYTES_MAX });
            }
            let length = u32::try_from(piece.len()).expect("it was limited above");
            content.extend_from_slice(&shard.to_le_bytes());
            content.extend_from_slice(&length.to_le_bytes());
            content.extend_from_slice(piece);
            if content.len() >= RECORD_BYTES {
                self.push(head(KEYED, 0, table, time), std::mem::take(&mut content));
            }
        }
        if !content.is_empty() {
            self.push(head(KEYED, 0, table, time), content);
        }
        Ok(())
    }

    /// Rows of a pane, in as many records as they take.
    ///
    /// # Errors
    /// Where a row alone is too large, or its type cannot be written.
    pub fn pane(&mut self, table: u32, time: BatchTime, rows: &RecordBatch) -> Result<(), Oversized> {
        let mut left = vec![rows.clone()];
        while let Some(rows) = left.pop() {
            let encoded = columns::try_encode(&rows);
            let parts = encoded.map_err(|error| Oversized::Type(error.to_string()))?;
            let bytes = parts.iter().map(Bytes::len).sum::<usize>() + FIXED_BYTES + ALIGNMENT;
            if bytes <= BODY_BYTES_MAX {
                self.pane_record(table, time, parts);
            } else if rows.num_rows() > 1 {
                let half = rows.num_rows() / 2;
                left.push(rows.slice(half, rows.num_rows() - half));
                left.push(rows.slice(0, half));
            } else {
                return Err(Oversized::Row { bytes, bytes_max: BODY_BYTES_MAX });
            }
        }
        Ok(())
    }

    /// Panes before a time go.
    pub fn expire(&mut self, table: u32, before: BatchTime) {
        self.push(head(EXPIRE, 0, table, before), Vec::new());
    }

    fn pane_record(&mut self, table: u32, time: BatchTime, parts: Vec<Bytes>) {
        let beginning = HEAD_BYTES + FIXED_BYTES;
        let padding = beginning.next_multiple_of(ALIGNMENT) - beginning;
        let mut body = Body::default();
        let marked = u8::try_from(padding).expect("padding is less than the alignment");
        let mut first = head(PANE, marked, table, time);
        first.resize(FIXED_BYTES + padding, 0);
        body.push(first.into());
        for part in parts {
            body.push(part);
        }
        self.panes.push((self.bodies.len(), table, time));
        self.bodies.push(body);
    }

    fn push(&mut self, head: Vec<u8>, content: Vec<u8>) {
        let mut body = Body::default();
        body.push(head.into());
        body.push(content.into());
        self.bodies.push(body);
    }
}

/// The body that begins a segment.
pub(super) fn encode_start(start: &StateStart) -> Body {
    let mut bytes = head(START, 0, 0, BatchTime::default());
    bytes.extend(to_json(start));
    Bytes::from(bytes).into()
}

/// What a segment begins with.
pub(super) fn decode_start(body: &Bytes) -> Result<StateStart, Defect> {
    match split(body)? {
        (START, _, _, _, json) => {
            serde_json::from_slice(&json).map_err(|_| "a segment's start cannot be read")
        }
        _ => Err("a segment does not begin with its start"),
    }
}

/// The record in a frame that is not the first.
pub(super) fn decode(body: &Bytes) -> Result<StateRecord, Defect> {
    let (kind, _, table, time, content) = split(body)?;
    match kind {
        TABLES => {
            let parsed = serde_json::from_slice(&content);
            let Tables { created, dropped } = parsed.map_err(|_| "a list of tables cannot be read")?;
            Ok(StateRecord::Tables { created, dropped })
        }
        KEYED => Ok(StateRecord::Keyed { table, time, shards: sections(content)? }),
        PANE => Ok(StateRecord::Pane { table, time }),
        EXPIRE => Ok(StateRecord::Expire { table, before: time }),
        _ => Err("a record is of no known kind"),
    }
}

/// The rows in the frame of a pane.
pub(super) fn decode_pane(body: &Bytes, table: u32, time: BatchTime) -> Result<RecordBatch, Defect> {
    match split(body)? {
        (PANE, padding, of, at, mut content) if (of, at) == (table, time) => {
            if content.len() < usize::from(padding) {
                return Err("a pane's record is cut short");
            }
            columns::decode(content.split_off(padding.into())).map_err(|_| "a pane's columns cannot be read")
        }
        _ => Err("another record is here than the pane that was written"),
    }
}

fn split(body: &Bytes) -> Result<(u8, u8, u32, BatchTime, Bytes), Defect> {
    let (fixed, _) = body.split_first_chunk::<FIXED_BYTES>().ok_or("a record is cut short")?;
    let [kind, padding, _, _, t0, t1, t2, t3, time @ ..] = *fixed;
    let table = u32::from_le_bytes([t0, t1, t2, t3]);
    Ok((kind, padding, table, BatchTime::from_ms(i64::from_le_bytes(time)), body.slice(FIXED_BYTES..)))
}

fn sections(mut content: Bytes) -> Result<Vec<(u32, Bytes)>, Defect> {
    let mut sections = Vec::new();
    while !content.is_empty() {
        let (fixed, rest) = content.split_first_chunk::<SECTION_BYTES>().ok_or("a section is cut short")?;
        let [s0, s1, s2, s3, l0, l1, l2, l3] = *fixed;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if rest.len() < length {
            return Err("a section is cut short");
        }
        let mut section = content.split_to(SECTION_BYTES + length);
        sections.push((u32::from_le_bytes([s0, s1, s2, s3]), section.split_off(SECTION_BYTES)));
    }
    Ok(sections)
}

fn head(kind: u8, padding: u8, table: u32, time: BatchTime) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED_BYTES);
    bytes.extend_from_slice(&[kind, padding, 0, 0]);
    bytes.extend_from_slice(&table.to_le_bytes());
    bytes.extend_from_slice(&time.as_ms().to_le_bytes());
    bytes
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers and names can be written as JSON into memory")
}

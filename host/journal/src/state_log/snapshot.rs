//! Snapshot files.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{StateEnd, StateFiles};
use crate::JournalError;
use crate::frame::{self, Body, Frames, HEAD_BYTES, HEADER_BYTES};
use crate::segment::first_frames;

/// Bytes of a part that go into one frame.
const FRAME_BYTES: usize = 16 << 20;

/// What a snapshot file says of one shard that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotPart {
    /// The table's number.
    pub table: u32,
    /// The shard's number.
    pub shard: u32,
    /// The shard is as all records before this place made it.
    pub as_of: StateEnd,
    /// The time of the first entry is so much later than this.
    pub since_ms: i64,
    /// How many entries there are.
    pub keys: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

/// A shard as it was, with its entries as [`super::Operation::Entry`] in the order of their times.
#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    /// What it is.
    pub part: SnapshotPart,
    /// The bytes of its entries: for [`super::Operations::read`].
    pub entries: Bytes,
}

impl StateFiles {
    /// The numbers of the snapshot files there are, rising.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn snapshot_numbers(&self) -> Result<Vec<u64>, JournalError> {
        self.snapshots.numbers().await
    }

    /// Which shards are in a snapshot file.
    ///
    /// # Errors
    /// `Damaged` where that cannot be told, and `Newer`.
    pub async fn snapshot_parts(&self, number: u64) -> Result<Vec<SnapshotPart>, JournalError> {
        let at = HEADER_BYTES as u64;
        let damaged = |what| self.snapshots.damaged(number, at, what);
        let beginning = self.snapshots.read_at(number, 0, HEADER_BYTES).await?;
        self.snapshots.check_header(number, &beginning)?;
        let head = self.snapshots.read_at(number, at, HEAD_BYTES).await?;
        let head = frame::check_head(number, at, &head).map_err(damaged)?;
        let bytes = self.snapshots.read_at(number, at, HEAD_BYTES + head.length).await?;
        let frame = frame::parse(number, at, &bytes).map_err(|tear| damaged(tear.what))?;
        serde_json::from_slice(&frame.body).map_err(|_| damaged("its list of shards cannot be read"))
    }

    /// All that is in a snapshot file.
    ///
    /// # Errors
    /// `Damaged` where it is not as it was written, and `Newer`.
    pub async fn read_snapshot(&self, number: u64) -> Result<Vec<ShardSnapshot>, JournalError> {
        let damaged = |offset, what: &str| self.snapshots.damaged(number, offset, what);
        let file = self.snapshots.read(number).await?;
        self.snapshots.check_header(number, &file)?;
        let mut frames = Frames::new(number, file);
        let parts: Vec<SnapshotPart> = serde_json::from_slice(&self.next_body(number, &mut frames)?)
            .map_err(|_| damaged(HEADER_BYTES as u64, "its list of shards cannot be read"))?;
        let mut snapshots = Vec::with_capacity(parts.len());
        for part in parts {
            let mut pieces = Vec::new();
            let mut left = part.bytes;
            while left > 0 {
                let offset = frames.offset();
                let piece = self.next_body(number, &mut frames)?;
                let rest = left.checked_sub(piece.len() as u64).filter(|rest| *rest < left);
                left = rest.ok_or_else(|| damaged(offset, "a shard has another length than it says"))?;
                pieces.push(piece);
            }
            snapshots.push(ShardSnapshot { part, entries: joined(pieces) });
        }
        match frames.next() {
            Some(_) => Err(damaged(frames.offset(), "there is more in it than it says")),
            None => Ok(snapshots),
        }
    }

    /// Writes a snapshot file, so that it is on disk under its name when this returns.
    ///
    /// # Errors
    /// `Full`, and nothing was changed.
    pub async fn write_snapshot(&self, number: u64, shards: &[ShardSnapshot]) -> Result<(), JournalError> {
        let parts: Vec<SnapshotPart> = shards.iter().map(|shard| shard.part).collect();
        let json = serde_json::to_vec(&parts).expect("numbers can be written as JSON into memory");
        let mut bodies = vec![Body::from(Bytes::from(json))];
        for shard in shards {
            let mut left = shard.entries.clone();
            while !left.is_empty() {
                bodies.push(left.split_to(left.len().min(FRAME_BYTES)).into());
            }
        }
        let (buffers, bytes) = first_frames(number, &bodies);
        self.snapshots.replace(number, buffers).await?;
        self.sizes().snapshots.insert(number, bytes);
        Ok(())
    }

    /// Removes snapshot files; one that is not there is none the less removed.
    ///
    /// # Errors
    /// `Disk` where a file cannot be removed.
    pub async fn remove_snapshots(&self, numbers: &[u64]) -> Result<(), JournalError> {
        for number in numbers {
            self.snapshots.remove(&self.snapshots.file(*number)).await?;
            self.sizes().snapshots.remove(number);
        }
        if numbers.is_empty() { Ok(()) } else { self.snapshots.sync().await }
    }

    fn next_body(&self, number: u64, frames: &mut Frames) -> Result<Bytes, JournalError> {
        let end = frames.offset();
        let early = || self.snapshots.damaged(number, end, "it ends too early");
        let frame = frames.next().ok_or_else(early)?;
        frame.map(|frame| frame.body).map_err(|tear| self.snapshots.damaged(number, tear.offset, tear.what))
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in &pieces {
        all.extend_from_slice(piece);
    }
    all.freeze()
}

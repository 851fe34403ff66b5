//! Batches that wait for a sink which cannot stage them itself: a file for each, from before its commit until the sink has
//! taken it.
//!
//! A file is a header, whose number is the batch's time, and a frame for each part: how many rows it has and how many parts
//! the batch has, four bytes each, and 36 bytes of nothing, behind which the columns need not be copied when they are read;
//! then an Arrow IPC stream of one batch. A file appears whole or not at all, and is never changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_model::BatchTime;
use millstream_platform::Disk;

use crate::JournalError;
use crate::columns;
use crate::frame::{self, BODY_BYTES_MAX, Body, HEAD_BYTES, HEADER_BYTES, Kind};
use crate::segment::{self, Folder};

/// What stands before the columns of a part. With the head of its frame it is as long as columns are aligned.
const PREFIX_BYTES: usize = 64 - HEAD_BYTES;

/// The batches that wait for one sink. Clones are the same.
#[derive(Clone, Debug)]
pub struct Outbox {
    folder: Folder,
    /// Whether what an earlier process did to the folder is on disk: until then, a file that is gone may come back.
    is_settled: Arc<AtomicBool>,
}

/// A batch in the outbox.
#[derive(Clone, Debug)]
pub struct OutboxBatch {
    number: u64,
    /// Where each part begins, and its length.
    parts: Vec<(u64, usize)>,
}

impl Outbox {
    /// The outbox of a sink in the checkpoint folder.
    pub fn new(disk: Arc<dyn Disk>, checkpoint: &Path, sink: &str) -> Self {
        let path = checkpoint.join(Kind::Outbox.extension()).join(sink);
        Self { folder: Folder { disk, path, kind: Kind::Outbox }, is_settled: Arc::default() }
    }

    /// The sinks that have an outbox in the checkpoint folder.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn sinks(disk: &Arc<dyn Disk>, checkpoint: &Path) -> Result<Vec<String>, JournalError> {
        Folder::new(disk, checkpoint, Kind::Outbox).names().await
    }

    /// The batches that wait, by their numbers.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn batches(&self) -> Result<Vec<BatchTime>, JournalError> {
        let numbers = self.folder.numbers().await?;
        Ok(numbers.into_iter().map(|number| BatchTime::from_ms(number.cast_signed())).collect())
    }

    /// The file of a batch.
    pub fn file(&self, time: BatchTime) -> PathBuf {
        self.folder.file(number(time))
    }

    /// Puts a batch of one part at least into the outbox, in place of one of its time. It is on disk when this returns.
    ///
    /// # Errors
    /// `Full`, and nothing was changed; `Disk`; `TooLarge` where a part is.
    pub async fn put(&self, time: BatchTime, parts: &[RecordBatch]) -> Result<(), JournalError> {
        let number = number(time);
        let count = u32::try_from(parts.len()).expect("a batch has a bounded number of parts");
        let bodies = parts.iter().map(|rows| body(rows, count)).collect::<Result<Vec<_>, _>>()?;
        segment::make_folder(self.folder.disk.as_ref(), &self.folder.path).await?;
        let (buffers, _) = segment::first_frames(number, &bodies);
        self.folder.replace(number, buffers).await
    }

    /// A batch, if it is in the outbox.
    ///
    /// # Errors
    /// `Damaged` where its file is not as it was written, `Newer`, and `Disk`.
    pub async fn open(&self, time: BatchTime) -> Result<Option<OutboxBatch>, JournalError> {
        let number = number(time);
        let length = match self.folder.length(number).await {
            Err(error) if error.is_missing_file() => return Ok(None),
            length => length?,
        };
        let damaged = |offset, what| self.folder.damaged(number, offset, what);
        let header = self.folder.read_at(number, 0, HEADER_BYTES).await?;
        self.folder.check_header(number, &header)?;
        let mut parts = Vec::new();
        let mut offset = HEADER_BYTES as u64;
        while offset < length {
            let head = self.folder.read_at(number, offset, HEAD_BYTES).await?;
            let head = frame::check_head(number, offset, &head).map_err(|what| damaged(offset, what))?;
            let bytes = HEAD_BYTES + head.length;
            parts.push((offset, bytes));
            offset += bytes as u64;
        }
        // A file is renamed when it is whole: one that ends early or late was changed. Each part knows how many there are.
        match offset == length && !parts.is_empty() {
            true => Ok(Some(OutboxBatch { number, parts })),
            false => Err(damaged(length, "it ends within a part")),
        }
    }

    /// A part of a batch, counted from 0.
    ///
    /// # Errors
    /// `Damaged` where it is not as it was written or not there, and `Disk`.
    pub async fn read(&self, batch: &OutboxBatch, part: u32) -> Result<RecordBatch, JournalError> {
        let damaged = |offset, what| self.folder.damaged(batch.number, offset, what);
        let place = batch.parts.get(part as usize);
        let &(offset, length) = place.ok_or_else(|| damaged(0, "it has fewer parts than were asked for"))?;
        let bytes = self.folder.read_at(batch.number, offset, length).await?;
        let frame = frame::parse(batch.number, offset, &bytes).map_err(|tear| damaged(offset, tear.what))?;
        rows(frame.body, batch.parts.len()).map_err(|what| damaged(offset, what))
    }

    /// Removes a batch, if it is in the outbox: no crash brings it back.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn remove(&self, time: BatchTime) -> Result<(), JournalError> {
        let is_there = match self.folder.length(number(time)).await {
            Err(error) if error.is_missing_file() => false,
            length => length.map(|_| true)?,
        };
        if !is_there && self.is_settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.folder.remove(&self.folder.file(number(time))).await?;
        match self.folder.sync().await {
            // There is no folder: nothing was ever put into it.
            Err(error) if error.is_missing_file() => {}
            synced => synced?,
        }
        self.is_settled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes a batch and all before it, and what a crash left of them. A crash may bring some back. Later ones may be put
    /// meanwhile.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn remove_through(&self, time: BatchTime) -> Result<(), JournalError> {
        let last = number(time);
        for number in self.folder.numbers().await?.into_iter().filter(|staged| *staged <= last) {
            self.folder.remove(&self.folder.file(number)).await?;
        }
        self.folder.remove_temporaries_through(last).await
    }
}

impl OutboxBatch {
    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }
}

/// Batches before 1970 are of tests alone; each has a number none the less.
fn number(time: BatchTime) -> u64 {
    time.as_ms().cast_unsigned()
}

fn body(rows: &RecordBatch, parts: u32) -> Result<Body, JournalError> {
    let count = u32::try_from(rows.num_rows()).expect("a part has a bounded number of rows");
    let mut prefix = vec![0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&count.to_le_bytes());
    prefix[4..8].copy_from_slice(&parts.to_le_bytes());
    let mut body = Body::from(Bytes::from(prefix));
    columns::encode(rows).into_iter().for_each(|piece| body.push(piece));
    match body.len() <= BODY_BYTES_MAX {
        true => Ok(body),
        false => Err(JournalError::TooLarge { bytes: body.len(), bytes_max: BODY_BYTES_MAX }),
    }
}

fn rows(mut body: Bytes, parts: usize) -> Result<RecordBatch, &'static str> {
    if body.len() < PREFIX_BYTES {
        return Err("a part is cut short");
    }
    let prefix = body.split_to(PREFIX_BYTES);
    let number = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes")) as usize;
    if number(4) != parts {
        return Err("it has another number of parts than it says");
    }
    let rows = columns::decode(body)?;
    match rows.num_rows() == number(0) {
        true => Ok(rows),
        false => Err("a part has another number of rows than it says"),
    }
}

//! The files of a generation of states: reading them, cutting what was never real, and removing what nobody needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_model::BatchTime;
use millstream_platform::Disk;

use super::record::{decode, decode_pane, decode_start};
use super::{Place, StateEnd, StateLog, StateRecord, StateStart, generation};
use crate::JournalError;
use crate::frame::{self, Frame, Frames, HEADER_BYTES, Kind, Tear};
use crate::segment::{self, Folder};

/// The files of a generation of states in a checkpoint folder: its log and its snapshots. Clones are the same ones.
///
/// Until [`StateFiles::settle`] they are only read.
#[derive(Clone, Debug)]
pub struct StateFiles {
    pub(super) generation: u32,
    pub(super) log: Folder,
    pub(super) snapshots: Folder,
    sizes: Arc<Mutex<Sizes>>,
}

/// How long the files are, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) log: BTreeMap<u64, u64>,
    pub(super) snapshots: BTreeMap<u64, u64>,
}

/// A segment of the state log that was read and is whole.
#[derive(Debug)]
pub struct StateSegment {
    /// What was before it.
    pub start: StateStart,
    number: u64,
    end: u64,
    frames: Vec<Frame>,
    folder: Folder,
}

impl StateFiles {
    /// Those of one generation in a checkpoint folder.
    pub fn new(disk: &Arc<dyn Disk>, checkpoint: &Path, generation: u32) -> Self {
        let log = Folder::at(disk, generation::folder(checkpoint, generation), Kind::State);
        let snapshots = Folder { kind: Kind::Snapshot, ..log.clone() };
        Self { generation, log, snapshots, sizes: Arc::default() }
    }

    /// Which generation it is.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.log.path
    }

    /// A place in the log.
    pub fn place(&self, segment: u64, offset: u64) -> StateEnd {
        StateEnd { generation: self.generation, segment, offset }
    }

    /// Reads a segment: up to the offset `end`, where it names a segment that may go on behind it, or to the file's end.
    ///
    /// # Errors
    /// `Damaged` where that much is not there as it was written, and `Newer`.
    pub async fn read_segment(&self, number: u64, end: Option<u64>) -> Result<StateSegment, JournalError> {
        let file = self.read_present(number).await?;
        self.log.check_header(number, &file)?;
        let length = usize::try_from(end.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        if end.is_some() && file.len() < length {
            let what = format!("it ends here, and the last commit needs {length} bytes of it");
            return Err(self.log.damaged(number, file.len() as u64, what));
        }
        let file = file.slice(..length.min(file.len()));
        let mut frames = Vec::new();
        for frame in Frames::new(number, file) {
            frames.push(frame.map_err(|tear| self.torn(number, &tear))?);
        }
        let Some((first, _)) = frames.split_first() else {
            return Err(self.log.damaged(number, HEADER_BYTES as u64, "it has no start"));
        };
        let start = decode_start(&first.body);
        let start = start.map_err(|what| self.log.damaged(number, first.offset, what))?;
        let end = frames.last().map_or(HEADER_BYTES as u64, Frame::end);
        frames.remove(0);
        Ok(StateSegment { start, number, end, frames, folder: self.log.clone() })
    }

    /// The rows in a frame of a pane.
    ///
    /// # Errors
    /// `Damaged` where they are not there as they were written.
    pub async fn read_pane(
        &self,
        table: u32,
        time: BatchTime,
        place: &Place,
    ) -> Result<RecordBatch, JournalError> {
        let Place { segment: number, offset, length } = *place;
        let damaged = |what| self.log.damaged(number, offset, what);
        let length = usize::try_from(length).ok().filter(|length| *length <= frame::FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| damaged("a pane is said to be longer than any may be"))?;
        let bytes = self.log.read_at(number, offset, length).await;
        let bytes = bytes.map_err(|error| self.said_missing(number, error))?;
        let frame = frame::parse(number, offset, &bytes).map_err(|tear| damaged(tear.what))?;
        decode_pane(&frame.body, table, time).map_err(damaged)
    }

    /// Whether the log has lost its beginning: that is removed only when there were several commits with states, as is
    /// the folder of the first generation.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn has_lost_beginning(&self) -> Result<bool, JournalError> {
        match self.log.numbers().await?.first() {
            Some(first) => Ok(*first > 1),
            None if self.snapshots.numbers().await?.is_empty() => self.is_lost().await,
            None => Ok(true),
        }
    }

    /// Makes `end` the log's end, durably: cuts off what is behind it, and removes snapshots of what is behind it, `future`
    /// by their numbers. Gives the log, to go on from there.
    ///
    /// # Errors
    /// `Full` and `Disk`: it can be done again.
    pub async fn settle(
        self,
        end: Option<StateEnd>,
        future: &[u64],
        segment_bytes: u64,
    ) -> Result<(Self, StateLog), JournalError> {
        segment::make_folder(self.log.disk.as_ref(), &self.log.path).await?;
        self.log.remove_temporaries().await?;
        self.snapshots.remove_temporaries().await?;
        for number in future {
            self.snapshots.remove(&self.snapshots.file(*number)).await?;
        }
        let numbers = self.log.numbers().await?;
        let last = end.map_or(0, |end| end.segment);
        // From the newest on, so that there is never a gap.
        for number in numbers.iter().rev().filter(|number| **number > last) {
            tracing::info!(file = %self.log.file(*number).display(), "removing states that were not committed");
            self.log.remove(&self.log.file(*number)).await?;
        }
        if let Some(end) = end.filter(|end| end.segment > 0) {
            self.cut(end).await?;
        }
        self.log.sync().await?;
        let sizes = self.measure().await?;
        let next = last.max(sizes.log.keys().next_back().copied().unwrap_or(0)) + 1;
        *self.sizes() = sizes;
        let log = StateLog::new(self.clone(), next, segment_bytes);
        Ok((self, log))
    }

    /// Removes the segments with a smaller number.
    ///
    /// # Errors
    /// `Disk` where a file cannot be removed.
    pub async fn remove_segments_below(&self, number: u64) -> Result<(), JournalError> {
        let old: Vec<u64> = self.sizes().log.range(..number).map(|(number, _)| *number).collect();
        for number in &old {
            self.log.remove(&self.log.file(*number)).await?;
            self.sizes().log.remove(number);
        }
        if old.is_empty() { Ok(()) } else { self.log.sync().await }
    }

    /// Bytes of the log's segments and of the snapshots.
    pub fn bytes(&self) -> (u64, u64) {
        let sizes = self.sizes();
        (sizes.log.values().sum(), sizes.snapshots.values().sum())
    }

    /// The error of something that is missing, as far as the files as a whole tell.
    pub fn damaged(&self, what: impl Into<String>) -> JournalError {
        JournalError::damaged(&self.log.path, 0, what)
    }

    /// The error of what a segment says, which cannot be.
    pub fn damaged_at(&self, place: StateEnd, what: impl Into<String>) -> JournalError {
        self.log.damaged(place.segment, place.offset, what)
    }

    /// The file of a snapshot.
    pub fn snapshot_file(&self, number: u64) -> PathBuf {
        self.snapshots.file(number)
    }

    pub(super) fn sizes(&self) -> MutexGuard<'_, Sizes> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn cut(&self, end: StateEnd) -> Result<(), JournalError> {
        let length = self.log.length(end.segment).await?;
        if length <= end.offset {
            return Ok(());
        }
        let file = self.log.file(end.segment);
        tracing::info!(file = %file.display(), offset = end.offset, "cutting states that were not committed");
        let cut = self.log.disk.truncate(&file, end.offset).await;
        cut.map_err(|error| JournalError::of_sync(&file, error))
    }

    async fn measure(&self) -> Result<Sizes, JournalError> {
        let mut sizes = Sizes::default();
        for number in self.log.numbers().await? {
            sizes.log.insert(number, self.log.length(number).await?);
        }
        for number in self.snapshots.numbers().await? {
            sizes.snapshots.insert(number, self.snapshots.length(number).await?);
        }
        Ok(sizes)
    }

    async fn read_present(&self, number: u64) -> Result<Bytes, JournalError> {
        let read = self.log.read(number).await;
        read.map_err(|error| self.said_missing(number, error))
    }

    fn said_missing(&self, number: u64, error: JournalError) -> JournalError {
        match error.is_missing_file() {
            true => self.log.damaged(number, 0, "the file is missing"),
            false => error,
        }
    }

    fn torn(&self, number: u64, tear: &Tear) -> JournalError {
        self.log.damaged(number, tear.offset, tear.what)
    }
}

impl StateSegment {
    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Its records in order, and where each is.
    pub fn records(&self) -> impl Iterator<Item = Result<(Place, StateRecord), JournalError>> {
        self.frames.iter().map(|frame| {
            let place = Place { segment: self.number, offset: frame.offset, length: frame.length() };
            let record = decode(&frame.body);
            let record = record.map_err(|what| self.folder.damaged(self.number, frame.offset, what))?;
            Ok((place, record))
        })
    }
}

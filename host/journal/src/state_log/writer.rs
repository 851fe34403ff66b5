//! The end of the state log that is written to.

use std::fmt;

use bytes::Bytes;
use millstream_model::BatchTime;
use millstream_platform::Append;

use super::record::encode_start;
use super::{Place, StateEnd, StateFiles, StateRecords, StateStart};
use crate::JournalError;
use crate::error::is_full;
use crate::frame::BODY_BYTES_MAX;
use crate::segment::first_frames;

/// Writes the records of batches.
///
/// After an error other than `Full` it refuses everything: what is on disk is known only by opening it again.
#[derive(Debug)]
pub struct StateLog {
    files: StateFiles,
    segment_bytes: u64,
    position: Position,
}

#[derive(Debug)]
enum Position {
    /// Nothing was written since the log was opened; the next segment has this number. So nothing is ever appended to a
    /// file that a crash tore.
    Fresh(u64),
    Open(Tail),
    /// It failed, or is being written to.
    Closed,
}

/// The end of a segment. All of it is on disk.
struct Tail {
    number: u64,
    end: Box<dyn Append>,
    bytes: u64,
    /// Where the records of batches begin.
    base: u64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the log ends with it.
    pub end: StateEnd,
    /// How many bytes of records it is.
    pub bytes: u64,
    /// Where the rows of panes are.
    pub panes: Vec<PanePlace>,
}

/// Where rows of a pane are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanePlace {
    /// The table's number.
    pub table: u32,
    /// The batch.
    pub time: BatchTime,
    /// The frame.
    pub place: Place,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("number", &self.number)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl StateLog {
    /// Writes a batch's records behind `from`, where the last batch ended that was committed: what was written since then
    /// is cut off. They are on disk when this returns. Where they begin a segment, `start` says what was before.
    ///
    /// # Errors
    /// `Full`, and nothing of the records is there; `TooLarge` where the start is.
    pub async fn append(
        &mut self,
        from: Option<StateEnd>,
        start: &(dyn Fn() -> StateStart + Send + Sync),
        records: &StateRecords,
    ) -> Result<Appended, JournalError> {
        // Whatever goes wrong between here and the end: there is nothing any more to write to.
        let mut tail = match std::mem::replace(&mut self.position, Position::Closed) {
            Position::Closed => return Err(JournalError::Closed),
            Position::Fresh(number) => match self.begin(number, &start()).await {
                Ok(tail) => tail,
                Err(error) => return Err(self.unless_full(Position::Fresh(number), error)),
            },
            Position::Open(tail) => self.cut_off(tail, from).await?,
        };
        if tail.bytes >= self.segment_bytes && tail.bytes > tail.base {
            tail = match self.begin(tail.number + 1, &start()).await {
                Ok(next) => next,
                Err(error) => return Err(self.unless_full(Position::Open(tail), error)),
            };
        }
        self.write(tail, records).await
    }

    /// Refuses everything from here on.
    pub fn close(&mut self) {
        self.position = Position::Closed;
    }

    pub(super) fn new(files: StateFiles, next: u64, segment_bytes: u64) -> Self {
        Self { files, segment_bytes, position: Position::Fresh(next) }
    }

    async fn write(&mut self, mut tail: Tail, records: &StateRecords) -> Result<Appended, JournalError> {
        let (mut buffers, mut places, synced) = (Vec::new(), Vec::new(), tail.bytes);
        let mut end = synced;
        for body in &records.bodies {
            let length = body.frame(tail.number, end, synced, &mut buffers);
            places.push(Place { segment: tail.number, offset: end, length });
            end += length;
        }
        let file = self.files.log.file(tail.number);
        if let Err(error) = tail.end.append(buffers).await {
            let is_full = is_full(&error);
            let error = JournalError::of("writing", &file, error);
            if is_full {
                let length = tail.bytes;
                self.position = Position::Open(self.cut_to(tail, length).await?);
            }
            return Err(error);
        }
        tail.end.sync().await.map_err(|error| JournalError::of_sync(&file, error))?;
        tail.bytes = end;
        self.files.sizes().log.insert(tail.number, end);
        let panes = records.panes.iter();
        let panes =
            panes.map(|(at, table, time)| PanePlace { table: *table, time: *time, place: places[*at] });
        let end = self.files.place(tail.number, end);
        let appended = Appended { end, bytes: end.offset - synced, panes: panes.collect() };
        self.position = Position::Open(tail);
        Ok(appended)
    }

    /// Puts a new segment into its place.
    async fn begin(&self, number: u64, start: &StateStart) -> Result<Tail, JournalError> {
        let body = encode_start(start);
        if body.len() > BODY_BYTES_MAX {
            return Err(JournalError::TooLarge { bytes: body.len(), bytes_max: BODY_BYTES_MAX });
        }
        let (buffers, bytes): (Vec<Bytes>, u64) = first_frames(number, [&body]);
        self.files.log.replace(number, buffers).await?;
        self.files.sizes().log.insert(number, bytes);
        Ok(Tail { number, end: self.files.log.append(number).await?, bytes, base: bytes })
    }

    /// Cuts off what was written behind `from`: the records of a batch that was not committed.
    async fn cut_off(&self, tail: Tail, from: Option<StateEnd>) -> Result<Tail, JournalError> {
        let end = match from {
            Some(from) if from.segment == tail.number => from.offset,
            // They were the first of a new segment.
            _ => tail.base,
        };
        if end < tail.bytes { self.cut_to(tail, end).await } else { Ok(tail) }
    }

    async fn cut_to(&self, mut tail: Tail, length: u64) -> Result<Tail, JournalError> {
        let file = self.files.log.file(tail.number);
        let cut = self.files.log.disk.truncate(&file, length).await;
        cut.map_err(|error| JournalError::of_sync(&file, error))?;
        tail.end = self.files.log.append(tail.number).await?;
        tail.bytes = length;
        self.files.sizes().log.insert(tail.number, length);
        Ok(tail)
    }

    /// After `Full` the log goes on from `position`.
    fn unless_full(&mut self, position: Position, error: JournalError) -> JournalError {
        if error.is_full() {
            self.position = position;
        }
        error
    }
}

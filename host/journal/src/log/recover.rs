//! Finding out what the batch log says, after whatever happened.

use bytes::Bytes;

use super::{Ledger, Record, encode};
use crate::JournalError;
use crate::frame::{self, Frame, Frames, HEAD_BYTES, HEADER_BYTES, Tear};
use crate::segment::{Folder, first_frames};

/// What the log comes to.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) ledger: Ledger,
    /// The newest segment, if there is one.
    pub(crate) newest: Option<u64>,
    /// Where its whole frames end.
    end: u64,
    file: Bytes,
    /// Whether it begins with a snapshot that is no good.
    is_headless: bool,
    tear: Option<Tear>,
}

impl Folded {
    /// Whether a crash left something unfinished.
    pub(crate) fn is_torn(&self) -> bool {
        self.tear.is_some() || self.is_headless
    }
}

/// The ledger of the log in `folder`, and its newest segment made whole.
///
/// # Errors
/// `Damaged` where anything that was durable is not there as it was written, and no older segment makes up for it.
pub(crate) async fn recover(folder: &Folder) -> Result<Folded, JournalError> {
    folder.remove_temporaries().await?;
    let folded = fold(folder).await?;
    let Some(number) = folded.newest else { return Ok(folded) };
    if folded.tear.is_some() {
        let cut_bytes = folded.file.len() as u64 - folded.end;
        let file = folder.file(number).display().to_string();
        tracing::warn!(file, offset = folded.end, cut_bytes, "cutting what a crash tore off");
    }
    match folded.is_headless {
        true => {
            let snapshot = Record::Snapshot(Box::new(folded.ledger.clone()));
            let (buffers, _) = first_frames(number, [&encode(&snapshot)?]);
            folder.replace(number, buffers).await?;
        }
        false => folder.settle(number, &folded.file, folded.end, Vec::new()).await?,
    }
    Ok(folded)
}

/// The ledger of the log in `folder`, without writing anything.
pub(crate) async fn fold(folder: &Folder) -> Result<Folded, JournalError> {
    let numbers = folder.numbers().await?;
    let Some(newest) = numbers.last().copied() else { return Ok(Folded::default()) };
    let mut headless = Vec::new();
    let mut folded = Folded { newest: Some(newest), ..Folded::default() };
    // Back to the newest segment with a good snapshot.
    let mut older = numbers.iter().rev().copied().peekable();
    while let Some(number) = older.next() {
        let segment = Segment::parse(folder, number, folder.read(number).await?)?;
        match &segment.snapshot {
            Ok(_) => {
                apply(folder, &mut folded, segment)?;
                break;
            }
            Err(error) if older.peek() == Some(&(number.wrapping_sub(1))) => {
                tracing::warn!(%error, "a snapshot of the batch log is of no use; taking the one before");
                headless.push(segment);
            }
            Err(error) => return Err(error.clone()),
        }
    }
    // And forth, through what comes behind the bad ones.
    for segment in headless.into_iter().rev() {
        apply(folder, &mut folded, segment)?;
    }
    Ok(folded)
}

/// The records of a segment that can be read.
pub(crate) async fn read_records(folder: &Folder, number: u64) -> Result<Vec<Record>, JournalError> {
    let mut frames = Frames::new(number, folder.read(number).await?);
    let mut records = Vec::new();
    while let Some(frame) = frames.next() {
        match frame {
            Ok(frame) => records.extend(decode(folder, number, &frame).ok()),
            Err(_) => drop(frames.resume()),
        }
    }
    Ok(records)
}

/// A segment that was read.
struct Segment {
    number: u64,
    file: Bytes,
    snapshot: Result<Box<Ledger>, JournalError>,
    /// Where the frame behind the snapshot begins; not known where the snapshot's head is damaged.
    next: Option<usize>,
}

impl Segment {
    fn parse(folder: &Folder, number: u64, file: Bytes) -> Result<Self, JournalError> {
        let header = match folder.check_header(number, &file) {
            Err(newer @ JournalError::Newer { .. }) => return Err(newer),
            checked => checked,
        };
        let head = file.get(HEADER_BYTES..).unwrap_or_default();
        let head = frame::check_head(number, HEADER_BYTES as u64, head).ok();
        let next = head.map(|head| HEADER_BYTES + HEAD_BYTES + head.length);
        let snapshot = header.and_then(|()| read_snapshot(folder, number, &file));
        Ok(Self { number, file, snapshot, next })
    }

    /// The frames behind the snapshot, which the ledger before it is known to make.
    fn frames(&self, before: &Ledger) -> Result<Frames, JournalError> {
        let next = match self.next {
            Some(next) => next,
            None => {
                let snapshot = Record::Snapshot(Box::new(before.clone()));
                HEADER_BYTES + HEAD_BYTES + encode(&snapshot)?.len()
            }
        };
        Ok(Frames::from(self.number, self.file.clone(), next))
    }
}

fn read_snapshot(folder: &Folder, number: u64, file: &Bytes) -> Result<Box<Ledger>, JournalError> {
    let first = Frames::new(number, file.clone()).next();
    let first = first.unwrap_or(Err(Tear { offset: HEADER_BYTES as u64, what: "it has no snapshot" }));
    let frame = first.map_err(|tear| folder.damaged(number, tear.offset, tear.what))?;
    match decode(folder, number, &frame)? {
        Record::Snapshot(ledger) => Ok(ledger),
        _ => Err(folder.damaged(number, frame.offset, "it does not begin with a snapshot")),
    }
}

/// Takes a segment into account, behind those before it.
fn apply(folder: &Folder, folded: &mut Folded, segment: Segment) -> Result<(), JournalError> {
    let number = segment.number;
    folded.is_headless = segment.snapshot.is_err();
    if let Ok(snapshot) = &segment.snapshot {
        let snapshot = Record::Snapshot(snapshot.clone());
        take(folder, folded, number, HEADER_BYTES as u64, &snapshot)?;
    }
    let frames = segment.frames(&folded.ledger)?;
    folded.end = frames.offset();
    folded.tear = None;
    for frame in frames {
        match frame {
            Ok(frame) => {
                let record = decode(folder, number, &frame)?;
                take(folder, folded, number, frame.offset, &record)?;
                folded.end = frame.end();
            }
            Err(tear) => folded.tear = Some(tear),
        }
    }
    folded.file = segment.file;
    match &folded.tear {
        Some(tear)
            if folded.newest != Some(number) || frame::is_proven(number, &folded.file, tear.offset) =>
        {
            Err(folder.damaged(number, tear.offset, tear.what))
        }
        _ => Ok(()),
    }
}

fn take(folder: &Folder, to: &mut Folded, number: u64, at: u64, record: &Record) -> Result<(), JournalError> {
    let applied = to.ledger.apply(record);
    applied
        .map_err(|error| folder.damaged(number, at, format!("a record contradicts those before it: {error}")))
}

pub(crate) fn decode(folder: &Folder, number: u64, frame: &Frame) -> Result<Record, JournalError> {
    let parsed = serde_json::from_slice(&frame.body);
    parsed.map_err(|error| folder.damaged(number, frame.offset, format!("a record cannot be read: {error}")))
}

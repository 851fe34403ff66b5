//! A segment of the write-ahead log as it is read.

use bytes::Bytes;

use crate::JournalError;
use crate::entry::{self, Entry, Start};
use crate::frame::{self, Frame, Frames, HEAD_BYTES, HEADER_BYTES, Tear};
use crate::segment::Folder;

/// What is in a segment, up to its end or its first tear.
pub(crate) struct Content {
    pub(crate) number: u64,
    pub(crate) file: Bytes,
    pub(crate) starts: Vec<Start>,
    pub(crate) entries: Vec<Placed>,
    /// Where the whole frames end.
    pub(crate) end: u64,
    pub(crate) tear: Option<Tear>,
    /// Whether a mark comes last, which says that all before it is on disk.
    pub(crate) is_marked: bool,
}

/// An entry and where its frame is.
pub(crate) struct Placed {
    pub(crate) entry: Entry,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

impl Content {
    /// Takes a file apart.
    ///
    /// # Errors
    /// Where it has no whole header and start, or a whole frame with something else in it than an entry.
    pub(crate) fn parse(folder: &Folder, number: u64, file: Bytes) -> Result<Self, JournalError> {
        folder.check_header(number, &file)?;
        let mut frames = Frames::new(number, file.clone());
        let start =
            frames.next().unwrap_or(Err(Tear { offset: HEADER_BYTES as u64, what: "it has no start" }));
        let start = start.map_err(|tear| folder.damaged(number, tear.offset, tear.what))?;
        let starts = decode_start(folder, number, &start)?;
        let end = start.end();
        let mut content =
            Self { number, file, starts, entries: Vec::new(), end, tear: None, is_marked: false };
        for frame in frames {
            match frame {
                Ok(frame) => content.push(folder, &frame)?,
                Err(tear) => content.tear = Some(tear),
            }
        }
        Ok(content)
    }

    /// The tear, if it is damage and nothing that a crash tore off.
    pub(crate) fn damage(&self) -> Option<&Tear> {
        self.tear.as_ref().filter(|tear| frame::is_proven(self.number, &self.file, tear.offset))
    }

    fn push(&mut self, folder: &Folder, frame: &Frame) -> Result<(), JournalError> {
        self.is_marked = frame.body.is_empty();
        self.end = frame.end();
        if self.is_marked {
            return Ok(());
        }
        let decoded = Entry::decode(&frame.body);
        let entry = decoded.map_err(|what| folder.damaged(self.number, frame.offset, what))?;
        self.entries.push(Placed { entry, offset: frame.offset, length: HEAD_BYTES + frame.body.len() });
        Ok(())
    }
}

/// How far the lanes were before a segment, without reading all of it.
pub(crate) async fn read_starts(folder: &Folder, number: u64) -> Result<Vec<Start>, JournalError> {
    let at = HEADER_BYTES as u64;
    let beginning = folder.read_at(number, 0, HEADER_BYTES + HEAD_BYTES).await?;
    folder.check_header(number, &beginning)?;
    let head = frame::check_head(number, at, &beginning[HEADER_BYTES..]);
    let head = head.map_err(|what| folder.damaged(number, at, what))?;
    let bytes = folder.read_at(number, at, HEAD_BYTES + head.length).await?;
    let frame = frame::parse(number, at, &bytes);
    decode_start(folder, number, &frame.map_err(|tear| folder.damaged(number, tear.offset, tear.what))?)
}

/// Whether a file is what a crash leaves that comes while a segment is made: no header or no start, and nothing behind
/// that says that they were on disk.
pub(crate) fn is_unborn(folder: &Folder, number: u64, file: &Bytes) -> bool {
    let is_torn = match frame::check_header(folder.kind, number, file) {
        Err(frame::HeaderError::Newer(_)) => false,
        Err(frame::HeaderError::Damaged(_)) => true,
        Ok(()) => !matches!(Frames::new(number, file.clone()).next(), Some(Ok(_))),
    };
    is_torn && !frame::is_proven(number, file, 0)
}

fn decode_start(folder: &Folder, number: u64, frame: &Frame) -> Result<Vec<Start>, JournalError> {
    entry::decode_start(&frame.body).map_err(|what| folder.damaged(number, frame.offset, what))
}

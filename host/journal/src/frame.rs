//! Files as sequences of checked frames.
//!
//! Every file begins with a header. All numbers are little-endian.
//!
//! ```text
//! 0        4        8        12                20       24
//! ┌────────┬────────┬────────┬─────────────────┬────────┐
//! │ "MLST" │ kind   │ format │ segment number  │ crc32  │
//! └────────┴────────┴────────┴─────────────────┴────────┘
//! ```
//!
//! The kind is `"log "`, `"wal "`, `"stat"`, `"snap"` or `"outb"`, the checksum is that of the 20 bytes before it. This part is the same in every
//! format to come, so that an older program can name a newer format. Frames follow it without gaps:
//!
//! ```text
//! 0        4        8          12         16         20
//! ┌────────┬────────┬──────────┬──────────┬──────────┬──────────────┐
//! │ marker │ length │ unsynced │ body crc │ head crc │ body ...     │
//! └────────┴────────┴──────────┴──────────┴──────────┴──────────────┘
//! ```
//!
//! `length` is the body's. The head's checksum covers the segment's number, the frame's offset in the file, and the rest of
//! the head. So a frame is valid at its own place only: what merely looks like one, inside of a record or left over from
//! another file, is told apart, and a search for frames behind damage looks at each byte once.
//!
//! `unsynced` says how many bytes before the frame were not known to be on disk when it was written. A crash tears what was
//! not synced, and in any order: whole frames may stand behind one that is torn. But where a frame behind says that
//! the place of a bad one was on disk already, no crash was at work there: that is damage, and is never cut off as
//! a torn tail. A frame with an empty body is a mark that says only this.

use bytes::Bytes;

/// The newest format, which is the one that is written.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a file's header.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes before a frame's body.
pub(crate) const HEAD_BYTES: usize = 20;
/// A longer body is neither written nor read.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// The longest frame.
pub(crate) const FRAME_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX;

const MAGIC: &[u8; 4] = b"MLST";
const MARKER: [u8; 4] = [0xA7, b'm', b'f', 0xD1];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A segment of the batch log.
    Log,
    /// A segment of the write-ahead log.
    Wal,
    /// A segment of the state log.
    State,
    /// States as they were at some position of the state log.
    Snapshot,
    /// A batch that waits for its sink.
    Outbox,
}

impl Kind {
    /// How names of such files end.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Wal => "wal",
            Self::State => "state",
            Self::Snapshot => "snapshot",
            Self::Outbox => "outbox",
        }
    }

    const fn mark(self) -> &'static [u8; 4] {
        match self {
            Self::Log => b"log ",
            Self::Wal => b"wal ",
            Self::State => b"stat",
            Self::Snapshot => b"snap",
            Self::Outbox => b"outb",
        }
    }
}

/// Why a header is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is not one, for this reason.
    Damaged(&'static str),
    /// It is whole, and of a newer format.
    Newer(u32),
}

/// The header of a file.
pub(crate) fn header(kind: Kind, number: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(kind.mark());
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.into()
}

/// Checks that `bytes` begin with the header of that file.
pub(crate) fn check_header(kind: Kind, number: u64, bytes: &[u8]) -> Result<(), HeaderError> {
    let Some((header, _)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(HeaderError::Damaged("its header is cut short"));
    };
    if &header[..4] != MAGIC {
        return Err(HeaderError::Damaged("it does not begin as a file of the journal does"));
    }
    if u32_at(header, 20) != crc32fast::hash(&header[..20]) {
        return Err(HeaderError::Damaged("the checksum of its header is wrong"));
    }
    match u32_at(header, 8) {
        format if format > FORMAT => return Err(HeaderError::Newer(format)),
        FORMAT => {}
        _ => return Err(HeaderError::Damaged("its header names a format that there never was")),
    }
    if &header[4..8] != kind.mark() {
        return Err(HeaderError::Damaged("it is a file of another kind under this name"));
    }
    if u64_at(header, 12) != number {
        return Err(HeaderError::Damaged("it is another segment under this name"));
    }
    Ok(())
}

/// What goes into one frame, in pieces that are written one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    parts: Vec<Bytes>,
    length: usize,
    crc: crc32fast::Hasher,
}

impl Body {
    /// Puts a piece behind those that are there. Its checksum is computed here, once.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.crc.update(&part);
        self.length += part.len();
        self.parts.push(part);
    }

    /// The length of all pieces.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends the frame for the place `offset` of segment `number` to `buffers`, and gives its length. All before
    /// `synced` is on disk.
    pub(crate) fn frame(&self, number: u64, offset: u64, synced: u64, buffers: &mut Vec<Bytes>) -> u64 {
        let length = u32::try_from(self.length).expect("bodies are limited when they are made");
        // To say less than is known is always right.
        let unsynced = u32::try_from(offset - synced).unwrap_or(u32::MAX);
        let crc = self.crc.clone().finalize();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&MARKER);
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&unsynced.to_le_bytes());
        head.extend_from_slice(&crc.to_le_bytes());
        head.extend_from_slice(&head_crc(number, offset, &head).to_le_bytes());
        buffers.push(head.into());
        buffers.extend(self.parts.iter().filter(|part| !part.is_empty()).cloned());
        (HEAD_BYTES + self.length) as u64
    }
}

impl From<Bytes> for Body {
    fn from(part: Bytes) -> Self {
        let mut body = Self::default();
        body.push(part);
        body
    }
}

/// A whole frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// What is in it.
    pub(crate) body: Bytes,
}

impl Frame {
    /// Its length in the file.
    pub(crate) fn length(&self) -> u64 {
        (HEAD_BYTES + self.body.len()) as u64
    }

    /// Where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length()
    }
}

/// Where frames end that are not at the end of their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tear {
    /// Where the frame should begin.
    pub(crate) offset: u64,
    /// What is wrong with it.
    pub(crate) what: &'static str,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The length of the body.
    pub(crate) length: usize,
    /// All before this offset was on disk when the frame was written.
    pub(crate) synced: u64,
    body_crc: u32,
}

/// The head that begins `bytes`, which are at `offset` of segment `number`.
pub(crate) fn check_head(number: u64, offset: u64, bytes: &[u8]) -> Result<Head, &'static str> {
    let Some((head, _)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Err("a frame's head is cut short");
    };
    if head[..4] != MARKER || u32_at(head, 16) != head_crc(number, offset, &head[..16]) {
        return Err("the checksum of a frame's head is wrong");
    }
    let length = u32_at(head, 4) as usize;
    let synced = offset.saturating_sub(u32_at(head, 8).into());
    match length > BODY_BYTES_MAX {
        true => Err("a frame is longer than any may be"),
        false => Ok(Head { length, synced, body_crc: u32_at(head, 12) }),
    }
}

/// The frame that begins `bytes`, which are at `offset` of segment `number`.
pub(crate) fn parse(number: u64, offset: u64, bytes: &Bytes) -> Result<Frame, Tear> {
    let tear = |what| Tear { offset, what };
    let head = check_head(number, offset, bytes).map_err(tear)?;
    if bytes.len() - HEAD_BYTES < head.length {
        return Err(tear("a frame is cut short"));
    }
    let body = bytes.slice(HEAD_BYTES..HEAD_BYTES + head.length);
    match head.body_crc == crc32fast::hash(&body) {
        true => Ok(Frame { offset, body }),
        false => Err(tear("the checksum of a frame is wrong")),
    }
}

/// The frames of a file that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    number: u64,
    file: Bytes,
    offset: usize,
    torn: bool,
}

impl Frames {
    /// Those of segment `number`.
    pub(crate) fn new(number: u64, file: Bytes) -> Self {
        Self::from(number, file, HEADER_BYTES)
    }

    /// Those of segment `number` that begin at or behind `offset`.
    pub(crate) fn from(number: u64, file: Bytes, offset: usize) -> Self {
        Self { number, file, offset, torn: false }
    }

    /// Where the next frame begins, or should.
    pub(crate) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Goes to the next whole frame behind a tear, if there is one, and gives its place.
    pub(crate) fn resume(&mut self) -> Option<u64> {
        let mut from = self.offset + 1;
        loop {
            let (at, _) = find_head(self.number, &self.file, from)?;
            if parse(self.number, at as u64, &self.file.slice(at..)).is_ok() {
                self.offset = at;
                self.torn = false;
                return Some(at as u64);
            }
            from = at + 1;
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Tear>;

    /// After a tear there is nothing more, until [`Frames::resume`].
    fn next(&mut self) -> Option<Self::Item> {
        if self.torn || self.offset >= self.file.len() {
            return None;
        }
        let frame = parse(self.number, self.offset as u64, &self.file.slice(self.offset..));
        match &frame {
            Ok(frame) => self.offset += HEAD_BYTES + frame.body.len(),
            Err(_) => self.torn = true,
        }
        Some(frame)
    }
}

/// Whether a frame in `file` says that the byte at `offset`, which lies before it, was on disk when it was written.
pub(crate) fn is_proven(number: u64, file: &[u8], offset: u64) -> bool {
    let mut from = usize::try_from(offset).unwrap_or(usize::MAX);
    while let Some((at, head)) = find_head(number, file, from) {
        if head.synced > offset {
            return true;
        }
        from = at + 1;
    }
    false
}

/// The first place at or behind `from` where the head of a frame stands.
fn find_head(number: u64, file: &[u8], from: usize) -> Option<(usize, Head)> {
    let mut from = from;
    while let Some(found) = file.get(from..)?.iter().position(|byte| *byte == MARKER[0]) {
        let at = from + found;
        if let Ok(head) = check_head(number, at as u64, &file[at..]) {
            return Some((at, head));
        }
        from = at + 1;
    }
    None
}

fn head_crc(number: u64, offset: u64, head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(head);
    crc.finalize()
}

/// Makes all checksums of segment `number` right, so that fuzzing gets to what stands behind them.
#[cfg(fuzzing)]
pub fn reseal(number: u64, file: &mut [u8]) {
    if file.len() < HEADER_BYTES {
        return;
    }
    let crc = crc32fast::hash(&file[..20]);
    file[20..24].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_BYTES;
    while at + HEAD_BYTES <= file.len() {
        let end = at + HEAD_BYTES + u32_at(file, at + 4) as usize;
        let Some(body) = file.get(at + HEAD_BYTES..end) else { return };
        let crc = crc32fast::hash(body);
        file[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        let crc = head_crc(number, at as u64, &file[at..at + 16]);
        file[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

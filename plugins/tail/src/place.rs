//! A place in a file, and what tells the file from others.
//!
//! A file that is rotated gets another name, and what a component sees of a file tells nothing but its length, its time and
//! its bytes. So a place has with it what stands at the beginning of the file and right before the place: a file that
//! has the same there is the same, or a copy.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::SystemTime;

use millstream_sdk::prelude::*;

/// Bytes that are compared at the beginning.
pub(crate) const HEAD_BYTES: u64 = 1024;
/// Bytes that are compared before the place.
const LAST_BYTES: u64 = 256;

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub(crate) offset: u64,
    /// Of the first bytes, as far as they are before it.
    head: u64,
    /// Of the bytes right before it.
    last: u64,
    /// When the file was written to last, in milliseconds since 1970.
    pub(crate) modified_ms: u64,
}

impl Place {
    /// The place behind `offset` bytes, which the file has.
    pub(crate) fn at(file: &mut File, offset: u64) -> io::Result<Self> {
        let head = bytes(file, 0, offset.min(HEAD_BYTES))?;
        let start = offset.saturating_sub(LAST_BYTES);
        let last = bytes(file, start, offset - start)?;
        let modified_ms = modified_ms(&file.metadata()?);
        Ok(Self { offset, head: hash(&head), last: hash(&last), modified_ms })
    }

    /// Whether it is a place of this file. That behind no bytes is one of every file.
    pub(crate) fn is_in(&self, file: &mut File) -> io::Result<bool> {
        if self.offset == 0 {
            return Ok(true);
        }
        match Self::at(file, self.offset) {
            Ok(there) => Ok((there.head, there.last) == (self.head, self.last)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Four numbers as text.
impl Position for Place {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let Self { offset, head, last, modified_ms } = self;
        Some(format!("{offset} {head} {last} {modified_ms}").into_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let text = String::from_utf8_lossy(bytes);
        let numbers: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[offset, head, last, modified_ms]) => Ok(Self { offset, head, last, modified_ms }),
            _ => Err(Fault::rejected(format!("{text:?} is no position of this receiver"))),
        }
    }
}

/// So many bytes from `start` on, all of which have to be there.
pub(crate) fn bytes(file: &mut File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// When a file was written to last.
pub(crate) fn modified_ms(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// FNV-1a (Fowler, Noll and Vo), the same in every version.
fn hash(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01B3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

//! Reads one file, on a thread that may block.
//!
//! The same range of records is the same at every reading, also of a file that is damaged: what it holds is asked
//! for in pieces of one size, so that a decompressor breaks off at the same place each time.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::BytesMut;
use flate2::read::MultiGzDecoder;
use millstream_model::Block;
use millstream_model::pipeline::Format;

use crate::cut::Cutter;

/// Bytes that are read before they are cut.
const GATHER_BYTES: usize = 512 << 10;
/// Bytes that are asked for at once. A cutter that is asked for room for the above has room for these.
const READ_BYTES: usize = GATHER_BYTES / 4;

/// A file, and what it was when it was opened.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Its size and the time it was last written: others mean that it may hold other records.
    pub(crate) stamp: String,
}

/// What of a file is wanted, and how it is read.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) format: Format,
    /// Records of a block.
    pub(crate) rows_max: usize,
    pub(crate) records: Range<u64>,
}

/// How far a reading came.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Records up to where it ended, counted from the file's first.
    pub(crate) records: u64,
    /// Why it ended before the file did.
    pub(crate) fault: Option<Fault>,
}

/// What kept a file from being read to its end.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: String,
    /// Whole records before it, counted from the file's first.
    pub(crate) after: u64,
}

impl Opened {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let stamp = stamp(&file.metadata()?)?;
        Ok(Self { path: path.to_owned(), file, stamp })
    }
}

/// Such as `1048576-1700000000123456789`: bytes, and nanoseconds since 1970.
fn stamp(found: &Metadata) -> io::Result<String> {
    let modified = match found.modified()?.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => format!("{}", since.as_nanos()),
        Err(before) => format!("-{}", before.duration().as_nanos()),
    };
    Ok(format!("{}-{modified}", found.len()))
}

/// Gives the records of `opened` that are wanted to `give`, until that wants no more.
pub(crate) fn read(opened: Opened, request: &Request, give: &mut dyn FnMut(Block) -> bool) -> Reading {
    let Opened { path, file, .. } = opened;
    if let Format::Parquet(schema) = &request.format {
        return super::parquet::read(&path, file, schema, request, give);
    }
    if let Format::Records { length } = &request.format {
        let origin = path.to_string_lossy();
        return match decompressed(&path, file) {
            Ok(bytes) => super::records::read(bytes, &origin, *length, request, give),
            Err(fault) => Reading { records: 0, fault: Some(Fault { reason: fault.to_string(), after: 0 }) },
        };
    }
    let mut cutter = Cutter::new(&path.to_string_lossy(), request.rows_max).only(request.records.clone());
    let read = decompressed(&path, file).and_then(|bytes| read_records(bytes, &mut cutter, give));
    let fault = read.err().map(|fault| {
        let after = cutter.records();
        cutter.abandon(&fault.to_string()).map(give);
        Fault { reason: fault.to_string(), after }
    });
    Reading { records: cutter.records(), fault }
}

/// The bytes of a file, out of the compression that its name tells of.
fn decompressed(path: &Path, file: File) -> io::Result<Box<dyn Read>> {
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, file))),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    })
}

fn read_records(
    mut bytes: Box<dyn Read>,
    cutter: &mut Cutter,
    give: &mut dyn FnMut(Block) -> bool,
) -> io::Result<()> {
    loop {
        let read = gather(&mut *bytes, cutter);
        while let Some(block) = cutter.cut() {
            if !give(block) {
                return Ok(());
            }
        }
        if cutter.is_done() {
            return Ok(());
        }
        if read? == 0 {
            break;
        }
    }
    cutter.finish().map(give);
    Ok(())
}

/// Reads a block's worth of bytes, less only at the end of the file or before a fault. Gives 0 at the end.
fn gather(bytes: &mut dyn Read, cutter: &mut Cutter) -> io::Result<usize> {
    let mut gathered = 0;
    loop {
        let read = read_into(bytes, cutter.room(GATHER_BYTES))?;
        gathered += read;
        if read == 0 || cutter.len() >= GATHER_BYTES {
            return Ok(gathered);
        }
    }
}

/// Appends what one read gives.
pub(super) fn read_into(bytes: &mut dyn Read, buffer: &mut BytesMut) -> io::Result<usize> {
    let start = buffer.len();
    buffer.resize(start + READ_BYTES, 0);
    let read = loop {
        match bytes.read(&mut buffer[start..]) {
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    buffer.truncate(start + read.as_ref().map_or(0, |read| *read));
    read
}

//! Reads records of a file again, the same that were read before.

use std::io;
use std::path::Path;

use millstream_engine::SourceError;
use millstream_model::pipeline::Format;
use millstream_model::{Block, OriginRange};

use super::read::{Opened, Reading, Request, read};
use crate::cut::BLOCK_ROWS_MAX;

/// What can be done when a file is not what it was.
const ADVICE: &str = "keep a file as it is until its batches are committed; put it back as it was, \
                      or start again with a new checkpoint";

/// The records of `range`.
///
/// # Errors
/// The file is gone, or it was written to since: refused. It cannot be opened now: failed.
pub(super) fn reread(range: &OriginRange, format: &Format) -> Result<Vec<Block>, SourceError> {
    let path = Path::new(&range.origin);
    let opened = open(range)?;
    let request =
        Request { format: format.clone(), rows_max: BLOCK_ROWS_MAX, records: range.records.clone() };
    let mut blocks = Vec::new();
    let reading = read(opened, &request, &mut |block| {
        blocks.push(block);
        true
    });
    if reading.records < range.records.end {
        return Err(refused(range, &ended_early(&reading)));
    }
    // Whoever writes to a file while it is read may have changed what was read.
    match Opened::open(path) {
        Ok(after) if after.stamp == range.stamp => Ok(blocks),
        _ => Err(refused(range, "the file was written to meanwhile")),
    }
}

fn open(range: &OriginRange) -> Result<Opened, SourceError> {
    match Opened::open(Path::new(&range.origin)) {
        Ok(opened) if opened.stamp == range.stamp => Ok(opened),
        Ok(_) => Err(refused(range, "the file was written to since")),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Err(refused(range, "the file is gone")),
        Err(fault) => Err(SourceError::Failed(format!("{}: {fault}", doing(range)))),
    }
}

fn ended_early(reading: &Reading) -> String {
    match &reading.fault {
        Some(fault) => format!("{}, after {} records", fault.reason, fault.after),
        None => format!("the file holds {} records", reading.records),
    }
}

fn doing(range: &OriginRange) -> String {
    let first = range.records.start.saturating_add(1);
    format!("reading the records {first} to {} of {} again", range.records.end, range.origin)
}

fn refused(range: &OriginRange, reason: &str) -> SourceError {
    SourceError::Refused(format!("{}: {reason}; {ADVICE}", doing(range)))
}

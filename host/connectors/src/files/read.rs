//! Reads one file, on a thread that may block.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::BytesMut;
use flate2::read::MultiGzDecoder;
use millstream_model::pipeline::Format;
use tokio::sync::mpsc::Sender;

use crate::cut::{Cut, Cutter};

/// Bytes that are read before they are cut.
const GATHER_BYTES: usize = 512 << 10;

/// Sends the records of the file at `path`, until `sender` is closed.
///
/// # Errors
/// The file cannot be read, or not to its end: what to tell the operator. What comes before the fault is sent.
pub(super) fn read(
    path: &Path,
    format: &Format,
    rows_max: usize,
    sender: &Sender<Cut>,
) -> Result<(), String> {
    let opening = |fault: &dyn std::fmt::Display| format!("reading {}: {fault}", path.display());
    let file = File::open(path).map_err(|fault| opening(&fault))?;
    if let Format::Parquet(schema) = format {
        return super::parquet::read(path, file, schema, rows_max, sender);
    }
    let bytes = decompressed(path, file).map_err(|fault| opening(&fault))?;
    let mut cutter = Cutter::new(&path.to_string_lossy(), rows_max);
    read_records(bytes, &mut cutter, sender).map_err(|fault| {
        let records = cutter.records();
        if let Some(cut) = cutter.abandon(&fault.to_string()) {
            send(sender, cut);
        }
        format!(
            "{}; the {records} records before that are taken, the rest of the file is skipped",
            opening(&fault)
        )
    })
}

/// The bytes of a file, out of the compression that its name tells of.
fn decompressed(path: &Path, file: File) -> io::Result<Box<dyn Read>> {
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, file))),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    })
}

fn read_records(mut bytes: Box<dyn Read>, cutter: &mut Cutter, sender: &Sender<Cut>) -> io::Result<()> {
    loop {
        let read = gather(&mut *bytes, cutter);
        while let Some(cut) = cutter.cut() {
            if !send(sender, cut) {
                return Ok(());
            }
        }
        if read? == 0 {
            break;
        }
    }
    if let Some(cut) = cutter.finish() {
        send(sender, cut);
    }
    Ok(())
}

/// Whether anybody still wants more.
fn send(sender: &Sender<Cut>, cut: Cut) -> bool {
    sender.blocking_send(cut).is_ok()
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

/// Appends what one read gives to the room that `buffer` has.
fn read_into(bytes: &mut dyn Read, buffer: &mut BytesMut) -> io::Result<usize> {
    let (start, room) = (buffer.len(), buffer.capacity());
    buffer.resize(room, 0);
    let read = loop {
        match bytes.read(&mut buffer[start..]) {
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    buffer.truncate(start + read.as_ref().map_or(0, |read| *read));
    read
}

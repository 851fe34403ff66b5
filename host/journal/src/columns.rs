//! Columns as an Arrow IPC stream: a schema, one batch, and the end mark.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamEncoder;
use bytes::Bytes;

use crate::entry::Defect;

/// The pieces of the stream. The columns' buffers are shared, not copied.
///
/// # Panics
/// For types that the format has no form for: dictionaries of dictionaries.
pub(crate) fn encode(batch: &RecordBatch) -> Vec<Bytes> {
    try_encode(batch).expect("the columns of sources have types that Arrow's format can hold")
}

/// The pieces of the stream, for columns of any type.
///
/// # Errors
/// For types that the format has no form for.
pub(crate) fn try_encode(batch: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
    let pieces = stream(batch)?;
    Ok(pieces.into_iter().map(|piece| Bytes::from_owner(Shared(piece))).collect())
}

/// The batch in a stream.
pub(crate) fn decode(stream: Bytes) -> Result<RecordBatch, Defect> {
    // Arrow's reader checks what is in the buffers, and panics over some schemas that no writer makes.
    catch_unwind(AssertUnwindSafe(|| read(stream)))
        .map_err(drop)
        .and_then(|read| read.ok_or(()))
        .map_err(|()| "an entry's columns cannot be read")
}

fn stream(batch: &RecordBatch) -> Result<Vec<Buffer>, ArrowError> {
    let mut encoder = StreamEncoder::try_new(&batch.schema())?;
    let mut pieces = encoder.encode(batch)?;
    pieces.extend(encoder.finish()?);
    Ok(pieces)
}

fn read(stream: Bytes) -> Option<RecordBatch> {
    let mut left = Buffer::from(stream);
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(&mut left).ok()??;
    // Nothing but the end mark is left.
    let end = decoder.decode(&mut left).ok()?;
    decoder.finish().ok()?;
    end.is_none().then_some(batch)
}

struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

use crate::Position;

/// A record that could not be processed, kept with the reason and the place it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The source that it came through.
    pub source: String,
    /// Where it stood.
    pub position: Position,
    /// What was wrong with it.
    pub error: String,
    /// Its bytes, up to [`DeadLetter::RECORD_BYTES_MAX`] of them.
    pub record: Vec<u8>,
}

impl DeadLetter {
    /// Longer records are cut to this many bytes in their letter.
    pub const RECORD_BYTES_MAX: usize = 64 * 1024;
    /// Letters that are kept of a batch; more are only counted.
    pub const OF_BATCH_MAX: usize = 10_000;
    /// Bytes of them; likewise.
    pub const OF_BATCH_BYTES_MAX: usize = 16 << 20;

    /// A letter for `record`, of which it keeps the first [`DeadLetter::RECORD_BYTES_MAX`] bytes.
    pub fn new(source: &str, position: Position, error: impl ToString, record: &[u8]) -> Self {
        let kept = &record[..record.len().min(Self::RECORD_BYTES_MAX)];
        Self { source: source.to_owned(), position, error: error.to_string(), record: kept.to_vec() }
    }
}

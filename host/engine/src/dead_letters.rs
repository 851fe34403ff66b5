//! Where records go that cannot be processed: a file of JSON lines, or the log where there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use millstream_model::DeadLetter;

use crate::EngineError;

/// At this size the file is kept as `FILE.1`, in place of the one kept before, and a new one is begun.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Letters of a batch that the log shows when there is no file.
const LOGGED_MAX: usize = 5;

/// The dead letters of a pipeline.
#[derive(Debug)]
pub struct DeadLetters {
    path: Option<PathBuf>,
    /// How many there were.
    count: u64,
}

impl DeadLetters {
    /// To be appended to the file at `path`, if there is one.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, count: 0 }
    }

    /// How many records were put aside so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Keeps the letters of a batch; `uncounted` more were not kept.
    pub(crate) fn write(&mut self, letters: &[DeadLetter], uncounted: u64) -> Result<(), EngineError> {
        self.count += letters.len() as u64 + uncounted;
        if uncounted > 0 {
            tracing::warn!("{uncounted} more rejected records were counted and not kept");
        }
        match &self.path {
            _ if letters.is_empty() => Ok(()),
            Some(path) => append(path, letters)
                .map_err(|source| EngineError::DeadLetters { path: path.clone(), source }),
            None => {
                log(letters);
                Ok(())
            }
        }
    }
}

fn append(path: &Path, letters: &[DeadLetter]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() > FILE_BYTES_MAX) {
        fs::rename(path, path.with_added_extension("1"))?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::new(OpenOptions::new().create(true).append(true).open(path)?);
    for letter in letters {
        let line = serde_json::json!({
            "source": letter.source,
            "origin": letter.position.origin.as_ref(),
            "record": letter.position.record + 1,
            "error": letter.error,
            "bytes": String::from_utf8_lossy(&letter.record),
        });
        writeln!(file, "{line}")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file: File| file.sync_data())
}

fn log(letters: &[DeadLetter]) {
    for letter in &letters[..letters.len().min(LOGGED_MAX)] {
        let (source, position) = (&letter.source, &letter.position);
        tracing::warn!(source, %position, "record rejected: {}", letter.error);
    }
    if letters.len() > LOGGED_MAX {
        tracing::warn!(
            "{} more records rejected; name a file `dead-letters` to keep them",
            letters.len() - LOGGED_MAX
        );
    }
}

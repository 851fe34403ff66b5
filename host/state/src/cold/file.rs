//! The file that the cold keys of all tables share, in chunks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io};

use millstream_journal::JournalError;
use millstream_platform::{Disk, MemoryScratch, Scratch};

use crate::StateError;

/// How long a chunk is.
pub(super) const CHUNK_BYTES: u64 = 64 << 10;

/// A file of chunks, each of which has one user at a time.
#[derive(Debug)]
pub(crate) struct ColdFile {
    scratch: Box<dyn Scratch>,
    /// Where the path is; in memory, where it is on none.
    disk: Option<Arc<dyn Disk>>,
    path: PathBuf,
    room: Mutex<Room>,
    /// The first read that failed: what was given for it is not true.
    failure: OnceLock<StateError>,
}

#[derive(Debug, Default)]
struct Room {
    /// Chunks that nobody uses, by their numbers.
    free: Vec<u64>,
    /// How many there are.
    chunks: u64,
}

/// A chunk. It is free again when it is dropped.
pub(super) struct Chunk {
    file: Arc<ColdFile>,
    number: u64,
}

impl ColdFile {
    pub(crate) fn new(disk: Option<Arc<dyn Disk>>, path: &Path) -> Arc<Self> {
        let scratch = match &disk {
            Some(disk) => disk.scratch(path),
            None => Box::new(MemoryScratch::new(path)),
        };
        let path = path.to_path_buf();
        Arc::new(Self { scratch, disk, path, room: Mutex::default(), failure: OnceLock::new() })
    }

    /// One that is in memory itself.
    pub(crate) fn in_memory() -> Arc<Self> {
        Self::new(None, Path::new("cold"))
    }

    /// Another file in the same place, with nothing in it. Neither has a name once it is written to.
    pub(crate) fn another(&self) -> Arc<Self> {
        Self::new(self.disk.clone(), &self.path)
    }

    /// How long the file is.
    pub(crate) fn bytes(&self) -> u64 {
        self.room().chunks * CHUNK_BYTES
    }

    /// What a read gave was not true, as it failed.
    pub(crate) fn note_failure(&self, error: StateError) {
        tracing::error!(%error, "states on disk cannot be read; no batch is committed from here on");
        self.failure.get_or_init(|| error);
    }

    /// Whether all reads gave what is true.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The error of what was read and cannot have been written.
    pub(super) fn damaged(&self, what: &str) -> StateError {
        let error = Arc::new(io::Error::new(io::ErrorKind::InvalidData, what));
        let doing = format!("reading states from {}", self.path.display());
        JournalError::Disk { doing, error }.into()
    }

    pub(super) fn take(self: &Arc<Self>) -> Chunk {
        let mut room = self.room();
        let number = room.free.pop().unwrap_or_else(|| {
            room.chunks += 1;
            room.chunks - 1
        });
        Chunk { file: Arc::clone(self), number }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StateError> {
        let read = self.file.scratch.read_at(self.number * CHUNK_BYTES + offset, bytes);
        read.map_err(|error| failed("reading states that were moved to disk", error))
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StateError> {
        let written = self.file.scratch.write_at(self.number * CHUNK_BYTES + offset, bytes);
        written.map_err(|error| failed("moving states to disk", error))
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.file.room().free.push(self.number);
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chunk").field(&self.number).finish()
    }
}

/// The disk's error names the file.
fn failed(doing: &str, error: io::Error) -> StateError {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (doing, error) = (doing.to_owned(), Arc::new(error));
    match is_full {
        true => JournalError::Full { doing, error }.into(),
        false => JournalError::Disk { doing, error }.into(),
    }
}

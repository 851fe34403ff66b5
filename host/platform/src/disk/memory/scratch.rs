use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::super::{Operation, Scratch};

/// A file without a name that takes memory in place of room on a disk.
#[derive(Debug)]
pub struct MemoryScratch {
    path: PathBuf,
    bytes: RwLock<Vec<u8>>,
}

impl MemoryScratch {
    /// An empty one, which errors call by `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), bytes: RwLock::default() }
    }
}

impl Scratch for MemoryScratch {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let content = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let read = content.get(from..).and_then(|rest| rest.get(..bytes.len()));
        let early = || Operation::ReadAt.explain(&self.path, ErrorKind::UnexpectedEof.into());
        bytes.copy_from_slice(read.ok_or_else(early)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let full = |error| Operation::Append.explain(&self.path, error);
        let from = usize::try_from(offset).map_err(|_| full(ErrorKind::StorageFull.into()))?;
        let end = from.checked_add(bytes.len()).ok_or_else(|| full(ErrorKind::StorageFull.into()))?;
        if end > content.len() {
            content.resize(end, 0);
        }
        content[from..end].copy_from_slice(bytes);
        Ok(())
    }
}

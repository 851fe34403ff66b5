use std::io;
use std::path::{Path, PathBuf};

use super::plan::Fate;
use super::{FaultyDisk, Operation, Scratch};

#[derive(Debug)]
pub(super) struct FaultyScratch {
    disk: FaultyDisk,
    inner: Box<dyn Scratch>,
    path: PathBuf,
}

impl FaultyScratch {
    pub(super) fn new(disk: &FaultyDisk, inner: Box<dyn Scratch>, path: &Path) -> Self {
        Self { disk: disk.clone(), inner, path: path.to_path_buf() }
    }
}

impl Scratch for FaultyScratch {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let fate = self.disk.plan().fate(Operation::ReadAt, 0);
        match fate {
            Fate::Done => self.inner.read_at(offset, bytes),
            Fate::Refused(error) | Fate::Broken { error, .. } => {
                Err(error.explain(Operation::ReadAt, &self.path))
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fate = self.disk.plan().fate(Operation::Append, bytes.len() as u64);
        match fate {
            Fate::Done => self.inner.write_at(offset, bytes),
            Fate::Refused(error) => Err(error.explain(Operation::Append, &self.path)),
            Fate::Broken { appended, error } => {
                let written = usize::try_from(appended).unwrap_or(usize::MAX).min(bytes.len());
                // What went wrong within does not matter, as it fails in any case.
                self.inner.write_at(offset, &bytes[..written]).ok();
                Err(error.explain(Operation::Append, &self.path))
            }
        }
    }
}

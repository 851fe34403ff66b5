//! Files without a name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::{Operation, Scratch};

/// A file that loses its name as soon as it is made.
#[derive(Debug)]
pub(super) struct SystemScratch {
    path: PathBuf,
    file: OnceLock<File>,
    making: Mutex<()>,
}

impl SystemScratch {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), file: OnceLock::new(), making: Mutex::new(()) }
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let made = make(&self.path).map_err(|error| Operation::Create.explain(&self.path, error))?;
        Ok(self.file.get_or_init(|| made))
    }
}

impl Scratch for SystemScratch {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = self.file.get().ok_or_else(|| ErrorKind::UnexpectedEof.into());
        let read = file.and_then(|file| file.read_exact_at(bytes, offset));
        read.map_err(|error| Operation::ReadAt.explain(&self.path, error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.file()?.write_all_at(bytes, offset);
        written.map_err(|error| Operation::Append.explain(&self.path, error))
    }
}

fn make(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        // A process crashed that had just made it.
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

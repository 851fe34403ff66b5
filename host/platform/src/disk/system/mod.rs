//! The machine's disk.

mod scratch;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Append, Disk, Operation, Scratch};
use scratch::SystemScratch;

/// The machine's disk. Each call is one hop to a thread that may block.
///
/// A call whose future is dropped may still be carried out, and later than what is asked next: whoever drops an
/// append or a sync drops its file too.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

#[async_trait]
impl Disk for SystemDisk {
    async fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let create = |path: &Path| OpenOptions::new().append(true).create_new(true).open(path);
        let file = carry_out(Operation::Create, path, create).await?;
        Ok(SystemFile::boxed(file, path))
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let open = |path: &Path| OpenOptions::new().append(true).open(path);
        let file = carry_out(Operation::Open, path, open).await?;
        Ok(SystemFile::boxed(file, path))
    }

    async fn read(&self, path: &Path) -> io::Result<Bytes> {
        carry_out(Operation::Read, path, |path| fs::read(path).map(Bytes::from)).await
    }

    async fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        carry_out(Operation::ReadAt, path, move |path| read_at(path, offset, length)).await
    }

    async fn length(&self, path: &Path) -> io::Result<u64> {
        carry_out(Operation::Length, path, |path| file_length(&fs::metadata(path)?)).await
    }

    async fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        carry_out(Operation::Truncate, path, move |path| truncate(path, length)).await
    }

    async fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        carry_out(Operation::List, folder, list).await
    }

    async fn create_folder(&self, folder: &Path) -> io::Result<()> {
        carry_out(Operation::CreateFolder, folder, |folder| fs::create_dir_all(folder)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        let rename =
            move || fs::rename(&from, &to).map_err(|error| Operation::explain_rename(&from, &to, error));
        hop(rename).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        carry_out(Operation::Remove, path, remove).await
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        carry_out(Operation::SyncFolder, folder, sync_folder).await
    }

    fn scratch(&self, path: &Path) -> Box<dyn Scratch> {
        Box::new(SystemScratch::new(path))
    }
}

struct SystemFile {
    file: Arc<File>,
    path: PathBuf,
}

impl SystemFile {
    fn boxed(file: File, path: &Path) -> Box<dyn Append> {
        Box::new(Self { file: Arc::new(file), path: path.to_path_buf() })
    }
}

#[async_trait]
impl Append for SystemFile {
    async fn append(&mut self, buffers: Vec<Bytes>) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        carry_out(Operation::Append, &self.path, move |_path| write_all(&*file, &buffers)).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        carry_out(Operation::Sync, &self.path, move |_path| file.sync_data()).await
    }
}

/// Does `work` to `path` on a thread that may block.
async fn carry_out<T: Send + 'static>(
    operation: Operation,
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_path_buf();
    hop(move || work(&path).map_err(|error| operation.explain(&path, error))).await
}

async fn hop<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    // The runtime gives up on work that has not begun when it shuts down.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Writes all bytes of `buffers` in as few calls as it takes.
fn write_all(mut file: impl Write, buffers: &[Bytes]) -> io::Result<()> {
    let full = buffers.iter().filter(|buffer| !buffer.is_empty());
    let mut slices: Vec<IoSlice<'_>> = full.map(|buffer| IoSlice::new(buffer)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The length is checked against the file's before there is a buffer for it: it may come from a damaged file.
fn read_at(path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let there = file_length(&file.metadata()?)?;
    if offset.checked_add(length as u64).is_none_or(|end| end > there) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

fn file_length(metadata: &fs::Metadata) -> io::Result<u64> {
    if metadata.is_dir() { Err(ErrorKind::IsADirectory.into()) } else { Ok(metadata.len()) }
}

fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file_length(&file.metadata()?)? < length {
        return Err(ErrorKind::InvalidInput.into());
    }
    file.set_len(length)?;
    // What is on the disk is not known then: were it for want of room, room would not mend it.
    file.sync_data().map_err(|error| io::Error::other(format!("syncing it: {error}")))
}

fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().map_err(|name| {
            io::Error::new(ErrorKind::InvalidData, format!("the name {name:?} is not UTF-8"))
        })?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir(path),
        removed => removed,
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let file = File::open(folder)?;
    if !file.metadata()?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    file.sync_all()
}

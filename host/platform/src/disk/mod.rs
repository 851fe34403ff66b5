//! Files and folders, as the journal needs them.
//!
//! Every error of these disks says what was being done and to which path, and keeps its [`io::ErrorKind`].

mod faulty;
mod memory;
mod operation;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

pub use faulty::{Fault, FaultyDisk, Stopped};
pub use memory::{MemoryDisk, MemoryScratch};
pub use operation::Operation;
pub use system::SystemDisk;

/// A disk. What is written is safe from a crash of the machine only once it is synced: a file's bytes by
/// [`Append::sync`], that a file exists under its name by [`Disk::sync_folder`].
#[async_trait]
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a new, empty file to append to.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one of that name.
    async fn create(&self, path: &Path) -> io::Result<Box<dyn Append>>;

    /// Opens a file that is there, to append behind its end.
    async fn append(&self, path: &Path) -> io::Result<Box<dyn Append>>;

    /// The whole of a file.
    async fn read(&self, path: &Path) -> io::Result<Bytes>;

    /// Exactly `length` bytes of a file from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter.
    async fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The length of a file in bytes.
    async fn length(&self, path: &Path) -> io::Result<u64>;

    /// Cuts a file to `length` bytes, and syncs it.
    ///
    /// # Errors
    /// `InvalidInput` where the file is shorter.
    async fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;

    /// The names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// `InvalidData` where one of them is not UTF-8.
    async fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder and those above it, where they are not there.
    async fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file or folder another name, in place of what has that name.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or a folder in which there is nothing.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` where there is something in the folder.
    async fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the folder's names are on disk.
    async fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// A new, empty file for what is of no use to anybody else. It is made at `path` with the first write, in place of what
    /// is there, and has no name from then on: its room is free again when it is dropped or the process ends.
    fn scratch(&self, path: &Path) -> Box<dyn Scratch>;
}

/// A file that nobody else sees and that no crash outlives. Its calls block, and may come from several threads at once.
pub trait Scratch: Send + Sync + fmt::Debug {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where so much was never written.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on. After an error any part of them may be there.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The end of a file that is being written.
#[async_trait]
pub trait Append: Send + Sync {
    /// Appends all bytes of `buffers`, in order. After an error any prefix of them may be there.
    async fn append(&mut self, buffers: Vec<Bytes>) -> io::Result<()>;

    /// Waits until all that was appended is on disk.
    ///
    /// After an error nobody knows what is on disk, and a second call may answer well though data is gone:
    /// the file is finished.
    async fn sync(&mut self) -> io::Result<()>;
}

/// Makes a folder and those above it, where they are not there, so that they are on disk under their names.
///
/// Each is on disk before the next is made in it: one that is there may have been made just before a crash, but those above
/// it were not.
pub async fn make_folder(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    let mut places = Vec::new();
    for folder in folder.ancestors() {
        let Some(parent) = folder.parent() else { break };
        places.push((folder, if parent.as_os_str().is_empty() { Path::new(".") } else { parent }));
        if disk.list(folder).await.is_ok() {
            break;
        }
    }
    for (folder, parent) in places.into_iter().rev() {
        disk.create_folder(folder).await?;
        match disk.sync_folder(parent).await {
            // Somebody else's folder, in which we may have a place, but which we may not open.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

//! Memory that nobody can change any more, this process included: what is checked in it stays as it was checked.
//!
//! Code is loaded from it as from a file, which maps its pages in place of copying them: half of what a load took was the
//! system's work for pages of copies.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

#[cfg(test)]
mod tests;

/// Bytes that are copied at a time: as many as stay in a core's cache while they are looked at.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file in memory, without a name, whose bytes and length are fixed.
pub(super) struct Sealed(File);

impl Sealed {
    /// Copies all of `from`, and shows each piece to `look`.
    pub(super) fn copy(mut from: impl Read, mut look: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut to = File::from(memfd_create("code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let bytes = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(bytes) => &chunk[..bytes],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            look(bytes);
            to.write_all(bytes)?;
        }
        fcntl_add_seals(&to, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(to))
    }

    /// Where this process finds it, for as long as it holds it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

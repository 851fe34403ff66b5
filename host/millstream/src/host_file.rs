//! How a running pipeline is found: a lock in its checkpoint folder, and beside it who holds it.
//!
//! The lock is the truth: it ends with the process, however that ends. `host.json` only says which process it is. Who runs holds the
//! lock alone, and who looks whether one does shares it for a moment.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::load::Refused;

#[cfg(test)]
mod tests;

/// How often a lock is tried that others look at, and how long it is waited for them in between.
const LOOKS: u32 = 1_000;
const LOOK: Duration = Duration::from_millis(1);

/// What `host.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostFile {
    pub(crate) pid: u32,
}

/// Held for as long as the pipeline runs.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    host_file: PathBuf,
}

impl Lock {
    /// Takes the checkpoint folder for this process. Refused while another process has it.
    pub(crate) fn take(checkpoint: &Path) -> Result<Self> {
        if let Some(lock) = Self::take_if_free(checkpoint)? {
            return Ok(lock);
        }
        let by = read(checkpoint).map_or(String::new(), |host| format!(" (process {})", host.pid));
        let folder = checkpoint.display();
        Err(Refused(format!(
            "the checkpoint folder {folder} is in use by a running pipeline{by}; `run --takeover` goes on in its place"
        ))
        .into())
    }

    /// Takes the checkpoint folder for this process, unless another process has it.
    pub(crate) fn take_if_free(checkpoint: &Path) -> Result<Option<Self>> {
        let file = open_to_take(checkpoint)?;
        match try_lock(&file).with_context(|| format!("locking {}", checkpoint.display()))? {
            true => Self::hold(checkpoint, file).map(Some),
            false => Ok(None),
        }
    }

    /// Takes the checkpoint folder for this process as soon as no other process has it. Blocks until then.
    pub(crate) fn take_when_free(checkpoint: &Path) -> Result<Self> {
        let file = open_to_take(checkpoint)?;
        file.lock().with_context(|| format!("waiting for the lock of {}", checkpoint.display()))?;
        Self::hold(checkpoint, file)
    }

    fn hold(checkpoint: &Path, file: File) -> Result<Self> {
        let host_file = named(checkpoint);
        let host = serde_json::to_string(&HostFile { pid: std::process::id() })?;
        // Whoever reads it meanwhile sees the one before or this one, and no half of it.
        let staged = checkpoint.join("host.json.new");
        let written = fs::write(&staged, host).and_then(|()| fs::rename(&staged, &host_file));
        written.with_context(|| format!("writing {}", host_file.display()))?;
        Ok(Self { _file: file, host_file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.host_file) {
            tracing::warn!("removing {}: {error}", self.host_file.display());
        }
    }
}

/// Locks the file, unless another process has. Those that only look share the lock for a moment, which is waited for.
#[allow(clippy::disallowed_methods, reason = "nothing tells that a process has looked")]
fn try_lock(file: &File) -> io::Result<bool> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match file.try_lock_shared() {
            Ok(()) => file.unlock()?,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        thread::sleep(LOOK);
    }
    Ok(false)
}

/// Who holds a checkpoint folder.
#[derive(Debug)]
pub(crate) enum Holder {
    Nobody,
    Process(HostFile),
    /// One that begins or ends, and does not say which it is.
    Unnamed,
}

/// Who holds the checkpoint folder now.
pub(crate) fn holder(checkpoint: &Path) -> Result<Holder> {
    let file = match open(checkpoint) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        opened => opened.map_err(|error| unopened(checkpoint, &error))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Holder::Nobody),
        Err(TryLockError::WouldBlock) => match read(checkpoint) {
            Err(error) if is_missing(&error) => Ok(Holder::Unnamed),
            read => read.map(Holder::Process),
        },
        Err(TryLockError::Error(error)) => bail!("looking at the lock of {}: {error}", checkpoint.display()),
    }
}

/// The process that runs on the checkpoint folder, if one does.
pub(crate) fn running(checkpoint: &Path) -> Result<Option<HostFile>> {
    match holder(checkpoint)? {
        Holder::Nobody => Ok(None),
        Holder::Process(host) => Ok(Some(host)),
        Holder::Unnamed => read(checkpoint).map(Some),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn open_to_take(checkpoint: &Path) -> Result<File> {
    fs::create_dir_all(checkpoint)
        .with_context(|| format!("making the checkpoint folder {}", checkpoint.display()))?;
    open(checkpoint).map_err(|error| unopened(checkpoint, &error))
}

/// Why the lock cannot be opened, and what to do.
fn unopened(checkpoint: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "; it takes the user that the pipeline runs as",
        _ => "",
    };
    anyhow!("opening the lock of {}: {error}{remedy}", checkpoint.display())
}

fn open(checkpoint: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(checkpoint.join("lock"))
}

fn named(checkpoint: &Path) -> PathBuf {
    checkpoint.join("host.json")
}

fn read(checkpoint: &Path) -> Result<HostFile> {
    let path = named(checkpoint);
    let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}

//! Open files, and which of their bytes are safe.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::plan::Fate;
use super::{Append, FaultyDisk, Operation};

/// The files that were opened, by their present names.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, FileState>);

/// What is known of a file. Clones speak of the same one.
#[derive(Clone, Debug)]
pub(super) struct FileState(Arc<Mutex<Progress>>);

#[derive(Clone, Copy, Debug)]
struct Progress {
    length: u64,
    /// How much of it is safe.
    synced: u64,
    /// A sync has failed, and none is carried out any more.
    trapped: bool,
}

impl Files {
    pub(super) fn get(&self, path: &Path) -> Option<FileState> {
        self.0.get(path).cloned()
    }

    /// One that was not known is taken to be safe as it is.
    fn open(&mut self, path: &Path, length: u64) -> FileState {
        let progress = Progress { length, synced: length, trapped: false };
        let state = self.0.entry(path.to_path_buf());
        state.or_insert_with(|| FileState(Arc::new(Mutex::new(progress)))).clone()
    }

    pub(super) fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Moves a file, or all that is in a folder.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if from == to {
            return;
        }
        self.forget(to);
        let moved: Vec<PathBuf> = self.0.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let inside = path.strip_prefix(from).expect("only what is inside is moved");
            let path_now = if inside.as_os_str().is_empty() { to.to_path_buf() } else { to.join(inside) };
            if let Some(state) = self.0.remove(&path) {
                self.0.insert(path_now, state);
            }
        }
    }

    /// All of a file is safe since it was cut.
    pub(super) fn cut(&self, path: &Path, length: u64) {
        if let Some(state) = self.get(path) {
            state.change(|progress| *progress = Progress { length, synced: length, trapped: false });
        }
    }
}

impl FileState {
    pub(super) fn is_trapped(&self) -> bool {
        self.change(|progress| progress.trapped)
    }

    pub(super) fn synced(&self) -> u64 {
        self.change(|progress| progress.synced)
    }

    pub(super) fn set_length(&self, length: u64) {
        self.change(|progress| progress.length = length);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics while it holds a file's state"))
    }
}

pub(super) struct FaultyFile {
    disk: FaultyDisk,
    inner: Box<dyn Append>,
    state: FileState,
    path: PathBuf,
}

impl FaultyFile {
    pub(super) fn boxed(
        disk: &FaultyDisk,
        inner: Box<dyn Append>,
        path: &Path,
        length: u64,
    ) -> Box<dyn Append> {
        let state = disk.files().open(path, length);
        Box::new(Self { disk: disk.clone(), inner, state, path: path.to_path_buf() })
    }

    async fn append_inner(&mut self, buffers: Vec<Bytes>) -> io::Result<()> {
        let bytes = total(&buffers);
        let appended = self.inner.append(buffers).await;
        match appended {
            Ok(()) => self.state.change(|progress| progress.length += bytes),
            // Some of it may be there. A file that got another name meanwhile keeps the length that is known.
            Err(_) => {
                if let Ok(length) = self.disk.inner.length(&self.path).await {
                    self.state.set_length(length);
                }
            }
        }
        appended
    }

    async fn sync_inner(&mut self) -> io::Result<()> {
        let before = self.state.change(|progress| *progress);
        if before.trapped {
            return Ok(());
        }
        let synced = self.inner.sync().await;
        self.state.change(|progress| match synced {
            Ok(()) => progress.synced = before.length,
            Err(_) => progress.trapped = true,
        });
        synced
    }
}

#[async_trait]
impl Append for FaultyFile {
    async fn append(&mut self, buffers: Vec<Bytes>) -> io::Result<()> {
        let fate = self.disk.plan().fate(Operation::Append, total(&buffers));
        match fate {
            Fate::Done => self.append_inner(buffers).await,
            Fate::Refused(error) => Err(error.explain(Operation::Append, &self.path)),
            Fate::Broken { appended, error } => {
                // What went wrong within does not matter, as it fails in any case.
                self.append_inner(prefix(buffers, appended)).await.ok();
                Err(error.explain(Operation::Append, &self.path))
            }
        }
    }

    async fn sync(&mut self) -> io::Result<()> {
        let fate = self.disk.plan().fate(Operation::Sync, 0);
        let error = match fate {
            Fate::Done => return self.sync_inner().await,
            Fate::Refused(error) => error,
            Fate::Broken { error, .. } => {
                self.sync_inner().await.ok();
                error
            }
        };
        self.state.change(|progress| progress.trapped = true);
        Err(error.explain(Operation::Sync, &self.path))
    }
}

fn total(buffers: &[Bytes]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

/// The first `bytes` bytes of `buffers`.
fn prefix(mut buffers: Vec<Bytes>, bytes: u64) -> Vec<Bytes> {
    let mut left = bytes;
    for buffer in &mut buffers {
        buffer.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= buffer.len() as u64;
    }
    buffers
}

//! A disk in memory that forgets on a power cut what was not synced.

mod nodes;
mod power_cut;
mod scratch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Append, Disk, Operation, Scratch};
use crate::Seeded;
use nodes::{NodeId, Nodes};
pub use scratch::MemoryScratch;

/// A disk in memory. Clones are the same disk. Paths begin at its root, also those that look relative.
///
/// # What survives a power cut
/// A file's bytes are safe once they are synced, and a name (a creation, rename or removal) once its folder is;
/// a rename from one folder to another is a removal here and a creation there, each safe with its own folder.
/// Of the rest, [`MemoryDisk::crash`] lets the seed choose what is left:
///
/// - of a file's bytes behind the synced ones, any prefix; sometimes the sectors at its end are torn: each is
///   as it was written, or zeros, or garbage. A disk writes the sectors of a file in any order, so a good one may
///   follow a torn one.
/// - of what was done to a folder since it was synced, the first few steps, any number of them. Folders are
///   independent of each other and of what is in the files: a file may come back empty under its final name, and
///   one that was moved to another folder may come back under both names or under none.
///
/// A file or folder without a name is gone, with all that is in it.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    pauses: Option<Pauses>,
}

struct State {
    nodes: Nodes,
    /// How many processes have used the disk until they crashed. What began in an earlier life fails.
    life: u64,
}

/// How often an operation lets other tasks go first.
struct Pauses {
    seeded: Seeded,
    most: u64,
}

impl MemoryDisk {
    /// An empty disk, on which each operation is over at once.
    #[allow(clippy::new_without_default, reason = "a disk is made on purpose: a second one is another disk")]
    pub fn new() -> Self {
        Self::with(Nodes::new(), None)
    }

    /// An empty disk, on which each operation yields to other tasks up to `most` times before it happens and as
    /// often after it, so that tasks on one thread interleave in another way for each seed.
    pub fn with_yields(seed: u64, most: u64) -> Self {
        Self::with(Nodes::new(), Some(Pauses { seeded: Seeded::new(seed), most }))
    }

    fn with(nodes: Nodes, pauses: Option<Pauses>) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State { nodes, life: 0 }), pauses }))
    }

    /// Another disk with the same on it, synced or not, that yields to nobody: to see what several seeds make of
    /// one crash.
    pub fn fork(&self) -> Self {
        Self::with(self.state().nodes.clone(), None)
    }

    /// Cuts the power: what was not synced is lost in part, as `seeded` chooses. Files that are open and
    /// operations that have begun fail from here on, and leave the disk alone.
    pub fn crash(&self, seeded: &Seeded) {
        let mut state = self.state();
        state.life += 1;
        state.nodes.cut_power(seeded);
    }

    /// Ends the process that uses the disk: all that was written stays, though what was not synced can still be
    /// lost by a later power cut. Files that are open and operations that have begun fail from here on, and leave
    /// the disk alone.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        state.nodes.forget_nameless();
    }

    /// Turns over one bit of a file: bit `bit % 8` of byte `bit / 8`, the lowest bit being 0. That is on disk at
    /// once.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut state = self.state();
        let flipped = state.nodes.find_file(path).and_then(|file| state.nodes.file(file)?.flip_bit(bit));
        flipped.map_err(|error| Operation::Append.explain(path, error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds the disk")
    }

    /// Does `work`, unless the process that began it in `life` has crashed meanwhile.
    async fn carry_out<T: Send>(
        &self,
        life: u64,
        work: impl FnOnce(&mut Nodes) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.pause().await;
        let done = self.state().in_life(life).and_then(work);
        self.pause().await;
        done
    }

    async fn carry_out_at<T: Send>(
        &self,
        operation: Operation,
        path: &Path,
        work: impl FnOnce(&mut Nodes) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let life = self.state().life;
        self.carry_out(life, work).await.map_err(|error| operation.explain(path, error))
    }

    async fn pause(&self) {
        if let Some(Pauses { seeded, most }) = &self.0.pauses {
            for _ in 0..seeded.below(most.saturating_add(1)) {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl State {
    fn in_life(&mut self, life: u64) -> io::Result<&mut Nodes> {
        if life == self.life {
            Ok(&mut self.nodes)
        } else {
            Err(io::Error::other("the process that began this has crashed"))
        }
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("life", &self.state().life).finish_non_exhaustive()
    }
}

#[async_trait]
impl Disk for MemoryDisk {
    async fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let life = self.state().life;
        let created = self.carry_out(life, |nodes| nodes.create_file(path)).await;
        let file = created.map_err(|error| Operation::Create.explain(path, error))?;
        Ok(Box::new(MemoryFile { disk: self.clone(), life, file, path: path.to_path_buf() }))
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let life = self.state().life;
        let found = self.carry_out(life, |nodes| nodes.find_file(path)).await;
        let file = found.map_err(|error| Operation::Open.explain(path, error))?;
        Ok(Box::new(MemoryFile { disk: self.clone(), life, file, path: path.to_path_buf() }))
    }

    async fn read(&self, path: &Path) -> io::Result<Bytes> {
        let read = |nodes: &mut Nodes| {
            let file = nodes.find_file(path)?;
            Ok(Bytes::copy_from_slice(nodes.file(file)?.bytes()))
        };
        self.carry_out_at(Operation::Read, path, read).await
    }

    async fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        let read = |nodes: &mut Nodes| {
            let file = nodes.find_file(path)?;
            nodes.file(file)?.read_at(offset, length)
        };
        self.carry_out_at(Operation::ReadAt, path, read).await
    }

    async fn length(&self, path: &Path) -> io::Result<u64> {
        let measure = |nodes: &mut Nodes| {
            let file = nodes.find_file(path)?;
            Ok(nodes.file(file)?.bytes().len() as u64)
        };
        self.carry_out_at(Operation::Length, path, measure).await
    }

    async fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let truncate = |nodes: &mut Nodes| {
            let file = nodes.find_file(path)?;
            nodes.file(file)?.truncate(length)
        };
        self.carry_out_at(Operation::Truncate, path, truncate).await
    }

    async fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.carry_out_at(Operation::List, folder, |nodes| nodes.list(folder)).await
    }

    async fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.carry_out_at(Operation::CreateFolder, folder, |nodes| nodes.create_folder(folder)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let life = self.state().life;
        let renamed = self.carry_out(life, |nodes| nodes.rename(from, to)).await;
        renamed.map_err(|error| Operation::explain_rename(from, to, error))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.carry_out_at(Operation::Remove, path, |nodes| nodes.remove(path)).await
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.carry_out_at(Operation::SyncFolder, folder, |nodes| nodes.sync_folder(folder)).await
    }

    fn scratch(&self, path: &Path) -> Box<dyn Scratch> {
        Box::new(MemoryScratch::new(path))
    }
}

/// An open file: it stays the same one when its name changes or goes.
struct MemoryFile {
    disk: MemoryDisk,
    life: u64,
    file: NodeId,
    path: PathBuf,
}

#[async_trait]
impl Append for MemoryFile {
    async fn append(&mut self, buffers: Vec<Bytes>) -> io::Result<()> {
        let append = |nodes: &mut Nodes| {
            nodes.file(self.file)?.append(&buffers);
            Ok(())
        };
        let appended = self.disk.carry_out(self.life, append).await;
        appended.map_err(|error| Operation::Append.explain(&self.path, error))
    }

    async fn sync(&mut self) -> io::Result<()> {
        let sync = |nodes: &mut Nodes| {
            nodes.file(self.file)?.sync();
            Ok(())
        };
        let synced = self.disk.carry_out(self.life, sync).await;
        synced.map_err(|error| Operation::Sync.explain(&self.path, error))
    }
}

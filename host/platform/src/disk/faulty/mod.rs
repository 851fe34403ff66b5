//! A disk that fails when a test wants it to.

mod file;
mod plan;
mod scratch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Append, Disk, Operation, Scratch};
use file::{FaultyFile, Files};
use plan::{Fate, Plan};
use scratch::FaultyScratch;

/// A disk around another one that fails by a script, by chance or from some operation on. Clones are the same
/// disk. Without further ado it passes everything on.
///
/// After a sync has failed, the file is not synced any more, though every later sync of it answers well: this is
/// what operating systems do, as they forget which bytes they could not write. Only cutting the file back to what
/// was synced before makes it good again.
///
/// Files have to be written through this disk alone while it is in use. Reading and writing a [`Scratch`] count as
/// [`Operation::ReadAt`] and [`Operation::Append`].
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Mutex<Plan>>,
    files: Arc<Mutex<Files>>,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing.
    Refused,
    /// It fails half-way. An append leaves its first bytes, `appended` of them at the most; a failed sync has made
    /// all safe that was there; anything else is done though it says that it failed.
    Broken {
        /// How many bytes an append leaves.
        appended: u64,
    },
}

/// The error of all operations of a [`FaultyDisk`] that has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Stopped {
    /// Whether this is the error of a disk that has stopped.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk has stopped, as the process is to have crashed here")
    }
}

impl std::error::Error for Stopped {}

impl FaultyDisk {
    /// A disk that does as `inner` does. The seed chooses everything that is left to chance.
    pub fn new(inner: Arc<dyn Disk>, seed: u64) -> Self {
        let plan = Arc::new(Mutex::new(Plan::new(seed)));
        Self { inner, plan, files: Arc::default() }
    }

    /// How many operations it has been asked for, failed ones included.
    pub fn operations(&self) -> u64 {
        self.plan().asked()
    }

    /// How many operations of one kind it has been asked for, failed ones included.
    pub fn operations_of(&self, operation: Operation) -> u64 {
        self.plan().asked_of(operation)
    }

    /// Makes one operation fail with an input/output error: of those of its kind that are still to come, the one
    /// after `skip` others.
    pub fn fail(&self, operation: Operation, skip: u64, fault: Fault) {
        self.plan().fail(operation, skip, fault);
    }

    /// Makes about one in so many operations of a kind fail with an input/output error, either without a trace or
    /// half-way; none of them where `one_in` is 0.
    pub fn fail_randomly(&self, operation: Operation, one_in: u64) {
        self.plan().fail_randomly(operation, one_in);
    }

    /// Makes no more operation fail of those that [`FaultyDisk::fail`] and [`FaultyDisk::fail_randomly`] chose.
    /// What is broken stays broken.
    pub fn heal(&self) {
        self.plan().heal();
    }

    /// Lets so many bytes be appended, and no more: the append that wants more leaves what there is room for, and
    /// fails with `StorageFull`. Nothing but [`FaultyDisk::free`] gives room back.
    pub fn limit_room(&self, bytes: u64) {
        self.plan().limit_room(bytes);
    }

    /// Gives back room for so many bytes, if it is limited.
    pub fn free(&self, bytes: u64) {
        self.plan().free(bytes);
    }

    /// Stops at once: every operation from here on does nothing and fails with [`Stopped`].
    pub fn stop(&self) {
        let mut plan = self.plan();
        let asked = plan.asked();
        plan.stop_after(asked, false);
    }

    /// Stops after `operations` operations, counted from the beginning of this disk: every later one does nothing
    /// and fails with [`Stopped`]. Where a run takes n operations, 0 to n - 1 are all the places where it can
    /// stop.
    pub fn stop_after(&self, operations: u64) {
        self.plan().stop_after(operations, false);
    }

    /// Stops as [`FaultyDisk::stop_after`] does, but the first operation that fails is half done: an append leaves
    /// any prefix, anything else is done.
    pub fn stop_within(&self, operations: u64) {
        self.plan().stop_after(operations, true);
    }

    /// Whether an operation has failed because the disk has stopped.
    pub fn stopped(&self) -> bool {
        self.plan().stopped()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("nothing panics while it holds the plan")
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("nothing panics while it holds the files")
    }

    /// Does `work`, or what the plan has in place of it.
    async fn carry_out<T: Send>(
        &self,
        operation: Operation,
        path: &Path,
        work: impl Future<Output = io::Result<T>> + Send,
    ) -> io::Result<T> {
        let fate = self.plan().fate(operation, 0);
        match fate {
            Fate::Done => work.await,
            Fate::Refused(error) => Err(error.explain(operation, path)),
            Fate::Broken { error, .. } => {
                // What went wrong within does not matter, as it fails in any case.
                work.await.ok();
                Err(error.explain(operation, path))
            }
        }
    }

    async fn open(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let file = self.inner.append(path).await?;
        let length = self.inner.length(path).await?;
        Ok(FaultyFile::boxed(self, file, path, length))
    }

    /// Cuts a file without making safe what a failed sync has lost.
    async fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        let trapped = self.files().get(path).filter(|state| state.is_trapped());
        let Some(state) = trapped.filter(|state| state.synced() < length) else {
            self.inner.truncate(path, length).await?;
            self.files().cut(path, length);
            return Ok(());
        };
        let synced = state.synced();
        let lost = usize::try_from(length - synced).map_err(io::Error::other)?;
        let lost = self.inner.read_at(path, synced, lost).await?;
        self.inner.truncate(path, synced).await?;
        self.inner.append(path).await?.append(vec![lost]).await?;
        state.set_length(length);
        Ok(())
    }
}

#[async_trait]
impl Disk for FaultyDisk {
    async fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let create = async {
            let file = self.inner.create(path).await?;
            self.files().forget(path);
            Ok(FaultyFile::boxed(self, file, path, 0))
        };
        self.carry_out(Operation::Create, path, create).await
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        self.carry_out(Operation::Open, path, self.open(path)).await
    }

    async fn read(&self, path: &Path) -> io::Result<Bytes> {
        self.carry_out(Operation::Read, path, self.inner.read(path)).await
    }

    async fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        self.carry_out(Operation::ReadAt, path, self.inner.read_at(path, offset, length)).await
    }

    async fn length(&self, path: &Path) -> io::Result<u64> {
        self.carry_out(Operation::Length, path, self.inner.length(path)).await
    }

    async fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.carry_out(Operation::Truncate, path, self.cut(path, length)).await
    }

    async fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.carry_out(Operation::List, folder, self.inner.list(folder)).await
    }

    async fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.carry_out(Operation::CreateFolder, folder, self.inner.create_folder(folder)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = async {
            self.inner.rename(from, to).await?;
            self.files().rename(from, to);
            Ok(())
        };
        self.carry_out(Operation::Rename, from, rename).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = async {
            self.inner.remove(path).await?;
            self.files().forget(path);
            Ok(())
        };
        self.carry_out(Operation::Remove, path, remove).await
    }

    async fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.carry_out(Operation::SyncFolder, folder, self.inner.sync_folder(folder)).await
    }

    fn scratch(&self, path: &Path) -> Box<dyn Scratch> {
        Box::new(FaultyScratch::new(self, self.inner.scratch(path), path))
    }
}

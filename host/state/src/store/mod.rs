//! All tables of a pipeline, and how their changes become real.
//!
//! Changes are written and applied one after the other. Between [`Store::write`] and [`Store::apply`] the change is durable
//! and not real: nothing has changed in memory, and the log is taken to end where the batch before left it, so the next write
//! replaces it.
//!
//! What is removed from the disk is only what nobody needed one batch *before* the last one that was applied. So the state can be
//! recovered as of the last commit and as of the one before it, if the last commit record is lost.

mod fill;
mod fork;
mod generation;
mod recover;
mod rolling;
mod room;
mod statistics;
mod tables;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_journal::{PanePlace, Place, SCRATCH, StateEnd, StateFiles, StateLog, StoredTable};
use millstream_model::BatchTime;
use millstream_platform::Disk;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::change::{Change, TableChange};
use crate::cold::ColdFile;
use crate::keyed::Keyed;
use crate::panes::Panes;
use crate::{Difference, KeyedSpec, PaneSpec, Spec, StateError};
use generation::Retired;
use rolling::Rolling;
use room::{Prepared, Room};
pub use statistics::{Statistics, TableStatistics};
use tables::{Content, Tables};

/// How much memory states may take, and how they are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What all tables together may take in memory. Keys beyond it go to disk; of each of them some 14 bytes stay in memory.
    pub memory_bytes: u64,
    /// A segment of the log that is this long is followed by another.
    pub log_segment_bytes: u64,
    /// Each shard is written into a snapshot at most once in so many batches that change something; less often where
    /// batches change little, so that no more is written for snapshots than for the log.
    pub snapshot_every: u64,
    /// A snapshot waits until there is so much to write, or everything; as much is kept in memory for it.
    pub snapshot_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            log_segment_bytes: 64 << 20,
            snapshot_every: 64,
            snapshot_bytes_min: 1 << 20,
        }
    }
}

/// All tables of a pipeline.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    tables: Mutex<Tables>,
    room: Room,
    disk: Option<OnDisk>,
}

#[derive(Debug)]
struct OnDisk {
    files: StateFiles,
    log: tokio::sync::Mutex<StateLog>,
    progress: Mutex<Progress>,
    /// Held by whoever maintains.
    maintaining: tokio::sync::Mutex<()>,
    /// Held by whoever removes other generations.
    removing: tokio::sync::Mutex<()>,
}

/// How far the log is real, and what is behind that.
#[derive(Debug)]
struct Progress {
    /// Where the log ends with the last batch that was applied.
    end: Option<StateEnd>,
    written: Option<Written>,
    rolling: Rolling,
    /// Segments below this one were not needed before the last batch was applied.
    removable_below: u64,
    retired: Retired,
}

/// A change that is durable and not applied.
#[derive(Debug)]
struct Written {
    time: BatchTime,
    end: Option<StateEnd>,
    bytes: u64,
    panes: Vec<PanePlace>,
    /// The tables that come with it, and the numbers of those that go.
    created: Vec<StoredTable>,
    dropped: Vec<u32>,
}

impl Store {
    /// A store without a disk: a crash loses everything. Keys beyond the limit are kept in memory as they would be on disk.
    pub fn in_memory(limits: Limits) -> Self {
        Self::without_log(limits, Tables::new(ColdFile::in_memory()))
    }

    /// Opens the store in a checkpoint folder as the last commit left it, whose end of the log is `end`: what was written
    /// behind it is removed, and so are other generations of states than that of `end`: at once those that no commit has named,
    /// the others when a batch was applied. Without an `end` there was no commit of any state.
    ///
    /// # Errors
    /// `Journal`: `Damaged` and `Newer`, where what is needed cannot be read, and nothing was changed; `Full` and `Disk`.
    pub async fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        limits: Limits,
        end: Option<StateEnd>,
    ) -> Result<Self, StateError> {
        let store = Self::open_generation(&disk, folder, limits, end).await?;
        store.remove_begun().await?;
        store.retire_others().await?;
        Ok(store)
    }

    /// The states in a checkpoint folder as of a commit, without writing anything there: a store without a log, whose keys
    /// beyond [`Limits::default`] are in a scratch file in the system's folder for temporary files. A running host may
    /// remove files meanwhile; then this fails, and can be done again with the end of a later commit.
    ///
    /// # Errors
    /// `Journal`, where what is needed cannot be read.
    pub async fn read(
        disk: &Arc<dyn Disk>,
        folder: &Path,
        end: Option<StateEnd>,
    ) -> Result<Self, StateError> {
        let limits = Limits::default();
        let name = format!("millstream-states-{}", std::process::id());
        let cold = ColdFile::new(Some(Arc::clone(disk)), &std::env::temp_dir().join(name));
        let files = StateFiles::new(disk, folder, end.unwrap_or_default().generation);
        let recovered = recover::recover(&files, end, cold, limits.memory_bytes).await?;
        Ok(Self::without_log(limits, recovered.tables))
    }

    /// Finds a keyed table or makes it. It is stored with the first change that is written.
    ///
    /// # Errors
    /// `Mismatch` where the stored one is not like that; `Columns` where keys cannot be of these types.
    pub fn keyed(&self, name: &str, spec: KeyedSpec) -> Result<Arc<Keyed>, StateError> {
        self.tables().keyed(name, spec)
    }

    /// Finds a table of panes or makes it. It is stored with the first change that is written.
    ///
    /// # Errors
    /// `Mismatch` where the stored one is not like that.
    pub fn panes(&self, name: &str, spec: PaneSpec) -> Result<Arc<Panes>, StateError> {
        self.tables().panes(name, spec)
    }

    /// A keyed table that there is, whoever asked for it.
    pub fn find_keyed(&self, name: &str) -> Option<Arc<Keyed>> {
        match &self.tables().get(name)?.content {
            Content::Keyed(keyed) => Some(Arc::clone(keyed)),
            Content::Panes(..) => None,
        }
    }

    /// A table of panes that is like `spec`, where somebody has asked for it.
    pub(crate) fn find_panes(&self, name: &str, spec: &PaneSpec) -> Option<Arc<Panes>> {
        self.tables().find_panes(name, spec)
    }

    /// The names of the tables that are stored and that nobody has asked for.
    pub fn orphans(&self) -> Vec<String> {
        self.tables().iter().filter(|(_, table)| !table.is_asked).map(|(name, _)| name.clone()).collect()
    }

    /// In what a table differs from what is asked for, if it is there and does.
    pub(crate) fn difference(&self, name: &str, asked: &Spec) -> Option<Difference> {
        self.tables().get(name)?.difference(name, asked)
    }

    /// Drops a table with all that is in it. That is durable with the next change that is written and applied; until
    /// then, a crash brings it back. Without effect where there is none.
    pub fn drop_table(&self, name: &str) {
        self.tables().drop_table(name);
    }

    /// Whether tables are dropped, and that is not durable.
    pub(crate) fn is_dropping(&self) -> bool {
        self.tables().is_dropping()
    }

    /// Makes a batch's change durable, and gives where the log ends with it: for the batch's commit record. What an earlier
    /// call wrote that was not applied is replaced. A change of nothing writes nothing.
    ///
    /// # Errors
    /// `TooLarge`, `Oversized`, `Unknown` and `Columns`, and nothing has changed; `Full`, and it can be done again. After any
    /// other error, which is also that of an earlier read that failed, the store has to be opened anew.
    pub async fn write(&self, change: &Change) -> Result<Option<StateEnd>, StateError> {
        self.prepare(change)?;
        let Some(disk) = &self.disk else { return Ok(None) };
        let mut log = disk.log.lock().await;
        let from = disk.forget_written();
        let (records, created, dropped) = self.tables().records(change, from)?;
        let mut written =
            Written { time: change.time(), end: from, bytes: 0, panes: Vec::new(), created, dropped };
        if !records.is_empty() {
            let appended = log.append(from, &|| self.tables().start(from), &records).await?;
            (written.end, written.bytes, written.panes) =
                (Some(appended.end), appended.bytes, appended.panes);
        }
        let end = written.end;
        disk.progress().written = Some(written);
        Ok(end)
    }

    /// Makes a change what is read from now on: its batch is committed. Then some shards are copied for a snapshot, if it is
    /// time.
    ///
    /// # Panics
    /// Where the change was not the last that was written.
    pub fn apply(&self, change: Change) {
        let time = change.time();
        let Some(disk) = &self.disk else { return self.change_tables(change, &[]) };
        let mut progress = disk.progress();
        let written = progress.written.take().filter(|written| written.time == time);
        let written = written.expect("a change is written before it is applied, and no other one meanwhile");
        progress.removable_below = self.first_needed(&progress);
        progress.retired.settle();
        self.change_tables(change, &written.panes);
        let mut tables = self.tables();
        tables.settle(&written.created, &written.dropped);
        progress.end = written.end;
        progress.rolling.note_tables(&tables, &written.dropped);
        if let Some(end) = written.end {
            progress.rolling.advance(&tables, written.bytes, end, &self.limits);
        }
    }

    /// Writes the snapshots for which shards were copied, removes what nobody needs any more, and moves keys to disk before memory
    /// is full. To be called beside batches, now
    /// and then; a call while another one is at work waits for it.
    ///
    /// # Errors
    /// `Full`, and the rest is done some other time; after any other error the store has to be opened anew.
    pub async fn maintain(&self) -> Result<(), StateError> {
        self.blocking(|| self.room.keep_free(&self.tables(), self.limits.memory_bytes))?;
        let Some(disk) = &self.disk else { return Ok(()) };
        let _one_at_a_time = disk.maintaining.lock().await;
        loop {
            let Some((number, copies)) = disk.progress().rolling.next_file() else { break };
            let shards =
                self.blocking(|| copies.iter().map(|copy| copy.read()).collect::<Result<Vec<_>, _>>())?;
            drop(copies);
            disk.files.write_snapshot(number, &shards).await?;
            disk.progress().rolling.written(number, &shards);
        }
        let (unused, below) = {
            let mut progress = disk.progress();
            (progress.rolling.take_unused(), progress.removable_below)
        };
        if let Err(error) = disk.files.remove_snapshots(&unused).await {
            disk.progress().rolling.put_back(&unused);
            return Err(error.into());
        }
        disk.files.remove_segments_below(below).await?;
        self.remove_retired().await
    }

    /// Whether all that was read so far is what there is.
    ///
    /// # Errors
    /// That of the first read of keys on disk that failed: what was read for it is as if they were absent.
    pub fn check_reads(&self) -> Result<(), StateError> {
        self.tables().cold().check()
    }

    async fn open_generation(
        disk: &Arc<dyn Disk>,
        folder: &Path,
        limits: Limits,
        end: Option<StateEnd>,
    ) -> Result<Self, StateError> {
        let files = StateFiles::new(disk, folder, end.unwrap_or_default().generation);
        let cold = ColdFile::new(Some(Arc::clone(disk)), &files.folder().join(SCRATCH));
        let recovered = recover::recover(&files, end, cold, limits.memory_bytes).await?;
        let (files, log) = files.settle(end, &recovered.future, limits.log_segment_bytes).await?;
        let rolling = recovered.rolling;
        let progress =
            Progress { end, written: None, rolling, removable_below: 0, retired: Retired::default() };
        let disk = OnDisk {
            files,
            log: tokio::sync::Mutex::new(log),
            progress: Mutex::new(progress),
            maintaining: tokio::sync::Mutex::default(),
            removing: tokio::sync::Mutex::default(),
        };
        let (tables, room) = (Mutex::new(recovered.tables), Room::default());
        Ok(Self { limits, tables, room, disk: Some(disk) })
    }

    fn without_log(limits: Limits, tables: Tables) -> Self {
        Self { limits, tables: Mutex::new(tables), room: Room::default(), disk: None }
    }

    fn prepare(&self, change: &Change) -> Result<(), StateError> {
        self.blocking(|| self.room.prepare(&self.tables(), change, self.limits.memory_bytes))
    }

    /// Does what waits for the disk if there are keys on it.
    fn blocking<T>(&self, work: impl FnOnce() -> T) -> T {
        let has_cold = self.tables().cold().bytes() > 0;
        blocking(has_cold, work)
    }

    fn change_tables(&self, change: Change, places: &[PanePlace]) {
        let tables = self.tables();
        self.room.take(change.time(), |prepared| {
            let prepared = prepared.map_or_else(|| Prepared::new(&tables, &change), Ok);
            match prepared {
                Ok(prepared) => apply(&tables, change, prepared, places),
                // A change that was not written, in a store without a log.
                Err(error) => tables.cold().note_failure(error),
            }
        });
    }

    /// The oldest segment that recovery needs, even where the newest snapshot of each shard is damaged.
    fn first_needed(&self, progress: &Progress) -> u64 {
        let last = progress.end.map_or(0, |end| end.segment);
        let tables = self.tables();
        let panes = tables.iter().filter_map(|(_, table)| match &table.content {
            Content::Panes(panes, _) => panes.first_segment(),
            Content::Keyed(_) => None,
        });
        let first = panes.fold(last, u64::min);
        progress.rolling.first_needed().map_or(first, |needed| needed.min(first))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(tables: &Tables, change: Change, mut prepared: Prepared, places: &[PanePlace]) {
    let time = change.time();
    for (name, change) in change.tables {
        let table = tables.get(&name).expect("a change is checked when it is written");
        match (change, &table.content) {
            (TableChange::Keyed(change), Content::Keyed(keyed)) => {
                keyed.apply(time, &change, &prepared.thaws(&name));
            }
            (TableChange::Panes(change), Content::Panes(panes, _)) => {
                let places = places.iter().filter(|of| of.table == table.id);
                let places: Vec<Place> = places.map(|of| of.place).collect();
                panes.apply(time, change, places);
            }
            _ => unreachable!("a change is checked when it is written"),
        }
    }
}

/// Does what may wait for the disk, beside other tasks where that can be.
pub(crate) fn blocking<T>(may_wait: bool, work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if may_wait => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl OnDisk {
    /// What was written and not applied will be replaced. Gives where the log really ends.
    fn forget_written(&self) -> Option<StateEnd> {
        let mut progress = self.progress();
        progress.written = None;
        progress.end
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

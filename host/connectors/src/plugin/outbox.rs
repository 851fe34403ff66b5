//! Where batches are from when they are staged until their sink has taken them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use millstream_engine::SinkError;
use millstream_journal::{JournalError, Outbox as Files, OutboxBatch};
use millstream_model::BatchTime;

/// Staged batches of one sink.
pub(crate) enum Outbox {
    /// In memory: they end with the process.
    Memory(Mutex<BTreeMap<BatchTime, Arc<[RecordBatch]>>>),
    /// In the checkpoint folder.
    Files(Files),
}

/// A staged batch.
pub(super) enum Staged {
    Memory(Arc<[RecordBatch]>),
    Files(OutboxBatch),
}

impl Outbox {
    pub(crate) fn memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Stages a batch; where there are files, it is on disk when this returns.
    pub(super) async fn put(&self, time: BatchTime, parts: Vec<RecordBatch>) -> Result<(), SinkError> {
        match self {
            Self::Memory(batches) => {
                lock(batches).insert(time, parts.into());
                Ok(())
            }
            Self::Files(files) => files.put(time, &parts).await.map_err(fault),
        }
    }

    /// A batch, if it is staged.
    pub(super) async fn open(&self, time: BatchTime) -> Result<Option<Staged>, SinkError> {
        match self {
            Self::Memory(batches) => Ok(lock(batches).get(&time).cloned().map(Staged::Memory)),
            Self::Files(files) => Ok(files.open(time).await.map_err(fault)?.map(Staged::Files)),
        }
    }

    /// A part of a staged batch.
    pub(super) async fn read(&self, staged: &Staged, part: u32) -> Result<RecordBatch, SinkError> {
        match (self, staged) {
            (_, Staged::Memory(parts)) => Ok(parts[part as usize].clone()),
            (Self::Files(files), Staged::Files(batch)) => files.read(batch, part).await.map_err(fault),
            (Self::Memory(_), Staged::Files(_)) => unreachable!("batches in memory are staged in memory"),
        }
    }

    /// Removes a batch, if it is staged.
    pub(super) async fn remove(&self, time: BatchTime) -> Result<(), SinkError> {
        match self {
            Self::Memory(batches) => drop(lock(batches).remove(&time)),
            Self::Files(files) => files.remove(time).await.map_err(fault)?,
        }
        Ok(())
    }

    /// Removes a batch and all before it, which are done or were never committed.
    pub(super) async fn remove_through(&self, time: BatchTime) -> Result<(), SinkError> {
        match self {
            Self::Memory(batches) => lock(batches).retain(|staged, _| *staged > time),
            Self::Files(files) => files.remove_through(time).await.map_err(fault)?,
        }
        Ok(())
    }
}

impl Staged {
    pub(super) fn parts(&self) -> u32 {
        let parts = match self {
            Self::Memory(parts) => parts.len(),
            Self::Files(batch) => batch.parts(),
        };
        u32::try_from(parts).expect("a batch has fewer parts than rows")
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault(error: JournalError) -> SinkError {
    match error {
        JournalError::Full { .. } => SinkError::Full(error.to_string()),
        JournalError::Disk { .. } => SinkError::Unsynced(error.to_string()),
        error => SinkError::Failed(error.to_string()),
    }
}

//! A sink of files in two steps on the disk of the simulation, and a database that has nothing but whole batches.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_platform::{Append, Disk};

use super::outside::Outside;
use crate::{Recovery, Sink, SinkBatch, SinkError};

/// Where the files are.
pub(super) const OUT: &str = "out";

/// Files `TIME.part` while they are written, `TIME.ready` when they are prepared and `TIME.rows` when they are visible.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) outside: Arc<Outside>,
}

struct FileBatch {
    files: Files,
    time: i64,
    file: Box<dyn Append>,
}

fn fault(error: io::Error) -> SinkError {
    match error.kind() {
        io::ErrorKind::StorageFull => SinkError::Full(error.to_string()),
        _ => SinkError::Failed(error.to_string()),
    }
}

fn path(time: i64, extension: &str) -> PathBuf {
    PathBuf::from(format!("{OUT}/{time}.{extension}"))
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    batch.column(0).as_string_view().iter().flatten().map(str::to_owned).collect()
}

/// A few characters for some rows.
fn digest(rows: &[String]) -> String {
    let hash = rows.iter().flat_map(|row| row.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} rows, {hash:016x}", rows.len())
}

impl Files {
    async fn has(&self, time: i64, extension: &str) -> io::Result<bool> {
        match self.disk.length(&path(time, extension)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn show(&self, time: i64) -> io::Result<()> {
        self.disk.rename(&path(time, "ready"), &path(time, "rows")).await?;
        self.disk.sync_folder(OUT.as_ref()).await
    }

    async fn open(&self, time: i64) -> io::Result<Box<dyn Append>> {
        for left in ["part", "ready"] {
            if self.has(time, left).await? {
                self.disk.remove(&path(time, left)).await?;
            }
        }
        self.disk.create(&path(time, "part")).await
    }

    async fn find(&self, time: i64) -> io::Result<Recovery> {
        if self.has(time, "rows").await? {
            self.disk.sync_folder(OUT.as_ref()).await?;
            return Ok(Recovery::Published);
        }
        if self.has(time, "ready").await? {
            self.show(time).await?;
            return Ok(Recovery::Published);
        }
        Ok(Recovery::NeedsRows)
    }
}

#[async_trait]
impl Sink for Files {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        self.outside.note(format_args!("batch {time} begins"));
        let file = self.open(time.as_ms()).await.map_err(fault)?;
        Ok(Box::new(FileBatch { files: self.clone(), time: time.as_ms(), file }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        let found = self.find(time.as_ms()).await;
        self.outside.note(format_args!("batch {time} is recovered: {found:?}"));
        found.map_err(fault)
    }
}

#[async_trait]
impl SinkBatch for FileBatch {
    async fn write(&mut self, _partition: usize, batch: RecordBatch) -> Result<(), SinkError> {
        let text: String = rows(&batch).into_iter().map(|row| row + "\n").collect();
        self.file.append(vec![text.into()]).await.map_err(fault)
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        self.file.sync().await.map_err(fault)?;
        let (disk, time) = (&self.files.disk, self.time);
        disk.rename(&path(time, "part"), &path(time, "ready")).await.map_err(fault)?;
        disk.sync_folder(OUT.as_ref()).await.map_err(fault)?;
        self.files.outside.note(format_args!("batch {time} is prepared"));
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        self.files.show(self.time).await.map_err(fault)?;
        self.files.outside.note(format_args!("batch {} is published", self.time));
        Ok(())
    }
}

/// A database outside, which loses nothing and keeps nothing of a batch that is not published.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) outside: Arc<Outside>,
    /// Whether its answers get lost now and then.
    pub(super) fails: bool,
}

struct BaseBatch {
    base: Base,
    time: i64,
    /// By partition.
    rows: Vec<Vec<String>>,
}

impl Base {
    fn lose_answer(&self) -> Result<(), SinkError> {
        match self.fails && self.outside.seeded.chance(1, 25) {
            true => Err(SinkError::Failed("the database does not answer".into())),
            false => Ok(()),
        }
    }

    fn put(&self, time: i64, rows: Vec<String>) {
        let outside = &self.outside;
        outside.note(format_args!("batch {time} goes to the database: {}", digest(&rows)));
        let last = outside.facts().base.last_key_value().map(|(last, _)| *last);
        if last.is_some_and(|last| last >= time) {
            outside.violate(format_args!("batch {time} is published after {last:?}"));
        }
        outside.facts().base.insert(time, rows);
    }
}

#[async_trait]
impl Sink for Base {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(BaseBatch { base: self.clone(), time: time.as_ms(), rows: Vec::new() }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        self.lose_answer()?;
        let is_there = self.outside.facts().base.contains_key(&time.as_ms());
        self.outside.note(format_args!("batch {time} is in the database: {is_there}"));
        Ok(if is_there { Recovery::Published } else { Recovery::NeedsRows })
    }
}

#[async_trait]
impl SinkBatch for BaseBatch {
    async fn write(&mut self, partition: usize, batch: RecordBatch) -> Result<(), SinkError> {
        self.rows.resize(self.rows.len().max(partition + 1), Vec::new());
        self.rows[partition].extend(rows(&batch));
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        let Self { base, time, rows } = *self;
        // It fails before it has the batch, or when it has it.
        base.lose_answer()?;
        base.put(time, rows.concat());
        base.lose_answer()
    }
}

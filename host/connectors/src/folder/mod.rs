//! Writes a folder per batch: `out/<batch time in ms>/part-00000.json`, a file per partition.
//!
//! ```text
//! out/.1700000000000.tmp/0/    staged, hidden         removed when the batch is dropped
//! out/.1700000000000.ready/    prepared, hidden       stays for the recovery
//! out/1700000000000/           published              replaces one of the same time, whole
//! out/.1700000000000.old.tmp/  what is being replaced
//! ```
//! A batch without rows leaves no folder. The files and their folder are on disk before a batch is ready: after a
//! crash it is there as a whole or not at all. The states of a batch and what a crash in each of them means are
//! told in [`place`].

mod encode;
mod output;
mod place;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Recovery, Sink, SinkBatch, SinkError};
use millstream_model::BatchTime;
use millstream_model::pipeline::FileFormat;
use tokio::task::spawn_blocking;

use place::Place;
use stage::Stage;

/// The sink of a folder.
pub(crate) struct Folder {
    path: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
}

/// A batch on its way into the folder.
enum Batch {
    Staging(Stage),
    Prepared(Place),
    /// A fault has consumed it, and with it what was staged.
    Failed,
}

impl Folder {
    pub(crate) fn new(path: &Path, format: FileFormat, schema: SchemaRef) -> Result<Self, SinkError> {
        encode::check(format, &schema)
            .map_err(|reason| SinkError::Failed(format!("writing files to {}: {reason}", path.display())))?;
        Ok(Self { path: path.to_owned(), format, schema })
    }
}

#[async_trait]
impl Sink for Folder {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        let place = Place::new(&self.path, time);
        let (format, schema) = (self.format, Arc::clone(&self.schema));
        let stage = on_disk(move || Stage::begin(place, format, schema)).await?;
        Ok(Box::new(Batch::Staging(stage)))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        let place = Place::new(&self.path, time);
        on_disk(move || place.recover()).await
    }
}

impl Batch {
    fn take_stage(&mut self) -> Result<Stage, SinkError> {
        match std::mem::replace(self, Self::Failed) {
            Self::Staging(stage) => Ok(stage),
            Self::Prepared(_) => Err(misused("was prepared and cannot be staged")),
            Self::Failed => Err(misused("failed before and cannot be staged")),
        }
    }
}

#[async_trait]
impl SinkBatch for Batch {
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut stage = self.take_stage()?;
        *self = Self::Staging(on_disk(move || stage.write(partition, &rows).map(|()| stage)).await?);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        let stage = self.take_stage()?;
        *self = Self::Prepared(on_disk(move || stage.prepare()).await?);
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        match *self {
            Self::Prepared(place) => on_disk(move || place.publish()).await,
            Self::Staging(_) | Self::Failed => Err(misused("was not prepared and cannot be published")),
        }
    }
}

fn misused(what: &str) -> SinkError {
    SinkError::Failed(format!("the batch {what}"))
}

/// Does `work` on a thread that may block.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(SinkError::Failed(format!("writing files: {panic}"))))
}

#[cfg(test)]
mod tests;

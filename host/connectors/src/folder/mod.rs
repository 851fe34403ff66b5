//! Writes a folder per batch: `out/<batch time in ms>/part-00000.json`, a file per partition.
//!
//! ```text
//! out/.1700000000000.tmp/      staged, hidden        removed when the batch is dropped
//! out/1700000000000/           after the commit      replaces one of the same time, whole
//! out/.1700000000000.old.tmp/  what was replaced     for the moment of the commit
//! ```
//! A batch without rows leaves no folder. The files and their folder are on disk before the rename, and the
//! rename is when the commit returns: after a crash a batch is there as a whole or not at all.

mod encode;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Sink, SinkBatch, SinkError};
use millstream_model::BatchTime;
use millstream_model::pipeline::FileFormat;
use tokio::task::spawn_blocking;

use stage::Stage;

/// The sink of a folder.
pub(crate) struct Folder {
    path: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
}

/// A batch on its way into the folder. A fault consumes the stage, and with it what was staged.
struct Batch(Option<Stage>);

impl Folder {
    pub(crate) fn new(path: &Path, format: FileFormat, schema: SchemaRef) -> Result<Self, SinkError> {
        encode::check(format, &schema)
            .map_err(|reason| SinkError(format!("writing files to {}: {reason}", path.display())))?;
        Ok(Self { path: path.to_owned(), format, schema })
    }
}

#[async_trait]
impl Sink for Folder {
    async fn begin(&mut self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        let mut stage = Stage::new(&self.path, time, self.format, Arc::clone(&self.schema));
        on_disk(move || {
            stage.clear()?;
            Ok(Box::new(Batch(Some(stage))) as Box<dyn SinkBatch>)
        })
        .await
    }
}

impl Batch {
    fn take(&mut self) -> Result<Stage, SinkError> {
        self.0.take().ok_or_else(|| SinkError("the batch failed before and cannot be written on".to_owned()))
    }
}

#[async_trait]
impl SinkBatch for Batch {
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut stage = self.take()?;
        let written = on_disk(move || stage.write(partition, &rows).map(|()| stage)).await?;
        self.0 = Some(written);
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), SinkError> {
        let stage = self.take()?;
        on_disk(move || stage.commit()).await
    }
}

/// Does `work` on a thread that may block.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(SinkError(format!("writing files: {panic}"))))
}

#[cfg(test)]
mod tests;

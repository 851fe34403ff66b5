//! A sink of a plugin, and what makes it write each batch that has happened.
//!
//! A batch of time T is in one of these states:
//!
//! ```text
//! staged        its rows are in the outbox; nobody has written them      dropped by the next attempt at it
//! committed     the same; the engine says that it has happened           is written
//! written       the sink has taken every part                            is written again, which the sink recognises
//! done          the outbox has it no more                                is published
//! ```
//! So after a crash a batch is written again unless the outbox has let go of it; it never has before the sink has taken all.
//! A batch without rows is never in the outbox. Parts are written in order. In one process none is written again that
//! the sink has taken; another begins with the first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Recovery, Sink, SinkBatch, SinkError};
use millstream_model::columns::pick;
use millstream_model::{self as model, BatchTime, FunctionError, SinkPart};
use millstream_platform::crash_point;

use super::Outbox;
use super::parts::Parts;

/// The sink of a plugin's function.
pub(crate) struct PluginSink(Arc<Shared>);

struct Shared {
    sink: Arc<dyn model::Sink>,
    /// The columns that it takes, as the stream calls them.
    columns: Vec<String>,
    schema: SchemaRef,
    /// The function and what it takes: another version of it writes the same batches.
    succession: String,
    outbox: Outbox,
    /// How many parts of the batch that is being written the sink has taken.
    progress: Mutex<Option<(BatchTime, u32)>>,
}

/// A batch on its way out.
struct Batch {
    sink: Arc<Shared>,
    time: BatchTime,
    parts: Parts,
}

impl PluginSink {
    /// A sink that takes the columns `columns` for the inputs of its function, in their order.
    pub(crate) fn new(sink: Arc<dyn model::Sink>, columns: Vec<String>, outbox: Outbox) -> Self {
        let schema = Arc::new(sink.description().input.to_arrow());
        let description = sink.description();
        let succession = format!("{}{} of {columns:?}", description.name, description.input);
        Self(Arc::new(Shared { sink, columns, schema, succession, outbox, progress: Mutex::default() }))
    }
}

#[async_trait]
impl Sink for PluginSink {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        self.0.outbox.remove(time).await?;
        self.0.progress().take_if(|(of, _)| *of == time);
        let parts = Parts::new(Arc::clone(&self.0.schema));
        Ok(Box::new(Batch { sink: Arc::clone(&self.0), time, parts }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        self.0.publish(time).await?;
        Ok(Recovery::Published)
    }

    fn succession(&self) -> Option<&str> {
        Some(&self.0.succession)
    }
}

#[async_trait]
impl SinkBatch for Batch {
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        let taken = self.sink.take(&rows);
        let taken =
            taken.map_err(|error| SinkError::Failed(format!("taking the sink's columns: {error}")))?;
        self.parts.push(partition, taken);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        let parts = std::mem::replace(&mut self.parts, Parts::new(Arc::clone(&self.sink.schema))).finish();
        if !parts.is_empty() {
            self.sink.outbox.put(self.time, parts).await?;
        }
        crash_point("output-prepared");
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        self.sink.publish(self.time).await
    }
}

impl Shared {
    /// The columns that the sink reads, in the types that it declares.
    fn take(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let schema = rows.schema();
        let numbers = self.columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        pick(rows, numbers, &self.schema)
    }

    /// Writes a batch, if the outbox has it, and lets go of it and all before it.
    async fn publish(&self, time: BatchTime) -> Result<(), SinkError> {
        let Some(staged) = self.outbox.open(time).await? else { return Ok(()) };
        let parts = staged.parts();
        for part in self.taken_of(time)..parts {
            let rows = self.outbox.read(&staged, part).await?;
            let written = self.sink.write(SinkPart { batch_time: time, part, parts }, rows).await;
            written.map_err(fault)?;
            *self.progress() = Some((time, part + 1));
        }
        crash_point("output-published");
        self.outbox.remove_through(time).await
    }

    fn taken_of(&self, time: BatchTime) -> u32 {
        self.progress().filter(|(of, _)| *of == time).map_or(0, |(_, taken)| taken)
    }

    fn progress(&self) -> MutexGuard<'_, Option<(BatchTime, u32)>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failed call says of the batch.
fn fault(error: FunctionError) -> SinkError {
    match error {
        FunctionError::Rejected { .. } => SinkError::Failed(format!("writing by {error}")),
        _ => SinkError::Unavailable(format!("writing by {error}")),
    }
}

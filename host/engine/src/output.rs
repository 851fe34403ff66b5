//! The rows of a batch on their way to the sinks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_query::Output;
use tokio::sync::Mutex;

use crate::engine::SinkBinding;
use crate::{EngineError, SinkBatch};

/// What the sinks have staged of a batch. Dropped without a commit, none of it is ever seen.
pub(crate) struct Staged {
    by_relation: HashMap<String, Vec<Entry>>,
}

struct Entry {
    sink: String,
    batch: Mutex<Box<dyn SinkBatch>>,
}

impl Staged {
    /// Begins the batch with every sink.
    pub(crate) async fn begin(sinks: &mut [SinkBinding], time: BatchTime) -> Result<Self, EngineError> {
        let mut by_relation: HashMap<String, Vec<Entry>> = HashMap::new();
        for binding in sinks {
            let begun = binding.sink.begin(time).await;
            let batch =
                begun.map_err(|source| EngineError::Sink { time, sink: binding.name.clone(), source })?;
            let entry = Entry { sink: binding.name.clone(), batch: Mutex::new(batch) };
            by_relation.entry(binding.from.clone()).or_default().push(entry);
        }
        Ok(Self { by_relation })
    }

    /// Makes the batch visible, sink by sink.
    pub(crate) async fn commit(self: Arc<Self>, time: BatchTime) -> Result<(), EngineError> {
        let staged = Arc::into_inner(self).expect("the program has let go of its output");
        for entry in staged.by_relation.into_values().flatten() {
            let committed = entry.batch.into_inner().commit().await;
            committed.map_err(|source| EngineError::Sink { time, sink: entry.sink, source })?;
        }
        Ok(())
    }
}

#[async_trait]
impl Output for Staged {
    async fn write(&self, relation: &str, partition: usize, rows: RecordBatch) -> Result<(), String> {
        for entry in self.by_relation.get(relation).into_iter().flatten() {
            let written = entry.batch.lock().await.write(partition, rows.clone()).await;
            written.map_err(|error| format!("sink \"{}\": {error}", entry.sink))?;
        }
        Ok(())
    }
}

//! The way out: what a test's streams have given, batch by batch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Recovery, Sink, SinkBatch, SinkError};
use millstream_model::BatchTime;

/// Rows by partition, in the order in which they came.
type Partitions = BTreeMap<usize, Vec<RecordBatch>>;

/// The rows of published batches, by stream: what is outside of the pipeline, and outlives its process.
#[derive(Clone, Default)]
pub(super) struct Collected(Arc<Mutex<BTreeMap<(String, BatchTime), Partitions>>>);

/// The sink of a stream.
pub(super) struct Collecting {
    pub(super) stream: String,
    pub(super) collected: Collected,
}

struct CollectedBatch {
    collected: Collected,
    key: (String, BatchTime),
    rows: Partitions,
}

impl Collected {
    /// What a stream gave in a batch, partition after partition.
    pub(super) fn rows(&self, stream: &str, time: BatchTime) -> Vec<RecordBatch> {
        let partitions = self.lock().get(&(stream.to_owned(), time)).cloned();
        partitions.into_iter().flat_map(BTreeMap::into_values).flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, BatchTime), Partitions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Collecting {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        let (collected, key) = (self.collected.clone(), (self.stream.clone(), time));
        Ok(Box::new(CollectedBatch { collected, key, rows: Partitions::new() }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        match self.collected.lock().contains_key(&(self.stream.clone(), time)) {
            true => Ok(Recovery::Published),
            false => Ok(Recovery::NeedsRows),
        }
    }
}

#[async_trait]
impl SinkBatch for CollectedBatch {
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.rows.entry(partition).or_default().push(rows);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        self.collected.lock().insert(self.key, self.rows);
        Ok(())
    }
}

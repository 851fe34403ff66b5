//! A sink that counts what passes, and takes the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Recovery, Sink, SinkBatch, SinkError};
use millstream_model::BatchTime;

/// Counts rows, and takes the time.
#[derive(Clone, Default)]
pub(crate) struct Passed {
    rows: Arc<AtomicU64>,
    began: Arc<OnceLock<Instant>>,
    /// How long after that the last batch ended.
    ended: Arc<Mutex<Duration>>,
}

impl Passed {
    /// Rows of all batches.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// From the begin of the first batch to the end of the last.
    pub(crate) fn elapsed(&self) -> Duration {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
impl Sink for Passed {
    async fn begin(&self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        self.began.get_or_init(Instant::now);
        Ok(Box::new(self.clone()))
    }

    async fn recover(&self, _time: BatchTime) -> Result<Recovery, SinkError> {
        Ok(Recovery::Published)
    }
}

#[async_trait]
impl SinkBatch for Passed {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.rows.fetch_add(rows.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        let elapsed = self.began.get().map(Instant::elapsed).unwrap_or_default();
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = elapsed;
        Ok(())
    }
}

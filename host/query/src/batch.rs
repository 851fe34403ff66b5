//! What is the same for a whole batch and is asked for deep inside a plan: the batch's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millstream_model::BatchTime;

/// The time of the batch that a program is running, shared by all of the program's plans.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentBatch(Arc<AtomicI64>);

impl CurrentBatch {
    pub(crate) fn set(&self, time: BatchTime) {
        self.0.store(time.as_ms(), Ordering::Release);
    }

    pub(crate) fn time(&self) -> BatchTime {
        BatchTime::from_ms(self.0.load(Ordering::Acquire))
    }
}

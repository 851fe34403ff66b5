//! The rows of a batch on their way to the sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{BatchTime, RowsDigest};
use millstream_query::Output;
use tokio::sync::Mutex;

use crate::application::SinkBinding;
use crate::digest::digest;
use crate::shadow::Captured;
use crate::{SinkBatch, SinkError};

/// Rows of a batch are kept up to this; beyond it, only what tells whether they are the same.
const CAPTURED_BYTES_MAX: usize = 64 << 20;

/// What the sinks have staged of a batch. Dropped without being published, none of it is ever seen.
pub(crate) struct Staged {
    by_relation: BTreeMap<String, Relation>,
    /// What a sink answered that failed.
    fault: Lock<Option<SinkFault>>,
    /// Whether the rows' digests are wanted.
    digested: bool,
    /// What sinks are given, and which of them take a relation.
    capturing: Option<Capturing>,
}

struct Capturing {
    sinks: Vec<(String, String)>,
    captured: Lock<Captured>,
}

/// A relation's rows: their digest, and the sinks that take them.
#[derive(Default)]
struct Relation {
    digest: Lock<RowsDigest>,
    entries: Vec<Entry>,
}

struct Entry {
    sink: String,
    batch: Mutex<Box<dyn SinkBatch>>,
}

/// A batch that every sink has prepared; by default one that gives nothing to any.
#[derive(Default)]
pub(crate) struct Prepared {
    batches: Vec<(String, Box<dyn SinkBatch>)>,
    /// What each sink was given.
    pub(crate) digests: BTreeMap<String, RowsDigest>,
}

/// A sink that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("sink \"{sink}\": {source}")]
pub(crate) struct SinkFault {
    /// The sink's name.
    pub(crate) sink: String,
    /// What failed.
    pub(crate) source: SinkError,
}

impl Staged {
    /// Begins the batch with every sink of `sinks`; `digested` if the rows' digests are wanted.
    pub(crate) async fn begin<'s>(
        sinks: impl Iterator<Item = &'s SinkBinding>,
        time: BatchTime,
        digested: bool,
    ) -> Result<Self, SinkFault> {
        let mut by_relation: BTreeMap<String, Relation> = BTreeMap::new();
        for binding in sinks {
            let begun = binding.sink.begin(time).await;
            let batch = begun.map_err(|source| SinkFault { sink: binding.name.clone(), source })?;
            let entry = Entry { sink: binding.name.clone(), batch: Mutex::new(batch) };
            by_relation.entry(binding.from.clone()).or_default().entries.push(entry);
        }
        Ok(Self { by_relation, fault: Lock::default(), digested, capturing: None })
    }

    /// The sink that failed while rows were written, if that is why they were not.
    pub(crate) fn take_fault(&self) -> Option<SinkFault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the rows that `sinks` are given, or would be.
    pub(crate) fn capturing(self, sinks: &[SinkBinding]) -> Self {
        let sinks = sinks.iter().map(|binding| (binding.from.clone(), binding.name.clone())).collect();
        let captured = Lock::new(Captured::new(CAPTURED_BYTES_MAX));
        Self { capturing: Some(Capturing { sinks, captured }), ..self }
    }

    /// The rows that were kept.
    pub(crate) fn take_captured(&self) -> Option<Captured> {
        let captured = &self.capturing.as_ref()?.captured;
        let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::replace(&mut captured, Captured::new(0)))
    }

    /// Makes what was staged safe, sink by sink.
    pub(crate) async fn prepare(self: Arc<Self>) -> Result<Prepared, SinkFault> {
        let staged = Arc::into_inner(self).expect("the program has let go of its output");
        let mut prepared = Prepared { batches: Vec::new(), digests: BTreeMap::new() };
        for relation in staged.by_relation.into_values() {
            let digest = relation.digest.into_inner().unwrap_or_else(PoisonError::into_inner);
            for entry in relation.entries {
                let mut batch = entry.batch.into_inner();
                let done = batch.prepare().await;
                done.map_err(|source| SinkFault { sink: entry.sink.clone(), source })?;
                prepared.digests.insert(entry.sink.clone(), digest);
                prepared.batches.push((entry.sink, batch));
            }
        }
        Ok(prepared)
    }
}

impl Prepared {
    /// Makes the batch visible, sink by sink; the names of those that failed and why.
    pub(crate) async fn publish(self) -> Vec<SinkFault> {
        let mut faults = Vec::new();
        for (sink, batch) in self.batches {
            if let Err(source) = batch.publish().await {
                faults.push(SinkFault { sink, source });
            }
        }
        faults
    }
}

#[async_trait]
impl Output for Staged {
    async fn write(&self, relation: &str, partition: usize, rows: RecordBatch) -> Result<(), String> {
        if let Some(Capturing { sinks, captured }) = &self.capturing {
            let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
            sinks.iter().filter(|(from, _)| from == relation).for_each(|(_, sink)| captured.add(sink, &rows));
        }
        let Some(relation) = self.by_relation.get(relation) else { return Ok(()) };
        if self.digested {
            let digest = digest(&rows);
            relation.digest.lock().unwrap_or_else(PoisonError::into_inner).add(digest);
        }
        for entry in &relation.entries {
            let written = entry.batch.lock().await.write(partition, rows.clone()).await;
            if let Err(source) = written {
                let fault = SinkFault { sink: entry.sink.clone(), source };
                let told = fault.to_string();
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                return Err(told);
            }
        }
        Ok(())
    }
}

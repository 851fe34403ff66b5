//! Sinks: a part of a batch, lowered and written.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{FunctionDescription, FunctionError, FunctionKind, Sink, SinkPart};
use tokio::sync::Mutex;

use crate::callee::Callee;
use crate::contract::{Batch, CallError, SINK};
use crate::instance::Instance;
use crate::outside::outside;
use crate::volume::Volume;

/// A sink, and the instance that it keeps from call to call, with its connections; none at first and after a failure.
pub(crate) struct PluginSink {
    callee: Arc<Callee>,
    instance: Mutex<Option<Instance>>,
}

impl PluginSink {
    pub(crate) fn new(callee: Callee) -> Self {
        Self { callee: Arc::new(callee), instance: Mutex::default() }
    }
}

impl std::fmt::Debug for PluginSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.callee.fmt(f)
    }
}

#[async_trait]
impl Sink for PluginSink {
    fn description(&self) -> &FunctionDescription {
        &self.callee.description
    }

    async fn write(&self, part: SinkPart, rows: RecordBatch) -> Result<(), FunctionError> {
        let mut kept = self.instance.lock().await;
        let broken = |reason| self.callee.broken(reason);
        let instance = match kept.take() {
            Some(instance) => instance,
            None => self.callee.plugin.outside_instance().await.map_err(broken)?,
        };
        let callee = Arc::clone(&self.callee);
        let called = outside(async move { write(&callee, instance, part, &rows).await }).await;
        let (instance, answer) = called.map_err(broken)??;
        *kept = Some(instance);
        answer.map_err(|refusal| self.callee.refused(refusal))
    }
}

async fn write(
    callee: &Callee,
    instance: Instance,
    part: SinkPart,
    rows: &RecordBatch,
) -> Result<(Instance, Result<(), CallError>), FunctionError> {
    let SinkPart { batch_time, part, parts } = part;
    let lowered = callee.lower(rows)?;
    let input = (callee.index, Batch { time_ms: batch_time.as_ms(), part, parts }, lowered.table());
    let export = callee.plugin.export(FunctionKind::Sink);
    let export = export.ok_or_else(|| callee.broken(format!("does not export {SINK}")))?;
    let mut entry = callee.plugin.meter.enter(callee.name(), batch_time, lowered.table().volume());
    entry.runs_in(instance.memory());
    let call = instance.call::<_, (Result<(), CallError>,)>(export, input, callee.plugin.time);
    let called = entry.time(call).await;
    let (instance, (answer,)) = called.map_err(|reason| callee.broken(reason))?;
    if answer.is_ok() {
        entry.answered(Volume::default());
    }
    Ok((instance, answer))
}

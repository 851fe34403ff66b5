//! Receivers: an instance for each life, started, polled, told what is safe, stopped.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millstream_model::{BatchTime, Delivery, FunctionDescription, FunctionError, Receiver, Receiving};
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};

use crate::callee::Callee;
use crate::contract::{self, CallError, RECEIVER};
use crate::instance::Instance;
use crate::lift::lift;
use crate::outside::outside;
use crate::plugin::export;
use crate::volume::{Measured, Volume};

/// Receivers are called between batches: what a call takes is counted with the next batch.
const NO_BATCH: BatchTime = BatchTime::from_ms(0);

/// The functions of the interface.
pub(crate) struct ReceiverExports {
    pub(crate) start: ComponentExportIndex,
    poll: ComponentExportIndex,
    acknowledge: ComponentExportIndex,
    stop: ComponentExportIndex,
}

impl ReceiverExports {
    /// Those of a component, if it has them all.
    pub(crate) fn of(component: &Component) -> Option<Self> {
        Some(Self {
            start: export(component, RECEIVER, "start")?,
            poll: export(component, RECEIVER, "poll")?,
            acknowledge: export(component, RECEIVER, "acknowledge")?,
            stop: export(component, RECEIVER, "stop")?,
        })
    }
}

/// A receiver of a plugin.
#[derive(Debug)]
pub(crate) struct PluginReceiver(pub(crate) Arc<Callee>);

/// A life of a receiver.
struct Life {
    callee: Arc<Callee>,
    /// None during a call, and after one that has failed.
    instance: Option<Instance>,
}

#[async_trait]
impl Receiver for PluginReceiver {
    fn description(&self) -> &FunctionDescription {
        &self.0.description
    }

    async fn start(&self, position: Option<Bytes>) -> Result<Box<dyn Receiving>, FunctionError> {
        let callee = Arc::clone(&self.0);
        let instance = callee.plugin.outside_instance().await.map_err(|reason| callee.broken(reason))?;
        let input = (callee.index, position.map(|position| position.to_vec()));
        let mut life = Life { callee, instance: Some(instance) };
        life.answer::<_, ()>(|exports| exports.start, input, Duration::ZERO).await?;
        Ok(Box::new(life))
    }
}

impl Life {
    /// Makes a call that may be refused, and may take `more` than the limit of time.
    async fn answer<In, Out>(
        &mut self,
        export: fn(&ReceiverExports) -> ComponentExportIndex,
        input: In,
        more: Duration,
    ) -> Result<Out, FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync + 'static,
        Out: ComponentType + Lift + Measured + Send + Sync + 'static,
    {
        let volume = |(answer,): &(Result<Out, CallError>,)| answer.as_ref().ok().map(Out::volume);
        let (answer,) = self.call(export, input, more, volume).await?;
        answer.map_err(|refusal| self.callee.refused(refusal))
    }

    /// Makes a call. It has succeeded where `volume` says how much it answered with.
    async fn call<In, Out>(
        &mut self,
        export: fn(&ReceiverExports) -> ComponentExportIndex,
        input: In,
        more: Duration,
        volume: fn(&Out) -> Option<Volume>,
    ) -> Result<Out, FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync + 'static,
        Out: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let broken = |reason: String| self.callee.broken(reason);
        let instance =
            self.instance.take().ok_or_else(|| broken("has failed and is not called".to_owned()))?;
        let exports = self.callee.plugin.receiver_exports();
        let export = export(exports.ok_or_else(|| broken(format!("does not export {RECEIVER}")))?);
        let time = self.callee.plugin.time + more;
        let callee = Arc::clone(&self.callee);
        let called = outside(async move {
            let mut entry = callee.plugin.meter.enter(callee.name(), NO_BATCH, Volume::default());
            entry.runs_in(instance.memory());
            let called = entry.time(instance.call::<In, Out>(&export, input, time)).await;
            if let Some(answered) = called.as_ref().ok().and_then(|(_, answer)| volume(answer)) {
                entry.answered(answered);
            }
            called
        })
        .await;
        let (instance, answer) =
            called.and_then(|called| called).map_err(|reason| self.callee.broken(reason))?;
        self.instance = Some(instance);
        Ok(answer)
    }

    /// Believes a delivery only if it is what the description says, within the limits.
    fn check(&self, delivery: contract::Delivery) -> Result<Delivery, String> {
        let contract::Delivery { rows, position, ended } = delivery;
        if rows.rows as usize > Delivery::ROWS_MAX {
            let most = Delivery::ROWS_MAX;
            return Err(format!("delivered {} rows at once; {most} are the most", rows.rows));
        }
        if let Some(position) = position.as_ref().filter(|p| p.len() > Delivery::POSITION_BYTES_MAX) {
            let most = Delivery::POSITION_BYTES_MAX;
            return Err(format!("gave a position of {} bytes; {most} are the most", position.len()));
        }
        let rows = lift(rows, &self.callee.description.output)?;
        let bytes = rows.get_array_memory_size();
        if bytes > Delivery::BYTES_MAX {
            let most = Delivery::BYTES_MAX;
            return Err(format!("delivered rows of {bytes} bytes at once; {most} are the most"));
        }
        Ok(Delivery { rows, position: position.map(Bytes::from), ended })
    }
}

#[async_trait]
impl Receiving for Life {
    async fn poll(&mut self, deadline: Duration) -> Result<Delivery, FunctionError> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let input = (self.callee.index, deadline_ms);
        let delivery = self.answer(|exports| exports.poll, input, deadline).await?;
        self.check(delivery).map_err(|reason| {
            self.instance = None;
            self.callee.broken(reason)
        })
    }

    async fn acknowledge(&mut self, position: Bytes) -> Result<(), FunctionError> {
        let input = (self.callee.index, position.to_vec());
        self.answer(|exports| exports.acknowledge, input, Duration::ZERO).await
    }

    async fn stop(&mut self) -> Result<(), FunctionError> {
        let volume = |(): &()| Some(Volume::default());
        self.call(|exports| exports.stop, (self.callee.index,), Duration::ZERO, volume).await
    }
}

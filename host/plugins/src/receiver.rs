//! Receivers: an instance for each life, started, polled, told what is safe, stopped.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millstream_model::{
    BatchTime, DataType, Delivery, FunctionDescription, FunctionError, Receiver, Receiving,
};
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};

use crate::callee::Callee;
use crate::contract::{self, CallError, RECEIVER};
use crate::exports::export;
use crate::instance::Instance;
use crate::lift::lift;
use crate::outside::outside;
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
    /// Whether it gives positions, once it has given rows.
    gives_positions: Option<bool>,
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
        let mut life = Life { callee, instance: Some(instance), gives_positions: None };
        life.answer(|exports| exports.start, input, Duration::ZERO, |_, ()| Ok(())).await?;
        Ok(Box::new(life))
    }
}

impl Life {
    /// Makes a call that may be refused, and may take `more` than the limit of time.
    async fn answer<In, Out, T>(
        &mut self,
        export: fn(&ReceiverExports) -> ComponentExportIndex,
        input: In,
        more: Duration,
        believe: impl FnOnce(&Callee, Out) -> Result<T, String> + Send + 'static,
    ) -> Result<T, FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync + 'static,
        Out: ComponentType + Lift + Measured + Send + Sync + 'static,
        T: Send + 'static,
    {
        let check = move |callee: &Callee, (answer,): (Result<Out, CallError>,)| match answer {
            Ok(answer) => {
                let volume = answer.volume();
                Ok((Ok(believe(callee, answer)?), Some(volume)))
            }
            Err(refusal) => Ok((Err(callee.refused(refusal)), None)),
        };
        self.call(export, input, more, check).await?
    }

    /// Makes a call, and gives what `check` made of the answer. It has succeeded where that says how much it answered with.
    async fn call<In, Out, T>(
        &mut self,
        export: fn(&ReceiverExports) -> ComponentExportIndex,
        input: In,
        more: Duration,
        check: impl FnOnce(&Callee, Out) -> Result<(T, Option<Volume>), String> + Send + 'static,
    ) -> Result<T, FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync + 'static,
        Out: ComponentNamedList + Lift + Send + Sync + 'static,
        T: Send + 'static,
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
            let called = async {
                let (instance, answer) = instance.call::<In, Out>(&export, input, time).await?;
                let (answer, volume) = check(&callee, answer)?;
                Ok::<_, String>((instance, answer, volume))
            };
            let (instance, answer, volume) = entry.time(called).await?;
            if let Some(volume) = volume {
                entry.answered(volume);
            }
            Ok((instance, answer))
        })
        .await;
        let called = called.and_then(|called: Result<_, String>| called);
        let (instance, answer) = called.map_err(|reason| self.callee.broken(reason))?;
        self.instance = Some(instance);
        Ok(answer)
    }
}

/// Believes a delivery only if it is what the description says, within the limits, and has a position like those before it.
fn delivery(
    callee: &Callee,
    delivery: contract::Delivery,
    gives_positions: Option<bool>,
) -> Result<Delivery, String> {
    let contract::Delivery { rows, position, ended } = delivery;
    let (count, output) = (rows.rows as usize, &callee.description.output);
    if count > Delivery::ROWS_MAX {
        let most = Delivery::ROWS_MAX;
        return Err(format!("delivered {count} rows at once; {most} are the most"));
    }
    if let Some(position) = position.as_ref().filter(|p| p.len() > Delivery::POSITION_BYTES_MAX) {
        let most = Delivery::POSITION_BYTES_MAX;
        return Err(format!("gave a position of {} bytes; {most} are the most", position.len()));
    }
    if count > 0 && gives_positions.is_some_and(|gives| gives != position.is_some()) {
        let told = "gave a position with some of its rows, so that after a crash the others would be lost or come twice";
        return Err(format!("{told}; it has to give one with all or with none"));
    }
    let too_large = |bytes: usize| {
        let most = Delivery::BYTES_MAX;
        format!("delivered rows of {bytes} bytes at once; {most} are the most")
    };
    // What short texts take is not in the answer yet.
    let views =
        output.fields.iter().filter(|field| matches!(field.data_type, DataType::Utf8 | DataType::Binary));
    let view_bytes = count * views.count() * size_of::<u128>();
    if view_bytes > Delivery::BYTES_MAX {
        return Err(too_large(view_bytes));
    }
    let rows = lift(rows, output)?;
    let bytes = rows.get_array_memory_size();
    if bytes > Delivery::BYTES_MAX {
        return Err(too_large(bytes));
    }
    Ok(Delivery { rows, position: position.map(Bytes::from), ended })
}

#[async_trait]
impl Receiving for Life {
    async fn poll(&mut self, deadline: Duration) -> Result<Delivery, FunctionError> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let (input, before) = ((self.callee.index, deadline_ms), self.gives_positions);
        let believe = move |callee: &Callee, answer| delivery(callee, answer, before);
        let delivery = self.answer(|exports| exports.poll, input, deadline, believe).await?;
        if delivery.rows.num_rows() > 0 {
            self.gives_positions = Some(delivery.position.is_some());
        }
        Ok(delivery)
    }

    async fn acknowledge(&mut self, position: Bytes) -> Result<(), FunctionError> {
        let input = (self.callee.index, position.to_vec());
        self.answer(|exports| exports.acknowledge, input, Duration::ZERO, |_, ()| Ok(())).await
    }

    async fn stop(&mut self) -> Result<(), FunctionError> {
        let check = |_: &Callee, ()| Ok(((), Some(Volume::default())));
        self.call(|exports| exports.stop, (self.callee.index,), Duration::ZERO, check).await
    }
}

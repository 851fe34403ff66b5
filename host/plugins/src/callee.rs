//! A function of a plugin, and the way of every call: onto an instance, across, and back if the answer is believed.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use millstream_model::{Accumulated, CallContext, FunctionDescription, FunctionError};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};

use crate::contract::{CallError, Context};
use crate::lower::Lowered;
use crate::meter::Entry;
use crate::plugin::Shared;
use crate::volume::{Measured, Volume};

/// Bytes that are kept of what a guest says about why it refuses rows.
const REASON_BYTES_MAX: usize = 4_096;

/// A function of a plugin. The modules of the kinds make it callable.
pub(crate) struct Callee {
    pub(crate) plugin: Arc<Shared>,
    /// `plugin.function`.
    name: String,
    pub(crate) description: FunctionDescription,
    /// Its number, by which the component knows it.
    pub(crate) index: u32,
}

impl Callee {
    pub(crate) fn new(plugin: Arc<Shared>, description: FunctionDescription, index: usize) -> Self {
        let name = format!("{}.{}", plugin.name, description.name);
        Self { plugin, name, description, index: index as u32 }
    }

    /// `plugin.function`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the call of the function's kind: see [`Callee::cross_to`].
    pub(crate) async fn cross<In, Out, T>(
        &self,
        context: CallContext,
        given: Volume,
        input: In,
        check: impl FnOnce(Out) -> Result<T, String> + Send,
    ) -> Result<(T, Accumulated), FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentType + Lift + Measured + Send + Sync + 'static,
    {
        let kind = self.description.kind;
        let export = self.plugin.export(kind);
        let export =
            export.ok_or_else(|| self.rejected(format!("functions of the kind {kind} are not called")))?;
        self.cross_to(export, context, given, input, check).await
    }

    /// Makes a call on an instance, and gives what `check` made of the answer with what the call counts for. An instance
    /// that answered well is kept; one that failed, or lied, is gone. Whatever comes of it, what it took is written down.
    pub(crate) async fn cross_to<In, Out, T>(
        &self,
        export: &ComponentExportIndex,
        context: CallContext,
        given: Volume,
        input: In,
        check: impl FnOnce(Out) -> Result<T, String> + Send,
    ) -> Result<(T, Accumulated), FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentType + Lift + Measured + Send + Sync + 'static,
    {
        let mut entry = self.plugin.meter.enter(&self.name, context.batch_time, given);
        let (answer, added, volume) = entry.time(self.call(&entry, export, context, input, check)).await?;
        entry.answered(volume);
        Ok((answer, added))
    }

    async fn call<In, Out, T>(
        &self,
        entry: &Entry<'_>,
        export: &ComponentExportIndex,
        context: CallContext,
        input: In,
        check: impl FnOnce(Out) -> Result<T, String> + Send,
    ) -> Result<(T, Accumulated, Volume), FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentType + Lift + Measured + Send + Sync + 'static,
    {
        // That an instance cannot be made is no row's fault.
        let instance = self.plugin.instance().await.map_err(|reason| self.unavailable(reason))?;
        entry.runs_in(instance.memory());
        let called = instance.answer::<In, Out>(export, context, input, self.plugin.time).await;
        let (mut instance, answer) = called.map_err(|reason| self.broken(reason))?;
        let (answer, volume) = match answer {
            Ok(answer) => {
                let volume = answer.volume();
                (check(answer).map_err(|reason| self.broken(reason))?, volume)
            }
            Err(refusal) => {
                self.plugin.put_back(instance);
                return Err(self.refused(refusal));
            }
        };
        let added = instance.take_added();
        self.plugin.put_back(instance);
        Ok((answer, added, volume))
    }

    /// The rows in the contract's layout.
    pub(crate) fn lower(&self, rows: &RecordBatch) -> Result<Lowered, FunctionError> {
        Lowered::new(rows).map_err(|reason| self.rejected(reason))
    }

    pub(crate) fn broken(&self, reason: impl Into<String>) -> FunctionError {
        FunctionError::Broken { function: self.name.clone(), reason: reason.into() }
    }

    fn unavailable(&self, reason: impl Into<String>) -> FunctionError {
        FunctionError::Unavailable { function: self.name.clone(), reason: reason.into() }
    }

    pub(crate) fn rejected(&self, reason: impl Into<String>) -> FunctionError {
        FunctionError::Rejected { function: self.name.clone(), reason: reason.into() }
    }

    pub(crate) fn refused(&self, refusal: CallError) -> FunctionError {
        let function = self.name.clone();
        match refusal {
            CallError::Rejected(reason) => FunctionError::Rejected { function, reason: shortened(reason) },
            CallError::Unavailable(reason) => {
                FunctionError::Unavailable { function, reason: shortened(reason) }
            }
        }
    }
}

impl fmt::Debug for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The beginning of a text that is too long for people, and how long it was.
pub(crate) fn shortened(mut reason: String) -> String {
    let length = reason.len();
    if length > REASON_BYTES_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason.push_str(&format!("... ({length} bytes in all)"));
    }
    reason
}

/// What a guest is told of a call's place.
pub(crate) fn lower_context(context: CallContext) -> Context {
    Context { batch_time_ms: context.batch_time.as_ms(), partition: context.partition }
}

//! A function of a plugin, and the way of every call: onto an instance, across, and back if the answer is believed.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use millstream_model::{Accumulated, CallContext, FunctionDescription, FunctionError};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};

use crate::contract::{CallError, Context};
use crate::lower::Lowered;
use crate::plugin::Shared;

/// Bytes that are kept of what a guest says about why it refuses rows.
const REASON_BYTES_MAX: usize = 4_096;

/// A function of a plugin. The modules of the kinds make it callable.
pub(crate) struct Callee {
    plugin: Arc<Shared>,
    pub(crate) description: FunctionDescription,
    /// Its number, by which the component knows it.
    pub(crate) index: u32,
}

impl Callee {
    pub(crate) fn new(plugin: Arc<Shared>, description: FunctionDescription, index: usize) -> Self {
        Self { plugin, description, index: index as u32 }
    }

    /// Makes a call on an instance, and gives what `check` made of the answer with what the call counts for. An instance
    /// that answered well is kept; one that failed, or lied, is gone.
    pub(crate) async fn cross<In, Out, T>(
        &self,
        context: CallContext,
        input: In,
        check: impl FnOnce(Out) -> Result<T, String> + Send,
    ) -> Result<(T, Accumulated), FunctionError>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentType + Lift + Send + Sync + 'static,
    {
        let kind = self.description.kind;
        let export = self.plugin.export(kind);
        let export =
            export.ok_or_else(|| self.rejected(format!("functions of the kind {kind} are not called")))?;
        let instance = self.plugin.instance().await.map_err(|reason| self.broken(reason))?;
        let called = instance.answer(export, context, input, self.plugin.time).await;
        let (mut instance, answer) = called.map_err(|reason| self.broken(reason))?;
        let answer = match answer {
            Ok(answer) => check(answer).map_err(|reason| self.broken(reason))?,
            Err(refusal) => {
                self.plugin.put_back(instance);
                return Err(self.refused(refusal));
            }
        };
        let added = instance.take_added();
        self.plugin.put_back(instance);
        Ok((answer, added))
    }

    /// The rows in the contract's layout.
    pub(crate) fn lower(&self, rows: &RecordBatch) -> Result<Lowered, FunctionError> {
        Lowered::new(rows).map_err(|reason| self.rejected(reason))
    }

    fn name(&self) -> String {
        format!("{}.{}", self.plugin.name, self.description.name)
    }

    fn broken(&self, reason: impl Into<String>) -> FunctionError {
        FunctionError::Broken { function: self.name(), reason: reason.into() }
    }

    fn rejected(&self, reason: impl Into<String>) -> FunctionError {
        FunctionError::Rejected { function: self.name(), reason: reason.into() }
    }

    fn refused(&self, refusal: CallError) -> FunctionError {
        let function = self.name();
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
        f.write_str(&self.name())
    }
}

/// The beginning of a text that is too long for people, and how long it was.
fn shortened(mut reason: String) -> String {
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

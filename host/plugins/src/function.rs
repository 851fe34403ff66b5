//! The central path of a call: lower, cross, check, lift.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{
    Answer, Answered, CallContext, Expansion, Function, FunctionDescription, FunctionError, FunctionKind,
};

use crate::contract::{self, CallError};
use crate::lift::{check_origins, lift, lift_bits};
use crate::lower::Lowered;
use crate::plugin::Shared;

/// A function of a plugin.
pub(crate) struct PluginFunction {
    plugin: Arc<Shared>,
    description: FunctionDescription,
    index: u32,
}

impl PluginFunction {
    pub(crate) fn new(plugin: Arc<Shared>, description: FunctionDescription, index: usize) -> Self {
        Self { plugin, description, index: index as u32 }
    }

    /// Makes the call on an instance. One that answered well is kept; one that failed, or lied, is gone.
    async fn cross(&self, context: CallContext, rows: &RecordBatch) -> Result<Answered, FunctionError> {
        let export = self.plugin.transform.as_ref().ok_or_else(|| self.rejected("is not exported"))?;
        let lowered = Lowered::new(rows).map_err(|reason| self.rejected(reason))?;
        let instance = self.plugin.instance().await.map_err(|reason| self.broken(reason))?;
        let called = instance.transform(export, self.index, context, lowered.table(), self.plugin.time).await;
        let (mut instance, answer) = called.map_err(|reason| self.broken(reason))?;
        let answer = match answer {
            Ok(answer) => self.check(answer, rows.num_rows()).map_err(|reason| self.broken(reason))?,
            Err(refusal) => {
                self.plugin.put_back(instance);
                return Err(self.refused(refusal));
            }
        };
        let added = instance.take_added();
        self.plugin.put_back(instance);
        Ok(Answered { answer, added })
    }

    /// Believes an answer to `input_rows` rows only if it is what the description says.
    fn check(&self, answer: contract::Answer, input_rows: usize) -> Result<Answer, String> {
        let output = &self.description.output;
        match (self.description.kind, answer) {
            (FunctionKind::Map, contract::Answer::Rows(table)) if table.rows as usize != input_rows => {
                Err(format!("answered with {} rows to {input_rows}; a map answers with as many", table.rows))
            }
            (FunctionKind::Map | FunctionKind::Transform, contract::Answer::Rows(table)) => {
                Ok(Answer::Rows(lift(table, output)?))
            }
            (FunctionKind::FlatMap, contract::Answer::Expansion(expansion)) => {
                let contract::Expansion { rows, origins } = expansion;
                check_origins(&origins, rows.rows as usize, input_rows)?;
                Ok(Answer::Expansion(Expansion { rows: lift(rows, output)?, origins }))
            }
            (FunctionKind::Filter, contract::Answer::Selection(bits)) => {
                Ok(Answer::Selection(lift_bits(bits, input_rows)?))
            }
            (kind, _) => Err(format!("gave an answer that is not a {kind}'s")),
        }
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
            CallError::Rejected(reason) => FunctionError::Rejected { function, reason },
            CallError::Unavailable(reason) => FunctionError::Unavailable { function, reason },
        }
    }
}

impl fmt::Debug for PluginFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[async_trait]
impl Function for PluginFunction {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        self.cross(context, &rows).await
    }
}

//! Maps, flat-maps, filters and transforms: lower, cross, check, lift.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{
    Answer, Answered, CallContext, Expansion, Function, FunctionDescription, FunctionError, FunctionKind,
};

use crate::callee::{Callee, lower_context};
use crate::contract;
use crate::lift::{check_origins, lift, lift_bits};

#[async_trait]
impl Function for Callee {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let lowered = self.lower(&rows)?;
        let table = lowered.table();
        let given = table.volume();
        let input = (self.index, lower_context(context), table);
        let check = |answer| check(&self.description, answer, rows.num_rows());
        let (answer, added) = self.cross(context, given, input, check).await?;
        Ok(Answered { answer, added })
    }
}

/// Believes an answer to `input_rows` rows only if it is what the description says.
fn check(
    description: &FunctionDescription,
    answer: contract::Answer,
    input_rows: usize,
) -> Result<Answer, String> {
    let output = &description.output;
    match (description.kind, answer) {
        (FunctionKind::Map, contract::Answer::Rows(table)) if table.rows as usize != input_rows => {
            Err(format!("answered with {} rows to {input_rows}; a map answers with as many", table.rows))
        }
        (FunctionKind::Map | FunctionKind::Transform, contract::Answer::Rows(table)) => {
            Ok(Answer::Rows(lift(table, output)?))
        }
        (FunctionKind::FlatMap, contract::Answer::Expansion(expansion)) => {
            let contract::Expansion { rows, origins } = expansion;
            check_origins(&origins, rows.rows as usize, input_rows, "input rows")?;
            Ok(Answer::Expansion(Expansion { rows: lift(rows, output)?, origins }))
        }
        (FunctionKind::Filter, contract::Answer::Selection(bits)) => {
            Ok(Answer::Selection(lift_bits(bits, input_rows)?))
        }
        (kind, _) => Err(format!("gave an answer that is not a {kind}'s")),
    }
}

//! Reduces and their inverses: lower, cross, check, lift.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{
    CallContext, Folded, FunctionDescription, FunctionError, Groups, Inverse, Reduce, Schema,
};

use crate::callee::{Callee, lower_context};
use crate::contract::Table;
use crate::lift::lift;

#[async_trait]
impl Reduce for Callee {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn fold(
        &self,
        context: CallContext,
        rows: RecordBatch,
        groups: Groups,
    ) -> Result<Folded, FunctionError> {
        let lowered = self.lower(&rows)?;
        let table = lowered.table();
        let given = table.volume().and(size_of_val(groups.of.as_slice()) as u64);
        let input = (self.index, lower_context(context), table, groups.of.as_slice(), groups.count);
        let check = |answer| check(answer, &self.description.output, groups.count as usize, "groups");
        let (rows, added) = self.cross(context, given, input, check).await?;
        Ok(Folded { rows, added })
    }
}

#[async_trait]
impl Inverse for Callee {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn take_out(
        &self,
        context: CallContext,
        totals: RecordBatch,
        taken: RecordBatch,
    ) -> Result<Folded, FunctionError> {
        let (lowered, taken) = (self.lower(&totals)?, self.lower(&taken)?);
        let (totals_in, taken_in) = (lowered.table(), taken.table());
        let given = totals_in.volume().and(taken_in.volume().bytes);
        let input = (self.index, lower_context(context), totals_in, taken_in);
        let check = |answer| check(answer, &self.description.output, totals.num_rows(), "totals");
        let (rows, added) = self.cross(context, given, input, check).await?;
        Ok(Folded { rows, added })
    }
}

/// Believes an answer only if it has a row for each of the `expected`.
pub(crate) fn check(
    answer: Table,
    output: &Schema,
    expected: usize,
    of_what: &str,
) -> Result<RecordBatch, String> {
    match answer.rows as usize {
        rows if rows == expected => lift(answer, output),
        rows => Err(format!("answered with {rows} rows for {expected} {of_what}; one for each is right")),
    }
}

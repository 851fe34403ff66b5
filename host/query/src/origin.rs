//! Where rows come from: a column that nobody sees, carried from inputs through calls and unions to the calls that may need it.
//!
//! Only relations that such a call reads have the column, always as their last, and to all other readers they are what they
//! are without it. What an origin says is the input and how many records of the input's chunks stand before the row's:
//!
//! ```text
//! ┌ 16 bits: the input's number ┬ 48 bits: the row's ┐
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use crate::QueryError;

/// The column's name, which no relation may give to one of its own.
pub(crate) const ORIGIN: &str = "millstream:origin";
const ROW_BITS: u32 = 48;

/// A record that a row comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The input of the program.
    pub input: String,
    /// Records of the input's chunks before it, as [`crate::Chunks::rows`] counts them.
    pub record: u64,
}

/// The column's field.
fn field() -> Field {
    Field::new(ORIGIN, DataType::UInt64, true)
}

/// Refuses columns of which one has the name.
pub(crate) fn refuse_own(schema: &Schema) -> Result<(), QueryError> {
    match schema.field_with_name(ORIGIN) {
        Ok(_) => {
            Err(QueryError::Sql { message: format!("no column can be called \"{ORIGIN}\""), place: None })
        }
        Err(_) => Ok(()),
    }
}

/// Whether rows with these columns say where they come from.
pub(crate) fn is_traced(schema: &Schema) -> bool {
    schema.fields().last().is_some_and(|field| field.name() == ORIGIN)
}

/// The columns with that of the origin behind them.
pub(crate) fn traced(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain([Arc::new(field())]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows without their origins.
pub(crate) fn untraced(rows: RecordBatch) -> RecordBatch {
    if !is_traced(rows.schema_ref()) {
        return rows;
    }
    let columns: Vec<usize> = (0..rows.num_columns() - 1).collect();
    rows.project(&columns).expect("there are as many columns")
}

/// The plan without the rows' origins.
pub(crate) fn untraced_plan(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let columns = plan.schema().columns();
    let seen = columns.into_iter().filter(|column| column.name != ORIGIN).map(Expr::Column);
    let seen: Vec<_> = seen.collect();
    LogicalPlanBuilder::from(plan).project(seen)?.build()
}

/// The plan with a column for origins, which nobody knows where the plan has none.
pub(crate) fn traced_plan(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    if is_traced(plan.schema().as_arrow()) {
        return Ok(plan);
    }
    let columns: Vec<Column> = plan.schema().columns();
    let unknown = lit(ScalarValue::UInt64(None)).alias(ORIGIN);
    LogicalPlanBuilder::from(plan).project(columns.into_iter().map(Expr::Column).chain([unknown]))?.build()
}

/// The origins of `rows` rows of the input `number`, before which there are `before` records.
pub(crate) fn origins(number: u16, before: u64, rows: usize) -> ArrayRef {
    let first = (u64::from(number) << ROW_BITS) | before;
    Arc::new(UInt64Array::from_iter_values(first..first + rows as u64))
}

/// The code of a row's origin, if it is known.
pub(crate) fn code(rows: &RecordBatch, row: usize) -> Option<u64> {
    if !is_traced(rows.schema_ref()) {
        return None;
    }
    let origins = rows.columns().last()?.as_primitive_opt::<UInt64Type>()?;
    origins.is_valid(row).then(|| origins.value(row))
}

/// What a code says: the number of the input, and the records before.
pub(crate) fn decode(code: u64) -> (usize, u64) {
    let number = usize::try_from(code >> ROW_BITS).expect("a number of 16 bits");
    (number, code & ((1 << ROW_BITS) - 1))
}

//! Aggregates over several batches: each batch's rows are aggregated as far as they go, and the results are merged.
//!
//! What an aggregate has seen is a *state*: the key's columns, then what its functions need to go on, as DataFusion's partial
//! aggregates give it. Merging states gives a state, and finishing one gives the aggregate's rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode, AggregateMode};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use millstream_model::BatchTime;
use tokio::sync::Mutex;

use crate::QueryError;
use crate::batch::{CurrentBatch, Stopwatch};
use crate::input::{InputTable, Rows, Slot};
use crate::stage::{Plan, collect};

/// An aggregate over states.
pub struct Aggregation {
    state: SchemaRef,
    output: SchemaRef,
    plans: Mutex<Plans>,
}

struct Plans {
    states: Slot,
    merge: Plan,
    finish: Plan,
    batch: CurrentBatch,
}

impl Aggregation {
    /// From the plan of a query that aggregates, made for one partition.
    pub(crate) fn new(plan: &Plan, batch: CurrentBatch) -> Result<Self> {
        let aggregate = aggregate_in(&plan.physical)?;
        let partial = over(aggregate, AggregateMode::Partial, Arc::clone(aggregate.input()))?;
        let state = partial.schema();
        let states = Slot::default();
        let leaf = InputTable::leaf("states", &state, &states, 1);
        let merge = over(aggregate, AggregateMode::PartialReduce, Arc::clone(&leaf))?;
        let last = over(aggregate, AggregateMode::Final, leaf)?;
        let finish = replaced(&plan.physical, &(Arc::new(last) as Arc<dyn ExecutionPlan>))?;
        let plan_of = |physical| Plan { physical, context: Arc::clone(&plan.context) };
        let plans = Plans { states, merge: plan_of(Arc::new(merge)), finish: plan_of(finish), batch };
        Ok(Self { state, output: plan.physical.schema(), plans: Mutex::new(plans) })
    }

    /// The columns of a state.
    pub fn state_schema(&self) -> SchemaRef {
        Arc::clone(&self.state)
    }

    /// The columns of the aggregate.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// One state of several: one row for each key.
    ///
    /// # Errors
    /// Where the aggregate fails on them, as a sum does that is too large.
    pub async fn merge(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, QueryError> {
        let plans = self.plans.lock().await;
        plans.run(&plans.merge, states).await
    }

    /// The aggregate's rows for a state, as of the batch `time`.
    ///
    /// # Errors
    /// As [`Self::merge`].
    pub async fn finish(
        &self,
        time: BatchTime,
        states: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let plans = self.plans.lock().await;
        plans.batch.begin(time, &Stopwatch::default());
        plans.run(&plans.finish, states).await
    }
}

impl Plans {
    async fn run(&self, plan: &Plan, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, QueryError> {
        self.states.fill(Arc::new(Rows(states)));
        let rows = collect(plan, "aggregate").await;
        self.states.clear();
        rows
    }
}

/// The part of an aggregating plan that gives states, in as many partitions as its input has.
pub(crate) fn partial_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let aggregate = aggregate_in(plan)?;
    Ok(Arc::new(over(aggregate, AggregateMode::Partial, Arc::clone(aggregate.input()))?))
}

/// The aggregate that sees the rows themselves, of the topmost ones in a plan.
fn aggregate_in(plan: &Arc<dyn ExecutionPlan>) -> Result<&AggregateExec> {
    let mut plan = plan;
    loop {
        if let Some(aggregate) = plan.downcast_ref::<AggregateExec>()
            && aggregate.mode().input_mode() == AggregateInputMode::Raw
        {
            return Ok(aggregate);
        }
        plan = match plan.children().as_slice() {
            [child] => child,
            _ => return Err(DataFusionError::Plan("the query is no aggregate".to_owned())),
        };
    }
}

fn over(
    aggregate: &AggregateExec,
    mode: AggregateMode,
    input: Arc<dyn ExecutionPlan>,
) -> Result<AggregateExec> {
    let (functions, schema) = (aggregate.aggr_expr().to_vec(), aggregate.input_schema());
    match mode.input_mode() {
        AggregateInputMode::Raw => {
            let (keys, filters) = (aggregate.group_expr().clone(), aggregate.filter_expr().to_vec());
            AggregateExec::try_new(mode, keys, functions, filters, input, schema)
        }
        AggregateInputMode::Partial => {
            let (keys, filters) = (aggregate.group_expr().as_final(), vec![None; functions.len()]);
            AggregateExec::try_new(mode, keys, functions, filters, input, schema)
        }
    }
}

/// The plan with `last` in place of all that aggregates.
fn replaced(plan: &Arc<dyn ExecutionPlan>, last: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.downcast_ref::<AggregateExec>().is_some() {
        return Ok(Arc::clone(last));
    }
    let [child] = plan.children()[..] else {
        return Err(DataFusionError::Plan("the query is no aggregate".to_owned()));
    };
    let child = replaced(child, last)?;
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(plan).replace_children(vec![child], options)
}

//! A relation that is computed for itself: by a plan, and by an operator on what the plan gives.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;

use crate::batch::Run;
use crate::input::{Held, Slot};
use crate::operator::{OperatorContext, Partitions};
use crate::origin::untraced;
use crate::{Operator, Output, QueryError, in_parallel};

/// A relation that is computed by a plan of its own.
pub(crate) struct Stage {
    pub(crate) relation: String,
    /// In one partition, and in all.
    pub(crate) plans: [Plan; 2],
    /// Where the plans find what they read.
    pub(crate) reads: Vec<Slot>,
    /// What makes the relation of the plan's rows, if that is not the plan alone.
    pub(crate) operator: Option<Arc<dyn Operator>>,
    /// Where that finds the rows of its table.
    pub(crate) table: Option<Slot>,
    /// Where its readers find its rows; absent if nothing in the program reads it.
    pub(crate) slot: Option<Slot>,
    /// Whether its rows are output.
    pub(crate) wanted: bool,
}

pub(crate) struct Plan {
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    pub(crate) context: Arc<TaskContext>,
}

impl Stage {
    /// Computes the relation, unless something that it reads has no table in this batch.
    pub(crate) async fn run(
        self: &Arc<Self>,
        run: &Arc<Run>,
        parallel: bool,
        output: &Arc<dyn Output>,
    ) -> Result<(), QueryError> {
        if !self.reads.iter().all(Slot::is_filled) {
            return Ok(());
        }
        let plan = &self.plans[usize::from(parallel)];
        let partitions = match &self.operator {
            None => self.run_plan(plan, output).await?,
            Some(operator) => {
                let rows = self.run_plan(plan, output).await?;
                let context = OperatorContext::new(run, self.table.as_ref());
                let Some(partitions) = operator.run(&context, rows).await? else {
                    return Ok(());
                };
                self.output(&partitions, output).await?;
                partitions
            }
        };
        if let Some(slot) = &self.slot {
            slot.fill(Arc::new(Held::new(partitions)));
        }
        Ok(())
    }

    /// Gives the rows of each partition where they are read, and none otherwise.
    async fn run_plan(
        self: &Arc<Self>,
        plan: &Plan,
        output: &Arc<dyn Output>,
    ) -> Result<Partitions, QueryError> {
        let physical = reset_plan_states(Arc::clone(&plan.physical))
            .map_err(|e| QueryError::running(&self.relation, &e))?;
        let partitions = 0..physical.output_partitioning().partition_count();
        let piece = |partition| {
            let (stage, physical) = (Arc::clone(self), Arc::clone(&physical));
            let (context, output) = (Arc::clone(&plan.context), Arc::clone(output));
            async move {
                let rows = stage.run_partition(physical, partition, &context, &output).await;
                rows.map_err(|e| QueryError::running(&stage.relation, &e))
            }
        };
        in_parallel(&self.relation, partitions.map(piece)).await
    }

    async fn run_partition(
        &self,
        physical: Arc<dyn ExecutionPlan>,
        partition: usize,
        context: &Arc<TaskContext>,
        output: &Arc<dyn Output>,
    ) -> Result<Vec<RecordBatch>, DataFusionError> {
        let holds = self.slot.is_some() || self.operator.is_some();
        let writes = self.wanted && self.operator.is_none();
        let mut rows = physical.execute(partition, Arc::clone(context))?;
        let mut held = Vec::new();
        while let Some(chunk) = rows.try_next().await? {
            if chunk.num_rows() == 0 {
                continue;
            }
            if holds {
                held.push(chunk.clone());
            }
            if writes {
                let written = output.write(&self.relation, partition, untraced(chunk)).await;
                written.map_err(QueryError::Output)?;
            }
        }
        Ok(held)
    }

    /// Writes the rows of an operator.
    async fn output(&self, partitions: &Partitions, output: &Arc<dyn Output>) -> Result<(), QueryError> {
        if !self.wanted {
            return Ok(());
        }
        for (partition, chunks) in partitions.iter().enumerate() {
            for chunk in chunks.iter().filter(|chunk| chunk.num_rows() > 0) {
                let written = output.write(&self.relation, partition, chunk.clone()).await;
                written.map_err(QueryError::Output)?;
            }
        }
        Ok(())
    }
}

/// Runs a plan that is outside of a program, in one partition.
pub(crate) async fn collect(plan: &Plan, relation: &str) -> Result<Vec<RecordBatch>, QueryError> {
    let collected = async {
        let physical = reset_plan_states(Arc::clone(&plan.physical))?;
        let chunks = physical.execute(0, Arc::clone(&plan.context))?;
        chunks.try_collect::<Vec<_>>().await
    };
    let mut chunks = collected.await.map_err(|e| QueryError::running(relation, &e))?;
    chunks.retain(|chunk| chunk.num_rows() > 0);
    Ok(chunks)
}

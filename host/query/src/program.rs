//! Everything that the sinks want of a pipeline's relations, compiled once and run on every batch.
//!
//! A relation with one reader becomes part of its reader's plan, so its rows are never held. One with several readers
//! is a *stage* of its own: computed once a batch, held in memory, read by all. Each stage is planned twice, for one
//! partition and for all cores, since a small batch costs an eighth in one partition of what it costs in two.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;
use millstream_model::{Accumulated, BatchTime};
use tokio::task::JoinSet;

use crate::batch::CurrentBatch;
use crate::input::{Chunks, Rows, Slot};
use crate::relations::{Catalog, Definition, Meaning};
use crate::{QueryError, Relations};

/// Batches with fewer rows run in one partition.
const PARALLEL_ROWS_MIN: usize = 16_384;

/// Where a program puts the rows of the relations it was compiled for.
#[async_trait]
pub trait Output: Send + Sync {
    /// Takes rows of a relation. Calls for one partition come in its order; partitions run side by side.
    async fn write(&self, relation: &str, partition: usize, rows: RecordBatch) -> Result<(), String>;
}

/// A compiled pipeline. It runs one batch at a time.
pub struct Program {
    inputs: HashMap<String, Slot>,
    stages: Vec<Arc<Stage>>,
    batch: CurrentBatch,
}

/// A relation that is computed by a plan of its own.
struct Stage {
    relation: String,
    /// In one partition, and in all.
    plans: [Plan; 2],
    /// Where its readers find its rows; absent if nothing in the program reads it.
    slot: Option<Slot>,
    /// Whether its rows are output.
    wanted: bool,
}

struct Plan {
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl Program {
    /// Compiles what is needed for the relations `wanted`, to run in up to `partitions` partitions.
    pub async fn compile(
        relations: &Relations,
        wanted: &[&str],
        partitions: usize,
    ) -> Result<Self, QueryError> {
        let batch = CurrentBatch::default();
        let needed = needed(relations.definitions(), wanted);
        let serial = Compiler::new(1, &batch)?.compile(&needed).await?;
        let mut parallel = Compiler::new(partitions, &batch)?;
        parallel.share_slots(&serial);
        let parallel = parallel.compile(&needed).await?;
        let stages = serial.stages.into_iter().zip(parallel.stages).map(|(one, all)| {
            let need = &needed[one.index];
            Arc::new(Stage {
                relation: need.definition.name.clone(),
                plans: [one.plan, all.plan],
                slot: serial.slots.get(&shared_name(need)).cloned(),
                wanted: need.wanted,
            })
        });
        let stages = stages.collect();
        let is_input = |name: &String| needed.iter().any(|n| n.is_input() && n.definition.name == *name);
        let inputs = serial.slots.iter().filter(|(name, _)| is_input(name));
        let inputs = inputs.map(|(name, slot)| (name.clone(), slot.clone())).collect();
        Ok(Self { inputs, stages, batch })
    }

    /// The inputs that a batch must be given.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().map(String::as_str)
    }

    /// Runs a batch: every wanted relation's rows go to `output`, and nothing is held afterwards.
    ///
    /// Gives what the functions that were called added to accumulators: the sum over all calls of this run. Of a run that
    /// fails nothing counts, here or in the next.
    pub async fn run(
        &mut self,
        time: BatchTime,
        inputs: Vec<(String, Arc<dyn Chunks>)>,
        output: Arc<dyn Output>,
    ) -> Result<Accumulated, QueryError> {
        let rows: usize = inputs.iter().flat_map(|(_, chunks)| chunks.rows()).sum();
        let parallel = rows >= PARALLEL_ROWS_MIN;
        let run = self.batch.begin(time);
        for (name, chunks) in inputs {
            if let Some(slot) = self.inputs.get(&name) {
                slot.fill(chunks);
            }
        }
        let result = self.run_stages(parallel, &output).await;
        self.inputs.values().for_each(Slot::clear);
        self.stages.iter().filter_map(|stage| stage.slot.as_ref()).for_each(Slot::clear);
        result.and_then(|()| run.accumulated())
    }

    async fn run_stages(&self, parallel: bool, output: &Arc<dyn Output>) -> Result<(), QueryError> {
        for stage in &self.stages {
            let partitions = stage.run(parallel, output).await?;
            if let Some(slot) = &stage.slot {
                slot.fill(Arc::new(Rows(partitions.concat())));
            }
        }
        Ok(())
    }
}

impl Stage {
    /// Gives the rows of each partition where others in the program read them, and none otherwise.
    async fn run(
        self: &Arc<Self>,
        parallel: bool,
        output: &Arc<dyn Output>,
    ) -> Result<Vec<Vec<RecordBatch>>, QueryError> {
        let plan = &self.plans[usize::from(parallel)];
        let physical = reset_plan_states(Arc::clone(&plan.physical))
            .map_err(|e| QueryError::running(&self.relation, &e))?;
        let partitions = physical.output_partitioning().partition_count();
        if partitions == 1 {
            let rows = self.run_partition(physical, 0, &plan.context, output).await;
            return Ok(vec![rows.map_err(|e| QueryError::running(&self.relation, &e))?]);
        }
        let mut running = JoinSet::new();
        for partition in 0..partitions {
            let (stage, physical) = (Arc::clone(self), Arc::clone(&physical));
            let (context, output) = (Arc::clone(&plan.context), Arc::clone(output));
            running.spawn(async move {
                let rows = stage.run_partition(physical, partition, &context, &output).await;
                rows.map(|rows| (partition, rows))
            });
        }
        let mut done = vec![Vec::new(); partitions];
        while let Some(joined) = running.join_next().await {
            match joined.unwrap_or_else(|e| Err(DataFusionError::ExecutionJoin(Box::new(e)))) {
                Ok((partition, rows)) => done[partition] = rows,
                Err(error) => {
                    // Nothing of this run may touch the output once it has failed: it may be run again.
                    running.shutdown().await;
                    return Err(QueryError::running(&self.relation, &error));
                }
            }
        }
        Ok(done)
    }

    async fn run_partition(
        &self,
        physical: Arc<dyn ExecutionPlan>,
        partition: usize,
        context: &Arc<TaskContext>,
        output: &Arc<dyn Output>,
    ) -> Result<Vec<RecordBatch>, DataFusionError> {
        let mut rows = physical.execute(partition, Arc::clone(context))?;
        let mut held = Vec::new();
        while let Some(chunk) = rows.try_next().await? {
            if chunk.num_rows() == 0 {
                continue;
            }
            if self.slot.is_some() {
                held.push(chunk.clone());
            }
            if self.wanted {
                let written = output.write(&self.relation, partition, chunk).await;
                written.map_err(QueryError::Output)?;
            }
        }
        Ok(held)
    }
}

/// A relation that the wanted ones depend on, and how it is read.
struct Need {
    definition: Definition,
    wanted: bool,
    readers: usize,
}

impl Need {
    fn is_input(&self) -> bool {
        matches!(self.definition.meaning, Meaning::Input)
    }

    /// Whether it is computed for itself and held, rather than as part of its one reader.
    fn is_shared(&self) -> bool {
        self.readers + usize::from(self.wanted) > 1 && self.readers > 0
    }

    fn is_stage(&self) -> bool {
        self.wanted || self.is_shared()
    }
}

/// The definitions that `wanted` depends on, in their order.
fn needed(definitions: &[Definition], wanted: &[&str]) -> Vec<Need> {
    let mut needed: Vec<Need> = Vec::new();
    for definition in definitions.iter().rev() {
        let name = definition.name.as_str();
        let reads = |need: &Need| need.definition.reads.iter().filter(|read| *read == name).count();
        let readers = needed.iter().map(reads).sum();
        let wanted = wanted.contains(&name);
        if wanted || readers > 0 {
            needed.push(Need { definition: definition.clone(), wanted, readers });
        }
    }
    needed.reverse();
    needed
}

/// The name of the slot that holds a shared relation. An input has one for what is given as well, under its own name.
fn shared_name(need: &Need) -> String {
    format!("{} (shared)", need.definition.name)
}

/// Plans stages for one number of partitions.
struct Compiler {
    catalog: Catalog,
    slots: HashMap<String, Slot>,
}

struct Compiled {
    stages: Vec<CompiledStage>,
    slots: HashMap<String, Slot>,
}

struct CompiledStage {
    index: usize,
    plan: Plan,
}

impl Compiler {
    fn new(partitions: usize, batch: &CurrentBatch) -> Result<Self, QueryError> {
        Ok(Self { catalog: Catalog::new(partitions, batch.clone())?, slots: HashMap::new() })
    }

    /// Reads from the same slots as what was compiled before.
    fn share_slots(&mut self, compiled: &Compiled) {
        self.slots = compiled.slots.clone();
    }

    async fn compile(mut self, needed: &[Need]) -> Result<Compiled, QueryError> {
        let mut stages = Vec::new();
        for (index, need) in needed.iter().enumerate() {
            let Definition { name, meaning, reads, schema } = &need.definition;
            if need.is_input() {
                self.add_leaf(name, name.clone(), schema)?;
            }
            if !need.is_stage() {
                if !need.is_input() {
                    self.catalog.add_view(name, self.catalog.plan(meaning, reads).await?)?;
                }
                continue;
            }
            let own_name = [name.clone()];
            let reads: &[String] = if need.is_input() { &own_name } else { reads };
            stages.push(CompiledStage { index, plan: self.physical(meaning, reads).await? });
            if need.is_shared() {
                self.add_leaf(name, shared_name(need), schema)?;
            }
        }
        Ok(Compiled { stages, slots: self.slots })
    }

    /// Lets `name` be read from the slot `slot` from here on.
    fn add_leaf(
        &mut self,
        name: &str,
        slot: String,
        schema: &arrow::datatypes::SchemaRef,
    ) -> Result<(), QueryError> {
        let slot = self.slots.entry(slot).or_default().clone();
        self.catalog.forget(name)?;
        self.catalog.add_leaf(name, Arc::clone(schema), slot)
    }

    async fn physical(&self, meaning: &Meaning, reads: &[String]) -> Result<Plan, QueryError> {
        let logical = self.catalog.plan(meaning, reads).await?;
        let state = self.catalog.context.state();
        let physical = state.create_physical_plan(&logical).await;
        let physical = physical.map_err(|e| QueryError::planning(&e))?;
        Ok(Plan { physical, context: self.catalog.context.task_ctx() })
    }
}

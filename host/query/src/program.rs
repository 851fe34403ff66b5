//! Everything that the sinks want of a pipeline's relations, compiled once and run on every batch.
//!
//! A relation with one reader becomes part of its reader's plan, so its rows are never held. One with several readers, and
//! one that an operator computes, is a *stage* of its own: computed once a batch, held in memory, read by all. Each stage is
//! planned twice, for one partition and for all cores, since a small batch costs an eighth in one partition of what it
//! costs in two.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{Accumulated, BatchTime, PoisonRow};

use crate::batch::{Broken, CurrentBatch, PoisonRows, Run, Stopwatch};
use crate::compile::compile;
use crate::input::{Chunks, Slot};
use crate::origin::{Origin, decode};
use crate::stage::Stage;
use crate::{QueryError, Relations, Warming};

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
    pub(crate) inputs: HashMap<String, Slot>,
    /// The inputs whose rows are traced, by their numbers.
    pub(crate) numbered: Vec<String>,
    pub(crate) stages: Vec<Arc<Stage>>,
    pub(crate) batch: CurrentBatch,
    pub(crate) stopwatch: Stopwatch,
}

/// What a run came to, beside the rows that it put out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Computed {
    /// What functions added to accumulators: the sum over all calls.
    pub accumulated: Accumulated,
    /// The rows that functions failed on and that are to be kept, in an order that is always the same.
    pub poison: Vec<Poisoned>,
    /// How many more there were than are kept.
    pub more_poison: u64,
    /// The rows that functions broke on, if there are any; skipped ones are among them.
    pub broken: Option<Broken>,
}

/// A row that a function failed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Poisoned {
    /// The row.
    pub row: PoisonRow,
    /// The record that it comes from, where only calls and unions are between.
    pub origin: Option<Origin>,
}

impl Program {
    /// Compiles what is needed for the relations `wanted`, to run in up to `partitions` partitions.
    pub async fn compile(
        relations: &Relations,
        wanted: &[&str],
        partitions: usize,
    ) -> Result<Self, QueryError> {
        compile(relations, wanted, partitions).await
    }

    /// The inputs that a batch must be given.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().map(String::as_str)
    }

    /// What is made ready for its next batch, by whoever does that.
    pub fn warming(&self) -> Warming {
        Warming::new(self.stages.iter().filter_map(|stage| stage.operator.clone()))
    }

    /// Goes by `stopwatch` from now on.
    pub fn measure(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = stopwatch;
    }

    /// Runs a batch: every wanted relation's rows go to `output`, and nothing is held afterwards.
    ///
    /// Of a run that fails nothing counts, here or in the next.
    pub async fn run(
        &mut self,
        time: BatchTime,
        inputs: Vec<(String, Arc<dyn Chunks>)>,
        output: Arc<dyn Output>,
    ) -> Result<Computed, QueryError> {
        let own = inputs.iter().filter(|(_, chunks)| chunks.is_of_batch());
        let rows: usize = own.flat_map(|(_, chunks)| chunks.rows()).sum();
        let parallel = rows >= PARALLEL_ROWS_MIN;
        let run = self.batch.begin(time, &self.stopwatch);
        for (name, chunks) in inputs {
            if let Some(slot) = self.inputs.get(&name) {
                slot.fill(chunks);
            }
        }
        let result = self.run_stages(&run, parallel, &output).await;
        self.inputs.values().for_each(Slot::clear);
        self.stages.iter().filter_map(|stage| stage.slot.as_ref()).for_each(Slot::clear);
        result?;
        let accumulated = run.accumulated()?;
        let PoisonRows { rows, more, broken, .. } = run.poison();
        let poisoned = |(row, code): (PoisonRow, Option<u64>)| Poisoned {
            row,
            origin: code.map(|code| self.origin(code)),
        };
        let mut poison: Vec<_> = rows.into_iter().map(poisoned).collect();
        // Partitions put rows aside in any order.
        poison.sort_by_cached_key(|poisoned| {
            (poisoned.origin.clone(), poisoned.row.stream.clone(), format!("{:?}", poisoned.row.row))
        });
        Ok(Computed { accumulated, poison, more_poison: more, broken })
    }

    fn origin(&self, code: u64) -> Origin {
        let (number, record) = decode(code);
        Origin { input: self.numbered[number].clone(), record }
    }

    async fn run_stages(
        &self,
        run: &Arc<Run>,
        parallel: bool,
        output: &Arc<dyn Output>,
    ) -> Result<(), QueryError> {
        for stage in &self.stages {
            stage.run(run, parallel, output).await?;
        }
        Ok(())
    }
}

//! Relations that are computed outside of plans: what needs all rows of a batch at once, or those of earlier batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{Accumulated, BatchTime, FunctionError};

use crate::batch::{Aside, Run};
use crate::input::Slot;
use crate::{Caller, Isolation, QueryError};

/// Rows by partition, in order.
pub type Partitions = Vec<Vec<RecordBatch>>;

/// Computes a relation from the rows of another, once a batch and for one batch at a time.
///
/// A run may fail and be repeated for the same batch, so whatever it keeps from batch to batch changes only when the
/// batch is committed: that is between the operator and whoever commits.
#[async_trait]
pub trait Operator: Send + Sync {
    /// The columns of its rows.
    fn schema(&self) -> SchemaRef;

    /// An input of the program whose rows it is given in each batch, beside those that it computes from.
    fn table(&self) -> Option<&str> {
        None
    }

    /// Relations that are computed before this one in each batch, beside its input: what it knows of them, it has by other ways.
    fn follows(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many partitions its readers see, where they are to see those that it makes.
    fn partitions(&self) -> Option<usize> {
        None
    }

    /// Makes ready what the next batch wants of earlier ones, beside those batches, if that takes long. What comes of a batch is
    /// the same with it and without. The context's time is that of the last batch.
    async fn warm(&self, _context: &OperatorContext) -> Result<(), QueryError> {
        Ok(())
    }

    /// The relation's rows in a batch whose input is `rows`; nothing, where the relation has no table in this batch.
    /// That is not the same as a table without rows: whoever reads it has none either.
    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError>;
}

/// The batch that an operator runs in.
#[derive(Clone, Debug)]
pub struct OperatorContext {
    run: Arc<Run>,
    table: Option<Slot>,
}

impl OperatorContext {
    /// In the run `run`; `table` holds the rows of the operator's table.
    pub(crate) fn new(run: &Arc<Run>, table: Option<&Slot>) -> Self {
        Self { run: Arc::clone(run), table: table.cloned() }
    }

    /// The rows of the operator's table; none, where it has no table.
    pub fn table_rows(&self) -> Vec<RecordBatch> {
        self.table.as_ref().map(Slot::rows).unwrap_or_default()
    }

    /// The batch's time.
    pub fn time(&self) -> BatchTime {
        self.run.time()
    }

    /// The calls for so many rows, groups or keys, each of which may be called without the others.
    pub fn isolate<'r>(&'r self, caller: &'r Caller, units: usize) -> Isolation<'r> {
        Isolation::of_units(&self.run, caller, units)
    }

    /// The call for what cannot be divided.
    pub fn call_whole<'r>(&'r self, caller: &'r Caller, units: usize) -> Isolation<'r> {
        Isolation::of_all(&self.run, caller, units)
    }

    /// Puts the rows aside that a function fails on with `error`: `rows` are the columns that it was called with.
    ///
    /// # Errors
    /// Where the batch adds to too many accumulators.
    pub fn put_aside(
        &self,
        caller: &Caller,
        error: &FunctionError,
        rows: &RecordBatch,
    ) -> Result<(), QueryError> {
        self.put_all_aside(caller, error, rows, false)
    }

    /// The same for rows whose values may be totals, which earlier calls have made of several.
    ///
    /// # Errors
    /// Where the batch adds to too many accumulators.
    pub fn put_totals_aside(
        &self,
        caller: &Caller,
        error: &FunctionError,
        rows: &RecordBatch,
    ) -> Result<(), QueryError> {
        self.put_all_aside(caller, error, rows, true)
    }

    fn put_all_aside(
        &self,
        caller: &Caller,
        error: &FunctionError,
        rows: &RecordBatch,
        totals: bool,
    ) -> Result<(), QueryError> {
        let aside = |row| Aside { rows, row, origin: None, totals };
        (0..rows.num_rows()).try_for_each(|row| self.run.put_aside(caller, error, aside(row)))
    }

    /// Counts what a call added to accumulators.
    ///
    /// # Errors
    /// Where the batch adds to too many.
    pub fn add(&self, added: Accumulated) -> Result<(), QueryError> {
        self.run.add(added)
    }
}

/// The operators of a program, which may be made ready for its next batch while others run it.
#[derive(Clone, Default)]
pub struct Warming(Vec<Arc<dyn Operator>>);

impl Warming {
    pub(crate) fn new(operators: impl Iterator<Item = Arc<dyn Operator>>) -> Self {
        Self(operators.collect())
    }

    /// Makes ready what the batch behind `time`, the last one, will want of earlier ones.
    ///
    /// # Errors
    /// A function fails on what there is. That batch will find the same.
    pub async fn warm(&self, time: BatchTime) -> Result<(), QueryError> {
        let context = OperatorContext::new(&Arc::new(Run::of(time)), None);
        for operator in &self.0 {
            operator.warm(&context).await?;
        }
        Ok(())
    }
}

/// What an operator is given.
#[derive(Clone, Debug)]
pub enum OperatorInput {
    /// The rows of that relation.
    Rows(String),
    /// What the batch gives to the aggregate of this query, in the form that [`crate::Aggregation::merge`] takes.
    Partial(String),
}

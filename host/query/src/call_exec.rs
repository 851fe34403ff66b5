//! A call of a plugin's function in a running plan: chunk by chunk, in order, one call at a time in each partition.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};
use millstream_model::columns::{pick, table};
use millstream_model::{Answer, Answered, CALL_ROWS_MAX, CallContext, FunctionKind};

use crate::Call;
use crate::batch::{Aside, CurrentBatch, Run};
use crate::call::{carried_columns, output_schema};
use crate::isolation::{Isolation, Poison};
use crate::origin::{self, is_traced};

#[derive(Debug)]
pub(crate) struct CallExec {
    call: Call,
    input: Arc<dyn ExecutionPlan>,
    batch: CurrentBatch,
    run: Arc<Run>,
    traced: bool,
    binding: Arc<Binding>,
    properties: Arc<PlanProperties>,
}

impl CallExec {
    /// A call for the run that `batch` is in. Plans are made anew for each run, and a call is never moved to another one.
    /// If `traced`, its rows say where they come from.
    pub(crate) fn new(
        call: Call,
        input: Arc<dyn ExecutionPlan>,
        batch: CurrentBatch,
        traced: bool,
    ) -> Result<Self> {
        let schema = output_schema(&call, &input.schema(), traced);
        let binding = Arc::new(Binding::new(&call, &input.schema(), Arc::clone(&schema))?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let run = batch.run();
        Ok(Self { call, input, batch, run, traced, binding, properties })
    }
}

impl DisplayAs for CallExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallExec: {}", self.call.function.description().name)
    }
}

impl ExecutionPlan for CallExec {
    fn name(&self) -> &str {
        "CallExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// The order that its input promises is kept: a call gives rows in the order in which it takes them.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.input.output_ordering().cloned().map(OrderingRequirements::from)]
    }

    /// It does, and does not say so: whoever wants its rows in some order would have its input sorted by the columns that have the
    /// same numbers there, which are others.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[Arc<dyn ExecutionPlan>; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("a call takes one input".to_owned()))?;
        Ok(Arc::new(Self::new(self.call.clone(), input, self.batch.clone(), self.traced)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let batch_time = self.run.time();
        let partition = u32::try_from(partition).unwrap_or(u32::MAX);
        let chunks = match self.call.function.description().kind {
            FunctionKind::Transform => whole_partition(input),
            _ => input.map_ok(|rows| stream::iter(slices(rows)).map(Ok)).try_flatten().boxed(),
        };
        let (call, binding, run) = (self.call.clone(), Arc::clone(&self.binding), Arc::clone(&self.run));
        let answers = chunks.zip(stream::iter(0..)).then(move |(rows, chunk)| {
            let (call, binding, run) = (call.clone(), Arc::clone(&binding), Arc::clone(&run));
            let context = CallContext { batch_time, partition, chunk };
            async move { binding.apply(&call, &run, context, rows?).await }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), answers)))
    }
}

type RowStream = stream::BoxStream<'static, Result<RecordBatch>>;

/// All of a partition's rows as one chunk, which may be empty.
fn whole_partition(input: SendableRecordBatchStream) -> RowStream {
    let schema = input.schema();
    let whole = async move {
        let chunks: Vec<RecordBatch> = input.try_collect().await?;
        Ok(concat_batches(&schema, &chunks)?)
    };
    stream::once(whole).boxed()
}

/// `rows` in chunks that a call may take; none where there are no rows.
fn slices(rows: RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let total = rows.num_rows();
    (0..total).step_by(CALL_ROWS_MAX).map(move |start| rows.slice(start, CALL_ROWS_MAX.min(total - start)))
}

/// Which columns of the input a function reads, which are carried along, and what comes of both.
#[derive(Debug)]
struct Binding {
    read: Vec<usize>,
    read_schema: SchemaRef,
    /// That of the rows' origins is the last, if it is among them.
    carried: Vec<usize>,
    schema: SchemaRef,
}

impl Binding {
    fn new(call: &Call, input: &Schema, schema: SchemaRef) -> Result<Self> {
        let read = call.columns.iter().map(|name| input.index_of(name));
        let mut carried = carried_columns(call, input);
        carried.extend(is_traced(&schema).then(|| input.fields().len() - 1));
        Ok(Self {
            read: read.collect::<Result<_, _>>()?,
            read_schema: Arc::new(call.function.description().input.to_arrow()),
            carried,
            schema,
        })
    }

    /// What comes of a chunk, without the rows that the function fails on.
    async fn apply(
        &self,
        call: &Call,
        run: &Run,
        context: CallContext,
        rows: RecordBatch,
    ) -> Result<RecordBatch> {
        let mut isolation = match call.is_by_row() {
            true => Isolation::of_units(run, &call.caller, rows.num_rows()),
            false => Isolation::of_all(run, &call.caller, rows.num_rows()),
        };
        let mut done = Vec::new();
        while let Some(piece) = isolation.next() {
            let rows = rows.slice(piece.start, piece.len());
            let arguments = self.arguments(&rows)?;
            match call.function.call(isolation.place(context), arguments.clone()).await {
                Ok(Answered { answer, added }) => {
                    run.add(added)?;
                    done.push(self.answered(&rows, answer)?);
                }
                Err(error) => {
                    if let Some(Poison { error, .. }) = isolation.failed(error)? {
                        let origin = origin::code(&rows, 0);
                        let aside = Aside { rows: &arguments, row: 0, origin, totals: false };
                        run.put_aside(&call.caller, &error, aside)?;
                    }
                }
            }
        }
        match done.len() {
            1 => Ok(done.remove(0)),
            _ => Ok(concat_batches(&self.schema, &done)?),
        }
    }

    /// A function's answer to `rows`, beside what is carried of them.
    fn answered(&self, rows: &RecordBatch, answer: Answer) -> Result<RecordBatch> {
        match answer {
            Answer::Rows(own) => self.join(self.carried_as_they_are(rows), &own),
            Answer::Expansion(expansion) => {
                self.join(self.carried_from(rows, expansion.origins)?, &expansion.rows)
            }
            Answer::Selection(kept) => {
                let carried = self.carried_as_they_are(rows);
                let carried = table(Arc::clone(&self.schema), carried, rows.num_rows())?;
                Ok(filter_record_batch(&carried, &kept.into())?)
            }
        }
    }

    /// The columns that the function reads, in the types that it declares.
    fn arguments(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(pick(rows, self.read.iter().copied(), &self.read_schema)?)
    }

    fn carried_as_they_are(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.carried.iter().map(|&column| Arc::clone(rows.column(column))).collect()
    }

    fn carried_from(&self, rows: &RecordBatch, origins: Vec<u32>) -> Result<Vec<ArrayRef>> {
        if self.carried.is_empty() {
            return Ok(Vec::new());
        }
        let origins = UInt32Array::from(origins);
        let column = |&column: &usize| Ok(take(rows.column(column), &origins, None)?);
        self.carried.iter().map(column).collect()
    }

    fn join(&self, mut carried: Vec<ArrayRef>, own: &RecordBatch) -> Result<RecordBatch> {
        let seen = carried.len() - usize::from(is_traced(&self.schema));
        carried.splice(seen..seen, own.columns().iter().map(Arc::clone));
        Ok(table(Arc::clone(&self.schema), carried, own.num_rows())?)
    }
}

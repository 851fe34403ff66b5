//! How a batch's rows get into a plan that was made once: a leaf that reads whatever its slot holds now.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream;

use crate::origin::{is_traced, origins};

/// An input's rows for one batch, in chunks that partitions read on their own threads.
pub trait Chunks: Send + Sync {
    /// The number of rows in each chunk, in order.
    fn rows(&self) -> Vec<usize>;

    /// Reads a chunk. Each is read once in a run, but for those of a table, which operators may read as well.
    fn read(&self, chunk: usize) -> RecordBatch;

    /// Whether the rows are the batch's own, by whose number its plan is chosen. Those of a table are not.
    fn is_of_batch(&self) -> bool {
        true
    }

    /// The chunks of a partition, where they were put into partitions on purpose.
    fn partition(&self, _partition: usize) -> Option<Range<usize>> {
        None
    }
}

/// Rows that are in memory already, as chunks.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub Vec<RecordBatch>);

impl Chunks for Rows {
    fn rows(&self) -> Vec<usize> {
        self.0.iter().map(RecordBatch::num_rows).collect()
    }

    fn read(&self, chunk: usize) -> RecordBatch {
        self.0[chunk].clone()
    }
}

/// Rows that a stage has computed, with the partitions that it computed them in.
pub(crate) struct Held {
    chunks: Vec<RecordBatch>,
    /// Where each partition ends.
    ends: Vec<usize>,
}

impl Held {
    pub(crate) fn new(partitions: Vec<Vec<RecordBatch>>) -> Self {
        let mut end = 0;
        let ends = partitions.iter().map(|chunks| {
            end += chunks.len();
            end
        });
        Self { ends: ends.collect(), chunks: partitions.concat() }
    }
}

impl Chunks for Held {
    fn rows(&self) -> Vec<usize> {
        self.chunks.iter().map(RecordBatch::num_rows).collect()
    }

    fn read(&self, chunk: usize) -> RecordBatch {
        self.chunks[chunk].clone()
    }

    fn partition(&self, partition: usize) -> Option<Range<usize>> {
        let start = if partition == 0 { 0 } else { self.ends.get(partition - 1).copied()? };
        Some(start..*self.ends.get(partition)?)
    }
}

/// Where a leaf finds the rows of the running batch.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Arc<dyn Chunks>>>>);

impl Slot {
    pub(crate) fn fill(&self, chunks: Arc<dyn Chunks>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunks);
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.chunks().is_some()
    }

    /// All rows that it holds now.
    pub(crate) fn rows(&self) -> Vec<RecordBatch> {
        self.chunks()
            .map(|chunks| (0..chunks.rows().len()).map(|chunk| chunks.read(chunk)).collect())
            .unwrap_or_default()
    }

    fn chunks(&self) -> Option<Arc<dyn Chunks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

/// A named input, as DataFusion's catalog sees it.
#[derive(Debug)]
pub(crate) struct InputTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) slot: Slot,
    /// How many partitions its rows come in, where that is not for the plan to say.
    pub(crate) partitions: Option<usize>,
    /// The number of the input, where the last column is to say where rows come from and nothing gives it.
    pub(crate) number: Option<u16>,
}

impl InputTable {
    /// A leaf that stands outside of a catalog.
    pub(crate) fn leaf(
        name: &str,
        schema: &SchemaRef,
        slot: &Slot,
        partitions: usize,
    ) -> Arc<dyn ExecutionPlan> {
        Arc::new(InputExec {
            name: name.to_owned(),
            slot: slot.clone(),
            is_partitioned: false,
            projection: None,
            number: None,
            properties: properties(Arc::clone(schema), partitions),
        })
    }
}

fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

#[async_trait]
impl TableProvider for InputTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let partitions = self.partitions.unwrap_or_else(|| session.config().target_partitions());
        Ok(Arc::new(InputExec {
            name: self.name.clone(),
            slot: self.slot.clone(),
            is_partitioned: self.partitions.is_some(),
            projection: projection.cloned(),
            number: self.number,
            properties: properties(schema, partitions),
        }))
    }
}

/// The leaf. Partition `i` of `n` reads a contiguous run of chunks, so that the rows' order is that of the
/// partitions, and the same batch is always cut the same way.
#[derive(Debug)]
struct InputExec {
    name: String,
    slot: Slot,
    is_partitioned: bool,
    projection: Option<Vec<usize>>,
    number: Option<u16>,
    properties: Arc<PlanProperties>,
}

impl InputExec {
    /// What the plan sees of a chunk before which there are `before` records.
    fn seen(
        rows: RecordBatch,
        projection: Option<&[usize]>,
        number: Option<u16>,
        before: u64,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let Some(number) = number.filter(|_| is_traced(schema)) else {
            return match projection {
                Some(columns) => Ok(rows.project(columns)?),
                None => Ok(rows),
            };
        };
        let mut columns = match projection {
            Some([columns @ .., _origin]) => rows.project(columns)?.columns().to_vec(),
            _ => rows.columns().to_vec(),
        };
        columns.push(origins(number, before, rows.num_rows()));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

impl DisplayAs for InputExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputExec: {}", self.name)
    }
}

impl ExecutionPlan for InputExec {
    fn name(&self) -> &str {
        "InputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let chunks = self.slot.chunks().ok_or_else(|| {
            DataFusionError::Internal(format!("input \"{}\" was not given for this batch", self.name))
        })?;
        let partitions = self.properties.partitioning.partition_count();
        let own = chunks.partition(partition).filter(|_| self.is_partitioned);
        let rows = chunks.rows();
        let share = own.unwrap_or_else(|| share(&rows, partition, partitions));
        let mut before: u64 = rows[..share.start].iter().map(|rows| *rows as u64).sum();
        let (projection, number, schema) = (self.projection.clone(), self.number, self.schema());
        let batches = share.map(move |chunk| {
            let read = chunks.read(chunk);
            let seen = Self::seen(read, projection.as_deref(), number, before, &schema);
            before += rows[chunk] as u64;
            seen
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::iter(batches))))
    }
}

/// The chunks of partition `partition`: those whose first row falls into its share of all rows.
fn share(rows: &[usize], partition: usize, partitions: usize) -> Range<usize> {
    let total: usize = rows.iter().sum();
    let boundary = |partition: usize| {
        let first_row = total * partition / partitions;
        let mut before = 0;
        rows.iter()
            .position(|&rows| {
                let starts_here = before >= first_row;
                before += rows;
                starts_here
            })
            .unwrap_or(rows.len())
    };
    let end = if partition + 1 == partitions { rows.len() } else { boundary(partition + 1) };
    boundary(partition).min(end)..end
}

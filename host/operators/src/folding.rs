//! Rows of a key made one by a plugin's reduce, in as few calls as there are chunks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use millstream_model::{CallContext, Groups, Reduce};
use millstream_query::{OperatorContext, QueryError};

use crate::columns::{gather, gather_rows, misfit, pick, table, whole};
use crate::grouping::{Grouping, number};

/// Rows of a call at most. Bounds what crosses the boundary at once.
pub(crate) const CALL_ROWS_MAX: usize = 65_536;

/// A reduce by key: tables of the key's columns, then the value's, with one row for each key.
#[derive(Clone, Debug)]
pub struct Folding {
    function: Arc<dyn Reduce>,
    /// The input's columns of the key, and those of the function's input.
    keys: Vec<usize>,
    values: Vec<usize>,
    /// The columns of the key and the value.
    schema: SchemaRef,
    value_schema: SchemaRef,
}

impl Folding {
    /// Of rows with the columns `input`: `keys` and `values` say which columns are the key, and which the function takes, in
    /// the order of its input. The value's columns keep their names.
    pub fn new(function: Arc<dyn Reduce>, input: &Schema, keys: Vec<usize>, values: Vec<usize>) -> Self {
        let described = function.description().input.to_arrow();
        let value = values
            .iter()
            .zip(described.fields())
            .map(|(&column, field)| Arc::new(field.as_ref().clone().with_name(input.field(column).name())));
        let key = keys.iter().map(|&column| Arc::clone(&input.fields()[column]));
        let schema = Arc::new(Schema::new(key.chain(value).collect::<Vec<_>>()));
        Self { value_schema: Arc::new(described), function, keys, values, schema }
    }

    /// The columns of the key and the value.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many columns the key has.
    pub fn key_columns(&self) -> usize {
        self.keys.len()
    }

    /// What the function takes of rows that are folded already.
    pub(crate) fn value_schema(&self) -> &SchemaRef {
        &self.value_schema
    }

    /// Folds rows of the input. Gives at most one row for each key, in the order in which keys come.
    pub(crate) async fn fold_input(
        &self,
        context: &OperatorContext,
        partition: usize,
        chunks: &[RecordBatch],
    ) -> Result<RecordBatch, QueryError> {
        let columns: Vec<usize> = self.keys.iter().chain(&self.values).copied().collect();
        let (mut folded, mut rows_max) = (Vec::new(), CALL_ROWS_MAX);
        for rows in chunks.iter().filter(|rows| rows.num_rows() > 0) {
            folded.push(pick(rows, &columns, &self.schema)?);
            // Rows of the same keys do not pile up until the end, and many keys are not folded again for every chunk.
            if folded.iter().map(RecordBatch::num_rows).sum::<usize>() >= rows_max {
                let so_far = self.fold(context, partition, &folded).await?;
                rows_max = CALL_ROWS_MAX.max(2 * so_far.num_rows());
                folded = vec![so_far];
            }
        }
        self.fold(context, partition, &folded).await
    }

    /// The keys of tables of keys and values, each once, in the order in which they come.
    pub(crate) fn distinct_keys(&self, tables: &[RecordBatch]) -> Result<Vec<ArrayRef>, QueryError> {
        let rows = whole(&self.schema, tables)?;
        let keys = &rows.columns()[..self.keys.len()];
        gather(keys, &Grouping::by(keys, rows.num_rows())?.firsts())
    }

    /// Folds tables of keys and values into one.
    pub(crate) async fn fold(
        &self,
        context: &OperatorContext,
        partition: usize,
        tables: &[RecordBatch],
    ) -> Result<RecordBatch, QueryError> {
        let rows = whole(&self.schema, tables)?;
        let keys = &rows.columns()[..self.keys.len()];
        let grouping = Grouping::by(keys, rows.num_rows())?;
        if grouping.count() == 0 {
            return Ok(rows);
        }
        let values: Vec<usize> = (self.keys.len()..rows.num_columns()).collect();
        let values = pick(&rows, &values, &self.value_schema)?;
        let mut calls = Calls { folding: self, context, partition, made: 0 };
        let folded = calls.fold(&values, &grouping).await?;
        let mut columns = gather(keys, &grouping.firsts())?;
        columns.extend(folded.columns().iter().cloned());
        table(self.schema(), columns, grouping.count())
    }
}

/// The calls for one table.
struct Calls<'a> {
    folding: &'a Folding,
    context: &'a OperatorContext,
    partition: usize,
    made: u32,
}

impl Calls<'_> {
    /// Folds the values of each group into a row.
    async fn fold(&mut self, values: &RecordBatch, grouping: &Grouping) -> Result<RecordBatch, QueryError> {
        if values.num_rows() <= CALL_ROWS_MAX {
            let groups = Groups { of: grouping.of.clone(), count: number(grouping.count()) };
            return self.call(values.clone(), groups).await;
        }
        let (order, starts) = grouping.sorted();
        let mut folded = Folded { rows: Vec::new(), of: Vec::new() };
        let mut group = 0;
        for piece in 0..order.len().div_ceil(CALL_ROWS_MAX) {
            let (from, to) = (piece * CALL_ROWS_MAX, order.len().min((piece + 1) * CALL_ROWS_MAX));
            while starts[group + 1] as usize <= from {
                group += 1;
            }
            let mut of = Vec::with_capacity(to - from);
            let first = group;
            for row in from..to {
                while starts[group + 1] as usize <= row {
                    group += 1;
                }
                of.push(number(group - first));
            }
            let rows = gather_rows(values, &UInt32Array::from(order[from..to].to_vec()))?;
            let groups = Groups { of, count: number(group - first + 1) };
            folded.rows.push(self.call(rows, groups).await?);
            folded.of.extend((first..=group).map(number));
        }
        self.mend(folded, grouping.count()).await
    }

    /// Folds once more what the ends of pieces have cut apart.
    async fn mend(&mut self, folded: Folded, count: usize) -> Result<RecordBatch, QueryError> {
        let rows = concat_batches(self.folding.value_schema(), &folded.rows).map_err(misfit)?;
        if folded.of.len() == count {
            return Ok(rows);
        }
        let cut = |at: usize| {
            let same = |other: Option<&u32>| other == Some(&folded.of[at]);
            same(folded.of.get(at + 1)) || (at > 0 && same(folded.of.get(at - 1)))
        };
        let (apart, whole): (Vec<usize>, Vec<usize>) = (0..folded.of.len()).partition(|at| cut(*at));
        let mut groups: Vec<u32> = apart.iter().map(|at| folded.of[*at]).collect();
        let of = groups.clone();
        groups.dedup();
        let local = of.iter().map(|group| number(groups.partition_point(|other| other < group))).collect();
        let indices = |rows: &[usize]| UInt32Array::from_iter_values(rows.iter().map(|row| number(*row)));
        let parts = gather_rows(&rows, &indices(&apart))?;
        let mended = self.call(parts, Groups { of: local, count: number(groups.len()) }).await?;
        let rows = [gather_rows(&rows, &indices(&whole))?, mended];
        let rows = concat_batches(self.folding.value_schema(), &rows).map_err(misfit)?;
        // Each group is at one place now; the rows are put in the order of the groups again.
        let places = whole.iter().map(|at| folded.of[*at]).chain(groups);
        let mut order = vec![0_u32; count];
        places.enumerate().for_each(|(at, group)| order[group as usize] = number(at));
        gather_rows(&rows, &UInt32Array::from(order))
    }

    async fn call(&mut self, rows: RecordBatch, groups: Groups) -> Result<RecordBatch, QueryError> {
        let context = CallContext {
            batch_time: self.context.time(),
            partition: number(self.partition),
            chunk: self.made,
        };
        self.made += 1;
        let folded = self.folding.function.fold(context, rows, groups).await?;
        self.context.add(folded.added)?;
        Ok(folded.rows)
    }
}

/// Rows that were folded in pieces, with their groups, which never fall.
struct Folded {
    rows: Vec<RecordBatch>,
    of: Vec<u32>,
}

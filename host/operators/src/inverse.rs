//! A reduce over a window by what enters and what leaves.
//!
//! The table of totals has, for each key, the fold of all panes that are kept. A batch takes out the panes that are too old, and
//! folds its own in; only keys that enter or leave are looked at. A key stays with whatever its inverse left of it, until the
//! window's condition drops it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_model::{CALL_ROWS_MAX, CallContext, Inverse};
use millstream_query::{Condition, Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{KeyedTable, PaneTable, States};

use crate::columns::{gather, misfit, pick, table, whole};
use crate::grouping::number;
use crate::merging::{Merging, Reducing};
use crate::snapshot::{scan, state_error};
use crate::{Folding, Span};

/// A reduce over a window, with the function that takes out what leaves.
pub struct InverseWindow {
    span: Span,
    reducing: Reducing,
    inverse: Arc<dyn Inverse>,
    keep: Option<Condition>,
    totals: Arc<KeyedTable>,
    panes: Arc<PaneTable>,
    states: Arc<States>,
}

impl InverseWindow {
    /// A window. `totals` has the key and the value of `folding`, `panes` its columns; keys for which `keep` is not true are
    /// dropped.
    pub fn new(
        span: Span,
        folding: Folding,
        inverse: Arc<dyn Inverse>,
        keep: Option<Condition>,
        totals: Arc<KeyedTable>,
        panes: Arc<PaneTable>,
        states: Arc<States>,
    ) -> Self {
        Self { span, reducing: Reducing(folding), inverse, keep, totals, panes, states }
    }

    fn folding(&self) -> &Folding {
        &self.reducing.0
    }

    /// The keys of a table, encoded.
    fn keys(&self, rows: &RecordBatch) -> Result<arrow::row::Rows, QueryError> {
        let keys = &rows.columns()[..self.folding().key_columns()];
        self.totals.table().encode_keys(keys).map_err(state_error)
    }

    /// Keys with their totals as they were before the batch; without those that have none.
    fn known(&self, keys: Vec<ArrayRef>) -> Result<RecordBatch, QueryError> {
        let encoded = self.totals.table().encode_keys(&keys).map_err(state_error)?;
        let encoded: Vec<&[u8]> = encoded.iter().map(|key| key.data()).collect();
        let found = self.totals.table().lookup(&encoded);
        let values = self.totals.table().decode_states(found.iter()).map_err(state_error)?;
        let all = self.table(keys.into_iter().chain(values).collect(), found.len())?;
        let known: BooleanArray = found.iter().map(|state| Some(state.is_some())).collect();
        filter_record_batch(&all, &known).map_err(misfit)
    }

    fn table(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, QueryError> {
        let fields = self.folding().schema();
        let fields = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        table(schema, columns, rows)
    }

    /// Totals without what leaves of their keys.
    async fn taken_out(
        &self,
        context: &OperatorContext,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, QueryError> {
        let values: Vec<usize> = (self.folding().key_columns()..totals.num_columns()).collect();
        let (of, from) = (self.keys(totals)?, self.keys(leaving)?);
        let at: hashbrown::HashMap<&[u8], u32> =
            from.iter().enumerate().map(|(row, key)| (key.data(), number(row))).collect();
        let (mut rows, mut leave) = (Vec::new(), Vec::new());
        for (row, key) in of.iter().enumerate() {
            if let Some(found) = at.get(key.data()) {
                rows.push(number(row));
                leave.push(*found);
            }
        }
        let gathered = |table_of: &RecordBatch, rows: &[u32]| {
            let columns = gather(table_of.columns(), &UInt32Array::from(rows.to_vec()))?;
            let picked = table(table_of.schema(), columns, rows.len())?;
            pick(&picked, &values, self.folding().value_schema())
        };
        let mut done = Vec::new();
        for (chunk, from) in (0..rows.len()).step_by(CALL_ROWS_MAX).enumerate() {
            let to = rows.len().min(from + CALL_ROWS_MAX);
            let call = CallContext { batch_time: context.time(), partition: 0, chunk: number(chunk) };
            let (total, taken) = (gathered(totals, &rows[from..to])?, gathered(leaving, &leave[from..to])?);
            let mut isolation = context.call_whole(self.folding().caller(), to - from);
            while isolation.next().is_some() {
                match self.inverse.take_out(call, total.clone(), taken.clone()).await {
                    Ok(answered) => {
                        context.add(answered.added)?;
                        done.push(answered.rows);
                    }
                    // What leaves cannot be left in: the batch fails, or is called once more.
                    Err(error) => drop(isolation.failed(error)?),
                }
            }
        }
        let mut columns =
            gather(&totals.columns()[..self.folding().key_columns()], &UInt32Array::from(rows.clone()))?;
        columns.extend(whole(self.folding().value_schema(), &done)?.columns().iter().cloned());
        let changed = self.table(columns, rows.len())?;
        let untouched = (0..number(totals.num_rows())).filter(|row| rows.binary_search(row).is_err());
        let untouched = gather(totals.columns(), &UInt32Array::from_iter_values(untouched))?;
        let rows = untouched.first().map_or(0, |column| column.len());
        whole(&changed.schema(), &[self.table(untouched, rows)?, changed.clone()])
    }

    /// Whether each row of a table stays.
    async fn kept(&self, context: &OperatorContext, rows: &RecordBatch) -> Result<BooleanArray, QueryError> {
        match &self.keep {
            Some(condition) => condition.holds(context.time(), rows).await,
            None => Ok(BooleanArray::from(vec![true; rows.num_rows()])),
        }
    }
}

#[async_trait]
impl Operator for InverseWindow {
    fn schema(&self) -> SchemaRef {
        self.folding().schema()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (time, span) = (context.time(), self.span);
        let rows = if span.covers(time) { rows } else { Partitions::new() };
        let entering = self.reducing.take(context, rows).await?;
        let left = self.panes.table().range(..span.first(time));
        let left: Vec<_> = left.iter().flat_map(|pane| pane.rows.iter().cloned()).collect();
        let leaving = self.folding().fold(context, 0, &left).await?;
        let known = self.known(self.folding().distinct_keys(&[entering.clone(), leaving.clone()])?)?;
        let remaining = self.taken_out(context, &known, &leaving).await?;
        let remaining = table(self.folding().schema(), remaining.columns().to_vec(), remaining.num_rows())?;
        let totals = self.folding().fold(context, 0, &[remaining, entering.clone()]).await?;
        let kept = self.kept(context, &totals).await?;

        let encoded = self.keys(&totals)?;
        let key_columns = self.folding().key_columns();
        let values =
            self.totals.table().encode_states(&totals.columns()[key_columns..]).map_err(state_error)?;
        self.states.stage(|change| {
            let panes = change.panes(&self.panes.name);
            panes.add(&entering);
            panes.drop_before(span.first(time));
            let change = change.keyed(&self.totals.name);
            for (row, key) in encoded.iter().enumerate() {
                match kept.value(row) {
                    true => change.put(key.data(), values.row(row).data()),
                    false => change.remove(key.data()),
                }
            }
            match span.is_due(time) {
                true => Ok(Some(vec![scan(self.totals.table(), change)?])),
                false => Ok(None),
            }
        })
    }
}

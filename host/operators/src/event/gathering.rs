//! The rows of windows as they are.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use millstream_query::{OperatorContext, Partitions, QueryError};

use crate::columns::{misfit, table, whole};
use crate::merging::Merging;

/// How many columns the key of a table has: the pane, the batch that the row came in, and its number there.
const KEYS: usize = 3;

/// Keeps each row under a key of its own, in the order in which rows come.
pub struct Gathering {
    /// The columns of the key, then the row's.
    table: SchemaRef,
    /// The pane, then the row's columns.
    output: SchemaRef,
}

impl Gathering {
    /// Of rows with the columns `input` and, behind them, the pane's.
    pub fn new(input: &Schema) -> Self {
        let number = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
        let (pane, columns) = input.fields().split_last().expect("rows have the column of their pane");
        let key = [Arc::clone(pane), number("batch"), number("row")];
        let all = key.into_iter().chain(columns.iter().cloned());
        let output = [Arc::clone(pane)].into_iter().chain(columns.iter().cloned());
        let schema = |fields: Vec<_>| Arc::new(Schema::new(fields));
        Self { table: schema(all.collect()), output: schema(output.collect()) }
    }

    /// How many columns the key has.
    pub fn key_columns(&self) -> usize {
        KEYS
    }
}

#[async_trait]
impl Merging for Gathering {
    fn table(&self) -> SchemaRef {
        Arc::clone(&self.table)
    }

    fn output(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    async fn take(&self, context: &OperatorContext, rows: Partitions) -> Result<RecordBatch, QueryError> {
        let (mut tables, mut next) = (Vec::new(), 0);
        for chunk in rows.iter().flatten() {
            let count = chunk.num_rows();
            let end = next + i64::try_from(count).expect("memory holds the rows");
            let batch: ArrayRef = Arc::new(Int64Array::from_value(context.time().as_ms(), count));
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(next..end));
            let (pane, columns) = chunk.columns().split_last().expect("rows have the column of their pane");
            let key = [Arc::clone(pane), batch, number];
            tables.push(table(
                self.table(),
                key.into_iter().chain(columns.iter().cloned()).collect(),
                count,
            )?);
            next = end;
        }
        whole(&self.table, &tables)
    }

    async fn merge(
        &self,
        _context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<RecordBatch, QueryError> {
        whole(&self.table, &tables)
    }

    async fn finish(
        &self,
        _context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let columns: Vec<usize> = [0].into_iter().chain(KEYS..self.table.fields().len()).collect();
        tables.iter().map(|rows| rows.project(&columns).map_err(misfit)).collect()
    }
}

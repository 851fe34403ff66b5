//! Rows spread over a number of partitions.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use twox_hash::XxHash64;

use crate::columns::{gather_rows, misfit, whole};
use crate::grouping::number;

/// All rows of a key in one partition, or all rows dealt out one by one.
pub struct Repartition {
    schema: SchemaRef,
    by: Vec<usize>,
    partitions: usize,
}

impl Repartition {
    /// Of rows with the columns `schema`: by the columns `by`, or evenly where there are none.
    pub fn new(schema: SchemaRef, by: Vec<usize>, partitions: usize) -> Self {
        Self { schema, by, partitions: partitions.max(1) }
    }

    /// The partition of each row.
    fn places(&self, rows: &RecordBatch) -> Result<Vec<usize>, QueryError> {
        if self.by.is_empty() {
            return Ok((0..rows.num_rows()).map(|row| row % self.partitions).collect());
        }
        let columns: Vec<_> = self.by.iter().map(|&column| Arc::clone(rows.column(column))).collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(misfit)?;
        let keys = converter.convert_columns(&columns).map_err(misfit)?;
        // The same each time, so that a batch that is run again is spread as it was.
        let place =
            |key: arrow::row::Row<'_>| (XxHash64::oneshot(0, key.data()) % self.partitions as u64) as usize;
        Ok(keys.iter().map(place).collect())
    }
}

#[async_trait]
impl Operator for Repartition {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> Option<usize> {
        Some(self.partitions)
    }

    async fn run(
        &self,
        _context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let rows = whole(&self.schema, &rows.concat())?;
        let mut partitions = vec![Vec::new(); self.partitions];
        for (row, place) in self.places(&rows)?.into_iter().enumerate() {
            partitions[place].push(number(row));
        }
        let gathered = partitions.into_iter().map(|rows_of| match rows_of.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(vec![gather_rows(&rows, &UInt32Array::from(rows_of))?]),
        });
        gathered.collect::<Result<_, _>>().map(Some)
    }
}

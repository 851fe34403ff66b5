//! What a window is made of: tables with a row for each key that can be merged to one.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_query::{Aggregation, OperatorContext, Partitions, QueryError};

use crate::Folding;
use crate::columns::whole;

/// Makes one table of several.
#[async_trait]
pub trait Merging: Send + Sync {
    /// The columns of a table.
    fn table(&self) -> SchemaRef;

    /// The columns of what readers see.
    fn output(&self) -> SchemaRef;

    /// The table of a batch's rows.
    async fn take(&self, context: &OperatorContext, rows: Partitions) -> Result<RecordBatch, QueryError>;

    /// One table of several, in order.
    async fn merge(
        &self,
        context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<RecordBatch, QueryError>;

    /// What readers see of several tables, in order.
    async fn finish(
        &self,
        context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, QueryError>;
}

#[async_trait]
impl Merging for Aggregation {
    fn table(&self) -> SchemaRef {
        self.state_schema()
    }

    fn output(&self) -> SchemaRef {
        self.schema()
    }

    /// The rows are states already.
    async fn take(&self, context: &OperatorContext, rows: Partitions) -> Result<RecordBatch, QueryError> {
        Merging::merge(self, context, rows.concat()).await
    }

    async fn merge(
        &self,
        _context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<RecordBatch, QueryError> {
        whole(&self.state_schema(), &Self::merge(self, tables).await?)
    }

    async fn finish(
        &self,
        context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        Self::finish(self, context.time(), tables).await
    }
}

/// A plugin's reduce.
pub struct Reducing(pub Folding);

#[async_trait]
impl Merging for Reducing {
    fn table(&self) -> SchemaRef {
        self.0.schema()
    }

    fn output(&self) -> SchemaRef {
        self.0.schema()
    }

    async fn take(&self, context: &OperatorContext, rows: Partitions) -> Result<RecordBatch, QueryError> {
        let mut tables = Vec::new();
        for (partition, chunks) in rows.iter().enumerate() {
            tables.push(self.0.fold_input(context, partition, chunks).await?);
        }
        match tables.len() {
            1 => Ok(tables.remove(0)),
            partitions => self.0.fold_totals(context, partitions, &tables).await,
        }
    }

    async fn merge(
        &self,
        context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<RecordBatch, QueryError> {
        self.0.fold(context, 0, &tables).await
    }

    async fn finish(
        &self,
        context: &OperatorContext,
        tables: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        Ok(vec![self.0.fold(context, 0, &tables).await?])
    }
}

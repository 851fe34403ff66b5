//! A reduce of each batch.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};

use crate::Folding;
use crate::merging::{Merging, Reducing};

/// The rows of each key made one, batch by batch: in each partition first, and then what comes of them.
pub struct KeyedReduce(Reducing);

impl KeyedReduce {
    /// A reduce.
    pub fn new(folding: Folding) -> Self {
        Self(Reducing(folding))
    }
}

#[async_trait]
impl Operator for KeyedReduce {
    fn schema(&self) -> SchemaRef {
        self.0.output()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        Ok(Some(vec![vec![self.0.take(context, rows).await?]]))
    }
}

//! Which pane a row belongs to, or that it comes too late for any.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};

use super::{EventSpan, Watermarks, time_field, times};
use crate::columns::table;

/// The rows that it reads, with the start of their pane in one more column, the last: null in rows that are late, which are
/// those whose windows were all over before the batch, and those that have no event time.
pub struct Assignment {
    span: EventSpan,
    /// The number of the column of event times.
    on: usize,
    watermarks: Watermarks,
    schema: SchemaRef,
}

impl Assignment {
    /// Of rows with the columns `input` by their column `on`; the pane's column is named `pane`.
    pub fn new(input: &Schema, on: usize, pane: &str, span: EventSpan, watermarks: Watermarks) -> Self {
        let fields = input.fields().iter().cloned().chain([time_field(pane, true)]);
        Self { span, on, watermarks, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }

    fn assign(&self, rows: &RecordBatch, watermark: Option<i64>) -> Result<RecordBatch, QueryError> {
        let pane = |time: i64| self.span.pane_of(time).filter(|pane| !self.span.is_over(*pane, watermark));
        let panes = times(rows.column(self.on))?.iter().map(|time| time.and_then(pane)).collect();
        let panes: TimestampMicrosecondArray = panes;
        let columns = rows.columns().iter().cloned().chain([Arc::new(panes) as ArrayRef]);
        table(Arc::clone(&self.schema), columns.collect(), rows.num_rows())
    }
}

#[async_trait]
impl Operator for Assignment {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Not for their order: so that the watermarks go on where nothing but the late rows is read.
    fn follows(&self) -> Vec<String> {
        self.watermarks.relations()
    }

    async fn run(
        &self,
        _context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let watermark = self.watermarks.before()?;
        let assign = |chunks: Vec<RecordBatch>| {
            chunks.iter().map(|chunk| self.assign(chunk, watermark)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Some(rows.into_iter().map(assign).collect::<Result<_, _>>()?))
    }
}

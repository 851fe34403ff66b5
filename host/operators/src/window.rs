//! The rows of several batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{PaneTable, States};

use crate::Span;

/// All rows of the batches in a window, oldest first.
pub struct Window {
    span: Span,
    panes: Arc<PaneTable>,
    states: Arc<States>,
}

impl Window {
    /// A window whose rows are kept in `panes`.
    pub fn new(span: Span, panes: Arc<PaneTable>, states: Arc<States>) -> Self {
        Self { span, panes, states }
    }
}

#[async_trait]
impl Operator for Window {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.panes.spec.columns)
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (time, span) = (context.time(), self.span);
        self.states.stage(|change| {
            let change = change.panes(&self.panes.name);
            if span.keeps(time) {
                rows.iter().flatten().for_each(|chunk| change.add(chunk));
            }
            change.drop_before(span.needed_from(time));
        });
        if !span.is_due(time) {
            return Ok(None);
        }
        let before = self.panes.table().range(span.first(time)..time);
        let mut all: Vec<_> = before.iter().flat_map(|pane| pane.rows.iter().cloned()).collect();
        all.extend(rows.into_iter().flatten());
        Ok(Some(vec![all]))
    }
}

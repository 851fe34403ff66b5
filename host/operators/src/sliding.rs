//! A window over what batches come to: a slide costs what enters and not the window.
//!
//! A window is some pieces, of which the last is the newest. Pieces come in blocks of as many as a window has, so a window is
//! the end of one block and the beginning of the next:
//!
//! ```text
//!   block 4             block 5
//! ┌────┬────┬────┬────┬────┬────┐
//! │ 13 │ 14 │ 15 │ 16 │ 17 │    │      a window of three pieces, at piece 17:
//! └────┴────┴────┴────┴────┴────┘
//!             front[15]  back            15 of block 4, 16 and 17 of block 5
//! ```
//!
//! `back` is the newest block so far; each batch is merged into it. `front[n]` is the block before from piece `n` to its end;
//! all of them are made when their block ends, each of the one behind it. So each batch's table is merged twice, whatever the
//! length of the window. What is made of the same batches is merged in the same order each time, after a restart as well,
//! and so is the same to the last bit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{Pane, PaneTable, States};

use crate::Span;
use crate::merging::Merging;

/// An aggregate or a reduce over a window.
pub struct Sliding<M> {
    span: Span,
    merging: Arc<M>,
    panes: Arc<PaneTable>,
    states: Arc<States>,
    /// What was made of the batches up to the last ones that were run.
    made: Mutex<Vec<Arc<Made>>>,
}

/// What is made of the batches up to one of them.
struct Made {
    time: BatchTime,
    block: i64,
    back: Option<RecordBatch>,
    /// By piece.
    front: Arc<BTreeMap<i64, RecordBatch>>,
}

impl<M: Merging> Sliding<M> {
    /// A window over the tables of `merging`, which are kept in `panes`.
    pub fn new(span: Span, merging: Arc<M>, panes: Arc<PaneTable>, states: Arc<States>) -> Self {
        Self { span, merging, panes, states, made: Mutex::default() }
    }

    /// What was made up to the last batch that counts.
    fn base(&self) -> Option<Arc<Made>> {
        let applied = self.states.applied()?;
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().find(|made| made.time == applied).cloned()
    }

    fn remember(&self, new: Arc<Made>) {
        let applied = self.states.applied();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|made| Some(made.time) == applied);
        made.push(new);
    }

    fn block_of(&self, piece: i64) -> i64 {
        (piece - 1).div_euclid(self.span.pieces())
    }

    /// What is made of the batches up to `time`, whose own table is `table`.
    async fn make(
        &self,
        context: &OperatorContext,
        table: Option<RecordBatch>,
    ) -> Result<Arc<Made>, QueryError> {
        let time = context.time();
        let block = self.block_of(self.span.piece_of(time));
        let (front, before) = match self.base() {
            Some(base) if base.block == block => (Arc::clone(&base.front), base.back.clone()),
            _ => {
                let mut back = None;
                for pane in self.panes_of(block).into_iter().filter(|pane| pane.time < time) {
                    back = self.joined(context, back, pane.rows.iter().cloned()).await?;
                }
                (Arc::new(self.front(context, block - 1).await?), back)
            }
        };
        let back = self.joined(context, before, table).await?;
        Ok(Arc::new(Made { time, block, back, front }))
    }

    /// The ends of a block that is over, as far as its batches are still needed.
    async fn front(
        &self,
        context: &OperatorContext,
        block: i64,
    ) -> Result<BTreeMap<i64, RecordBatch>, QueryError> {
        let mut pieces: BTreeMap<i64, Option<RecordBatch>> = BTreeMap::new();
        for pane in self.panes_of(block) {
            let piece = pieces.entry(self.span.piece_of(pane.time)).or_default();
            *piece = self.joined(context, piece.take(), pane.rows.iter().cloned()).await?;
        }
        let mut front = BTreeMap::new();
        let mut end: Option<RecordBatch> = None;
        for (piece, table) in pieces.into_iter().rev() {
            let tables: Vec<_> = table.into_iter().chain(end).collect();
            let merged = match tables.len() {
                1 => tables.into_iter().next(),
                _ => Some(self.merging.merge(context, tables).await?),
            };
            front.extend(merged.clone().map(|table| (piece, table)));
            end = merged;
        }
        Ok(front)
    }

    fn panes_of(&self, block: i64) -> Vec<Pane> {
        let (piece, pieces) = (self.span.piece_ms(), self.span.pieces());
        let time = |number: i64| BatchTime::from_ms(number.saturating_mul(piece).saturating_add(1));
        self.panes.table().range(time(block * pieces)..time((block + 1) * pieces))
    }

    async fn joined(
        &self,
        context: &OperatorContext,
        before: Option<RecordBatch>,
        tables: impl IntoIterator<Item = RecordBatch>,
    ) -> Result<Option<RecordBatch>, QueryError> {
        let tables: Vec<_> = before.into_iter().chain(tables).filter(|table| table.num_rows() > 0).collect();
        match tables.len() {
            0 | 1 => Ok(tables.into_iter().next()),
            _ => Ok(Some(self.merging.merge(context, tables).await?)),
        }
    }

    /// The tables that the window at a batch is made of.
    fn window(&self, made: &Made) -> Vec<RecordBatch> {
        let first = self.span.piece_of(made.time) - self.span.pieces() + 1;
        let front = made.front.range(first..).next().map(|(_, table)| table.clone());
        front.into_iter().chain(made.back.clone()).collect()
    }
}

#[async_trait]
impl<M: Merging> Operator for Sliding<M> {
    fn schema(&self) -> SchemaRef {
        self.merging.output()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (time, span) = (context.time(), self.span);
        let table = self.merging.take(context, rows).await?;
        let made = self.make(context, Some(table.clone())).await?;
        self.states.stage(|change| {
            let change = change.panes(&self.panes.name);
            if span.keeps(time) {
                change.add(&table);
            }
            change.drop_before(span.needed_from(time));
        });
        self.remember(Arc::clone(&made));
        match span.is_due(time) {
            true => Ok(Some(vec![self.merging.finish(context, self.window(&made)).await?])),
            false => Ok(None),
        }
    }
}

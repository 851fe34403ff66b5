//! A window over what batches come to: a slide costs what enters and not the window, and each slide the same.
//!
//! A window is some pieces, of which the last is the newest. Pieces come in blocks of half a window, so that a window is the end
//! of one block, the whole next one, and the beginning of the newest:
//!
//! ```text
//!   block 6   block 7   block 8
//! ┌────┬────┬────┬────┬────┬────┐
//! │ 13 │ 14 │ 15 │ 16 │ 17 │    │      a window of five pieces, at piece 17:
//! └────┴────┴────┴────┴────┴────┘
//! front[13]   middle    back           13 and 14 of block 6, block 7, and 17 of block 8
//! ```
//!
//! `back` is the newest block so far; each batch is merged into it. `front[n]` is the block two before it, from piece `n` to its
//! end. Those are made while the block after it grows, of each batch the one behind it, as far from the end as that block has
//! come from its beginning. So each batch's table is merged twice, whatever the length of the window, and no batch does that
//! for others.
//!
//! # What is made is a matter of the batches alone
//!
//! Batch by batch, after a restart, or beside the batches of other code ([`Sliding::warm`]), from whatever there is already: the same
//! tables are merged in the same order, so that a window is the same to the last bit. A block's total is merged from its first
//! batch on, and a block's end from its last batch back. Panes that are no longer kept make no difference: a block's total is a
//! part of a window only where the window has all of the block, and an end only where it has all of that.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{Pane, PaneTable, Panes, States};

use crate::Span;
use crate::merging::Merging;

/// An aggregate or a reduce over a window.
pub struct Sliding<M> {
    span: Span,
    merging: Arc<M>,
    panes: Arc<PaneTable>,
    states: Arc<States>,
    known: Mutex<Known>,
}

/// What was made of batches, and may be what later batches begin with.
#[derive(Default)]
struct Known {
    /// Of batches that were applied.
    settled: Option<Arc<Made>>,
    /// Up to the last batch that was run, which may come to nothing.
    attempt: Option<Arc<Made>>,
}

/// What is made of the batches up to one of them.
struct Made {
    /// The table that their panes are in.
    of: Arc<Panes>,
    time: BatchTime,
    block: i64,
    /// The block, up to the time.
    back: Option<RecordBatch>,
    /// The block before it.
    middle: Option<RecordBatch>,
    /// The block before that.
    front: Ends,
    /// What is the front in the next block, as far as it is made.
    next: Ends,
}

/// The ends of a block.
#[derive(Clone, Default)]
struct Ends {
    /// All batches of the block that are later are in it; none, where that is not one of them.
    after: Option<i64>,
    /// Those batches.
    end: Option<RecordBatch>,
    /// By the piece that each begins with.
    by_piece: BTreeMap<i64, RecordBatch>,
}

impl<M: Merging> Sliding<M> {
    /// A window over the tables of `merging`, which are kept in `panes`.
    pub fn new(span: Span, merging: Arc<M>, panes: Arc<PaneTable>, states: Arc<States>) -> Self {
        Self { span, merging, panes, states, known: Mutex::default() }
    }

    /// What was made of batches before `time` that were applied to the table `of`.
    fn base(&self, of: &Arc<Panes>, time: BatchTime) -> Option<Arc<Made>> {
        let applied = self.states.applied()?;
        let mut known = self.known();
        if known.attempt.as_ref().is_some_and(|made| made.time == applied) {
            known.settled = known.attempt.take();
        }
        known.settled.clone().filter(|made| made.time < time && Arc::ptr_eq(&made.of, of))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many pieces a block has.
    fn block_pieces(&self) -> i64 {
        (self.span.pieces() / 2).max(1)
    }

    fn block_of(&self, time: BatchTime) -> i64 {
        (self.span.piece_of(time) - 1).div_euclid(self.block_pieces())
    }

    /// The time after which the first batch of a block may be. The end of the block is where the next one begins.
    fn start_of(&self, block: i64) -> i64 {
        self.start_of_piece(block.saturating_mul(self.block_pieces()).saturating_add(1))
    }

    fn start_of_piece(&self, piece: i64) -> i64 {
        (piece - 1).saturating_mul(self.span.piece_ms())
    }

    /// The first piece of the first window that ends in a block: later ones need none before it.
    fn first_needed_in(&self, block: i64) -> i64 {
        block * self.block_pieces() + 2 - self.span.pieces()
    }

    /// What is made of the batches up to `time`, whose own tables are `tables`.
    async fn make(
        &self,
        context: &OperatorContext,
        of: &Arc<Panes>,
        time: BatchTime,
        tables: &[RecordBatch],
    ) -> Result<Arc<Made>, QueryError> {
        let (base, block) = (self.base(of, time), self.block_of(time));
        let base = base.as_deref();
        let making = Making { sliding: self, context, of, base, time };
        let before = making.total(block).await?;
        let since_start = time.as_ms() - self.start_of(block);
        let next_after = self.start_of(block) - since_start;
        Ok(Arc::new(Made {
            of: Arc::clone(of),
            time,
            block,
            back: making.joined(before, tables).await?,
            middle: making.total(block - 1).await?,
            front: making.ends(block - 2, i64::MIN).await?,
            next: making.ends(block - 1, next_after).await?,
        }))
    }

    /// The tables that the window at a batch is made of.
    fn window(&self, made: &Made) -> Vec<RecordBatch> {
        let first = self.span.piece_of(made.time) - self.span.pieces() + 1;
        let front = made.front.by_piece.range(first..).next().map(|(_, table)| table.clone());
        let has_middle = self.start_of_piece(first) <= self.start_of(made.block - 1);
        let middle = made.middle.clone().filter(|_| has_middle);
        front.into_iter().chain(middle).chain(made.back.clone()).collect()
    }
}

/// Something that is made of the batches before a time, and of what there is already.
struct Making<'m, M> {
    sliding: &'m Sliding<M>,
    context: &'m OperatorContext,
    of: &'m Arc<Panes>,
    base: Option<&'m Made>,
    time: BatchTime,
}

impl<M: Merging> Making<'_, M> {
    /// A block from its beginning on.
    async fn total(&self, block: i64) -> Result<Option<RecordBatch>, QueryError> {
        let start = self.sliding.start_of(block);
        let (mut total, since) = match self.base {
            Some(base) if base.block == block => (base.back.clone(), base.time.as_ms()),
            Some(base) if base.block == block + 1 => return Ok(base.middle.clone()),
            _ => (None, start),
        };
        for pane in self.panes(since, self.sliding.start_of(block + 1)) {
            total = self.joined(total, &pane.rows).await?;
        }
        Ok(total)
    }

    /// The ends of a block that is over, of all batches after `after` that the front needs.
    async fn ends(&self, block: i64, after: i64) -> Result<Ends, QueryError> {
        let mut ends = match self.base {
            Some(base) if base.block == block + 1 => base.next.clone(),
            Some(base) if base.block == block + 2 => base.front.clone(),
            _ => Ends::default(),
        };
        let needed = self.sliding.first_needed_in(block + 2);
        let after = after.max(self.sliding.start_of(block)).max(self.sliding.start_of_piece(needed));
        let until = ends.after.unwrap_or(self.sliding.start_of(block + 1));
        for pane in self.panes(after, until).iter().rev() {
            let mut tables = pane.rows.to_vec();
            tables.extend(ends.end.take());
            ends.end = self.joined(None, &tables).await?;
            let piece = self.sliding.span.piece_of(pane.time);
            ends.by_piece.extend(ends.end.clone().map(|end| (piece, end)));
        }
        ends.after = Some(after.min(until));
        Ok(ends)
    }

    /// The panes of the batches after one time up to another that are before the batch at hand.
    fn panes(&self, after: i64, until: i64) -> Vec<Pane> {
        let until = until.min(self.time.as_ms().saturating_sub(1));
        match after < until {
            true => self.of.range(BatchTime::from_ms(after.saturating_add(1))..=BatchTime::from_ms(until)),
            false => Vec::new(),
        }
    }

    async fn joined(
        &self,
        before: Option<RecordBatch>,
        tables: &[RecordBatch],
    ) -> Result<Option<RecordBatch>, QueryError> {
        let tables = before.into_iter().chain(tables.iter().cloned());
        let tables: Vec<_> = tables.filter(|table| table.num_rows() > 0).collect();
        match tables.len() {
            0 | 1 => Ok(tables.into_iter().next()),
            _ => Ok(Some(self.sliding.merging.merge(self.context, tables).await?)),
        }
    }
}

#[async_trait]
impl<M: Merging> Operator for Sliding<M> {
    fn schema(&self) -> SchemaRef {
        self.merging.output()
    }

    /// Makes of the batches so far what the next one's window is made of.
    async fn warm(&self, context: &OperatorContext) -> Result<(), QueryError> {
        let (Some(of), Some(applied)) = (self.panes.shown(), self.states.applied()) else { return Ok(()) };
        let next = BatchTime::from_ms(applied.as_ms().saturating_add(1));
        if self.base(of, next).is_some_and(|made| made.time == applied) {
            return Ok(());
        }
        let tables = of.get(applied);
        let made = self.make(context, of, applied, tables.as_deref().unwrap_or_default()).await?;
        let mut known = self.known();
        // A batch may have come before.
        if known.settled.as_ref().is_none_or(|settled| settled.time < made.time) {
            known.settled = Some(made);
        }
        Ok(())
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (time, span) = (context.time(), self.span);
        let table = self.merging.take(context, rows).await?;
        let made = self.make(context, self.panes.table(), time, std::slice::from_ref(&table)).await?;
        self.known().attempt = Some(Arc::clone(&made));
        self.states.stage(|change| {
            let change = change.panes(&self.panes.name);
            if span.keeps(time) {
                change.add(&table);
            }
            change.drop_before(span.needed_from(time));
        });
        match span.is_due(time) {
            true => Ok(Some(vec![self.merging.finish(context, self.window(&made)).await?])),
            false => Ok(None),
        }
    }
}

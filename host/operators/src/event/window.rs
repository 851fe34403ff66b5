//! Windows that are over: what their panes come to, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::States;

use super::kept::{Kept, Scanned};
use super::{EventSpan, WINDOW_END, WINDOW_START, Watermarks, time_field, times};
use crate::columns::{gather_rows, table, whole};
use crate::grouping::number;
use crate::merging::Merging;

/// Rows of the windows that end with one batch, at most.
const WINDOWS_BYTES_MAX: usize = 2 << 30;
/// Rows of panes from which windows are made at once. Bounds what is held beside the windows themselves.
const FINISH_ROWS_MAX: usize = 1 << 18;

/// What the windows over event time come to that are over, in the order of their ends.
///
/// The tables of `merging` have a pane in their first column. Each batch's table is merged into what is kept of its panes. A
/// window is made of its panes by giving their rows the window's start in place of their pane, so that rows of one key become
/// one; windows that are over together are made together.
pub struct EventWindow<M> {
    span: EventSpan,
    watermarks: Watermarks,
    merging: M,
    kept: Kept,
    states: Arc<States>,
    schema: SchemaRef,
}

/// From the watermark before a batch to the one after it.
#[derive(Clone, Copy)]
struct Advance {
    span: EventSpan,
    before: Option<i64>,
    now: Option<i64>,
}

/// What is kept of panes, in the order of panes and keys.
struct Panes {
    rows: RecordBatch,
    order: Vec<u32>,
    /// Of each row in that order.
    panes: Vec<i64>,
    /// For each row, the place of its key among all; that of one key in several panes is that of its pane among them.
    ranks: Vec<u32>,
}

/// Rows of windows to be made.
#[derive(Default)]
struct Gathered {
    rows: Vec<u32>,
    starts: Vec<i64>,
}

/// The windows that end with a batch.
struct Windows<'a> {
    of: &'a str,
    rows: Vec<RecordBatch>,
    bytes: usize,
}

impl<'a> Windows<'a> {
    fn new(of: &'a str) -> Self {
        Self { of, rows: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, rows: Vec<RecordBatch>) -> Result<(), QueryError> {
        self.bytes += rows.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        self.rows.extend(rows);
        if self.bytes > WINDOWS_BYTES_MAX {
            let message = format!(
                "the windows that end with this batch have more than {WINDOWS_BYTES_MAX} bytes of rows; give them a longer slide, \
                 so that fewer end at once, or aggregate their rows"
            );
            return Err(QueryError::Run { relation: self.of.to_owned(), message });
        }
        Ok(())
    }
}

impl<M: Merging> EventWindow<M> {
    /// The windows of the stream `name` by event times of the column `on`, over what `merging` makes of rows with panes. Its tables begin with the key, of
    /// `key_columns` columns with the pane as the first; its output begins with the pane. What panes come to is kept in a table.
    ///
    /// # Errors
    /// Where that is of a type that cannot be kept.
    pub fn new(
        (name, on): (&str, &str),
        span: EventSpan,
        merging: M,
        key_columns: usize,
        watermarks: Watermarks,
        states: &Arc<States>,
    ) -> Result<Self, QueryError> {
        let kept = Kept::new(&format!("{name}.panes"), on, span, merging.table(), key_columns, states)?;
        let output = merging.output();
        let window = [time_field(WINDOW_START, false), time_field(WINDOW_END, false)];
        let fields = window.into_iter().chain(output.fields()[1..].iter().cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { span, watermarks, merging, kept, states: Arc::clone(states), schema })
    }

    /// Merges a batch's table into what is kept, stages that, and gives what there is of all panes with windows that are over.
    async fn settle(
        &self,
        context: &OperatorContext,
        given: RecordBatch,
        advance: Advance,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let keys = self.kept.keys(&given)?;
        let found = self.kept.lookup(&keys, &given)?;
        let mut scanned = match advance.any_ends() {
            true => {
                let touched = keys.iter().map(|key| key.data()).collect();
                self.kept.scan(&touched, |pane| advance.is_due(pane), |pane| advance.is_over(pane))?
            }
            false => Scanned::default(),
        };
        let known = self.kept.keys(&found)?;
        let merged = match found.num_rows() {
            0 => given,
            _ => self.merging.merge(context, vec![found, given]).await?,
        };
        self.states.stage(|change| {
            let change = change.keyed(self.kept.name());
            scanned.gone.iter().for_each(|key| change.remove(key));
            let known = known.iter().map(|key| key.data()).collect();
            self.kept.stage(change, &merged, &known, |pane| advance.is_over(pane))
        })?;
        scanned.rows.push(merged);
        Ok(scanned.rows)
    }

    /// The windows that are over, of panes of which this is what there is.
    async fn windows(
        &self,
        context: &OperatorContext,
        rows: &[RecordBatch],
        advance: Advance,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let panes = self.sorted(rows)?;
        let mut ends: BTreeSet<i64> = BTreeSet::new();
        for same in panes.panes.chunk_by(|a, b| a == b) {
            ends.extend(self.span.ends(same[0], advance.before, advance.now));
        }
        let (mut windows, mut gathered) = (Windows::new(self.kept.name()), Gathered::default());
        for end in ends {
            let start = self.span.start(end);
            let rows = panes.between(start, end);
            if !gathered.rows.is_empty() && gathered.rows.len() + rows.len() > FINISH_ROWS_MAX {
                windows.add(self.finish(context, &panes.rows, std::mem::take(&mut gathered)).await?)?;
            }
            gathered.starts.extend(std::iter::repeat_n(start, rows.len()));
            gathered.rows.extend(rows);
        }
        if !gathered.rows.is_empty() {
            windows.add(self.finish(context, &panes.rows, gathered).await?)?;
        }
        Ok(windows.rows)
    }

    fn sorted(&self, rows: &[RecordBatch]) -> Result<Panes, QueryError> {
        let rows = whole(&self.merging.table(), rows)?;
        let (panes, keys) = (times(rows.column(0))?, self.kept.sortable(&rows)?);
        let all = 0..number(rows.num_rows());
        let mut by_key: Vec<u32> = all.clone().collect();
        by_key.sort_by_key(|row| (keys.value(*row as usize), panes.value(*row as usize)));
        let mut ranks = vec![0; by_key.len()];
        by_key.iter().zip(all).for_each(|(row, rank)| ranks[*row as usize] = rank);
        let mut order = by_key;
        order.sort_by_key(|row| panes.value(*row as usize));
        let panes = order.iter().map(|row| panes.value(*row as usize)).collect();
        Ok(Panes { rows, order, panes, ranks })
    }

    /// Makes windows of their rows.
    async fn finish(
        &self,
        context: &OperatorContext,
        rows: &RecordBatch,
        gathered: Gathered,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let rows = gather_rows(rows, &UInt32Array::from(gathered.rows))?;
        let mut columns = rows.columns().to_vec();
        columns[0] = Arc::new(TimestampMicrosecondArray::from(gathered.starts));
        let rows = table(rows.schema(), columns, rows.num_rows())?;
        let made = in_order(self.merging.finish(context, vec![rows]).await?)?;
        made.iter().map(|made| self.named(made)).collect()
    }

    /// Windows with their ends.
    fn named(&self, made: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let starts = times(made.column(0))?;
        let ends: TimestampMicrosecondArray = starts.unary(|start| self.span.end(start));
        let window = [Arc::new(starts) as ArrayRef, Arc::new(ends)];
        let columns = window.into_iter().chain(made.columns()[1..].iter().cloned());
        table(Arc::clone(&self.schema), columns.collect(), made.num_rows())
    }
}

/// Tables of windows in the order of their starts. They are made of rows in that order, and nearly always have it.
fn in_order(made: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, QueryError> {
    let starts = made.iter().map(|made| times(made.column(0))).collect::<Result<Vec<_>, _>>()?;
    let starts: Vec<i64> = starts.iter().flat_map(|starts| starts.values().iter().copied()).collect();
    if starts.is_sorted() {
        return Ok(made);
    }
    let mut order: Vec<u32> = (0..number(starts.len())).collect();
    order.sort_by_key(|row| starts[*row as usize]);
    let rows = whole(&made[0].schema(), &made)?;
    Ok(vec![gather_rows(&rows, &UInt32Array::from(order))?])
}

impl Advance {
    /// Whether any window ends.
    fn any_ends(self) -> bool {
        self.span.any_ends(self.before, self.now)
    }

    /// Whether a window ends that has this pane.
    fn is_due(self, pane: i64) -> bool {
        self.span.ends(pane, self.before, self.now).next().is_some()
    }

    /// Whether all windows have ended that have this pane.
    fn is_over(self, pane: i64) -> bool {
        self.span.is_over(pane, self.now)
    }
}

impl Panes {
    /// The rows of the panes that start from `start` on and before `end`, in the order of keys, and those of one key in the order
    /// of panes.
    fn between(&self, start: i64, end: i64) -> Vec<u32> {
        let at = |time: i64| self.panes.partition_point(|pane| *pane < time);
        let mut rows = self.order[at(start)..at(end)].to_vec();
        rows.sort_by_key(|row| self.ranks[*row as usize]);
        rows
    }
}

#[async_trait]
impl<M: Merging> Operator for EventWindow<M> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn follows(&self) -> Vec<String> {
        self.watermarks.relations()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (before, now) = (self.watermarks.before()?, self.watermarks.now());
        let advance = Advance { span: self.span, before, now };
        let given = self.merging.take(context, rows).await?;
        let rows = self.settle(context, given, advance).await?;
        let windows = match advance.any_ends() {
            true => self.windows(context, &rows, advance).await?,
            false => Vec::new(),
        };
        Ok(Some(vec![windows]))
    }
}

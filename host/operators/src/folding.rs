//! Rows of a key made one by a plugin's reduce, in as few calls as there are chunks.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use millstream_model::{CALL_ROWS_MAX, CallContext, Groups, Reduce};
use millstream_query::{Caller, OperatorContext, Poison, QueryError};

use crate::columns::{gather, gather_rows, pick, table, whole};
use crate::grouping::{Grouping, number};

/// A reduce by key: tables of the key's columns, then the value's, with one row for each key.
#[derive(Clone, Debug)]
pub struct Folding {
    function: Arc<dyn Reduce>,
    caller: Arc<Caller>,
    /// The input's columns of the key, and those of the function's input.
    keys: Vec<usize>,
    values: Vec<usize>,
    /// The columns of the key and the value.
    schema: SchemaRef,
    value_schema: SchemaRef,
}

impl Folding {
    /// Of rows with the columns `input`: `keys` and `values` say which columns are the key, and which the function takes, in
    /// the order of its input. The value's columns keep their names.
    pub fn new(function: Arc<dyn Reduce>, input: &Schema, keys: Vec<usize>, values: Vec<usize>) -> Self {
        let described = function.description().input.to_arrow();
        let value = values
            .iter()
            .zip(described.fields())
            .map(|(&column, field)| Arc::new(field.as_ref().clone().with_name(input.field(column).name())));
        let key = keys.iter().map(|&column| Arc::clone(&input.fields()[column]));
        let schema = Arc::new(Schema::new(key.chain(value).collect::<Vec<_>>()));
        Self { value_schema: Arc::new(described), function, caller: Arc::default(), keys, values, schema }
    }

    /// The same, called by `caller`.
    pub fn called_by(self, caller: Arc<Caller>) -> Self {
        Self { caller, ..self }
    }

    /// Who calls it.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The columns of the key and the value.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many columns the key has.
    pub fn key_columns(&self) -> usize {
        self.keys.len()
    }

    /// What the function takes of rows that are folded already.
    pub(crate) fn value_schema(&self) -> &SchemaRef {
        &self.value_schema
    }

    /// Folds rows of the input. Gives at most one row for each key, in the order in which keys come: without the rows that the
    /// function fails on.
    pub(crate) async fn fold_input(
        &self,
        context: &OperatorContext,
        partition: usize,
        chunks: &[RecordBatch],
    ) -> Result<RecordBatch, QueryError> {
        let columns: Vec<usize> = self.keys.iter().chain(&self.values).copied().collect();
        let (mut folded, mut rows_max, mut given) = (Vec::new(), CALL_ROWS_MAX, Given::Rows);
        for rows in chunks.iter().filter(|rows| rows.num_rows() > 0) {
            folded.push(pick(rows, &columns, &self.schema)?);
            // Rows of the same keys do not pile up until the end, and many keys are not folded again for every chunk.
            if folded.iter().map(RecordBatch::num_rows).sum::<usize>() >= rows_max {
                let so_far = self.fold_by(Calls::new(self, context, partition, given), &folded).await?;
                rows_max = CALL_ROWS_MAX.max(2 * so_far.num_rows());
                (folded, given) = (vec![so_far], Given::Totals);
            }
        }
        self.fold_by(Calls::new(self, context, partition, given), &folded).await
    }

    /// The keys of tables of keys and values, each once, in the order in which they come.
    pub(crate) fn distinct_keys(&self, tables: &[RecordBatch]) -> Result<Vec<ArrayRef>, QueryError> {
        let rows = whole(&self.schema, tables)?;
        let keys = &rows.columns()[..self.keys.len()];
        gather(keys, &Grouping::by(keys, rows.num_rows())?.firsts())
    }

    /// Folds tables of keys and values into one, all of them or none.
    pub(crate) async fn fold(
        &self,
        context: &OperatorContext,
        partition: usize,
        tables: &[RecordBatch],
    ) -> Result<RecordBatch, QueryError> {
        self.fold_by(Calls::new(self, context, partition, Given::Batches), tables).await
    }

    /// Folds tables into which the batch's own rows were folded into one, without what the function fails on.
    pub(crate) async fn fold_totals(
        &self,
        context: &OperatorContext,
        partition: usize,
        tables: &[RecordBatch],
    ) -> Result<RecordBatch, QueryError> {
        self.fold_by(Calls::new(self, context, partition, Given::Totals), tables).await
    }

    async fn fold_by(&self, mut calls: Calls<'_>, tables: &[RecordBatch]) -> Result<RecordBatch, QueryError> {
        let rows = whole(&self.schema, tables)?;
        let keys = &rows.columns()[..self.keys.len()];
        let grouping = Grouping::by(keys, rows.num_rows())?;
        if grouping.count() == 0 {
            return Ok(rows);
        }
        let values: Vec<usize> = (self.keys.len()..rows.num_columns()).collect();
        let values = pick(&rows, &values, &self.value_schema)?;
        calls.keys = keys.to_vec();
        let folded = calls.fold(&values, &grouping).await?;
        let firsts = folded.of.iter().map(|group| grouping.first[*group as usize]);
        let mut columns = gather(keys, &UInt32Array::from_iter_values(firsts))?;
        columns.extend(folded.rows.columns().iter().cloned());
        table(self.schema(), columns, folded.of.len())
    }
}

/// What is folded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Rows of the batch.
    Rows,
    /// Rows of the batch, some of which were folded already.
    Totals,
    /// What was folded of several batches: none of it is left out.
    Batches,
}

/// The calls for one table.
struct Calls<'a> {
    folding: &'a Folding,
    context: &'a OperatorContext,
    partition: usize,
    given: Given,
    /// The columns of the key, of all rows.
    keys: Vec<ArrayRef>,
    made: u32,
}

/// The rows of a call.
struct Chunk<'c> {
    rows: RecordBatch,
    groups: Groups,
    /// For each group, a row that has its key.
    keys: &'c [u32],
}

/// Rows that were folded, each with its group. Groups never fall.
struct Folded {
    rows: RecordBatch,
    of: Vec<u32>,
}

impl<'a> Calls<'a> {
    fn new(folding: &'a Folding, context: &'a OperatorContext, partition: usize, given: Given) -> Self {
        Self { folding, context, partition, given, keys: Vec::new(), made: 0 }
    }

    /// Folds the values of each group into a row.
    async fn fold(&mut self, values: &RecordBatch, grouping: &Grouping) -> Result<Folded, QueryError> {
        if values.num_rows() <= CALL_ROWS_MAX {
            let groups = Groups { of: grouping.of.clone(), count: number(grouping.count()) };
            return self
                .call(Chunk { rows: values.clone(), groups, keys: &grouping.first }, self.given)
                .await;
        }
        let (order, starts) = grouping.sorted();
        let (mut rows_of, mut of_all) = (Vec::new(), Vec::new());
        let mut group = 0;
        for piece in 0..order.len().div_ceil(CALL_ROWS_MAX) {
            let (from, to) = (piece * CALL_ROWS_MAX, order.len().min((piece + 1) * CALL_ROWS_MAX));
            while starts[group + 1] as usize <= from {
                group += 1;
            }
            let mut of = Vec::with_capacity(to - from);
            let first = group;
            for row in from..to {
                while starts[group + 1] as usize <= row {
                    group += 1;
                }
                of.push(number(group - first));
            }
            let rows = gather_rows(values, &UInt32Array::from(order[from..to].to_vec()))?;
            let groups = Groups { of, count: number(group - first + 1) };
            let keys = &grouping.first[first..=group];
            let folded = self.call(Chunk { rows, groups, keys }, self.given).await?;
            rows_of.push(folded.rows);
            of_all.extend(folded.of.iter().map(|group| group + number(first)));
        }
        self.mend(Folded { rows: self.joined(&rows_of)?, of: of_all }, grouping).await
    }

    /// Folds once more what the ends of pieces have cut apart.
    async fn mend(&mut self, folded: Folded, grouping: &Grouping) -> Result<Folded, QueryError> {
        let Folded { rows, of } = folded;
        let cut = |at: usize| {
            let same = |other: Option<&u32>| other == Some(&of[at]);
            same(of.get(at + 1)) || (at > 0 && same(of.get(at - 1)))
        };
        let (apart, whole): (Vec<usize>, Vec<usize>) = (0..of.len()).partition(|at| cut(*at));
        if apart.is_empty() {
            return Ok(Folded { rows, of });
        }
        let mut groups: Vec<u32> = apart.iter().map(|at| of[*at]).collect();
        let parts_of = groups.clone();
        groups.dedup();
        let local = |group: &u32| number(groups.partition_point(|other| other < group));
        let local = parts_of.iter().map(local).collect();
        let indices = |rows: &[usize]| UInt32Array::from_iter_values(rows.iter().map(|row| number(*row)));
        let parts = gather_rows(&rows, &indices(&apart))?;
        let keys: Vec<u32> = groups.iter().map(|group| grouping.first[*group as usize]).collect();
        let of_groups = Groups { of: local, count: number(groups.len()) };
        let given = if self.given == Given::Rows { Given::Totals } else { self.given };
        let mended = self.call(Chunk { rows: parts, groups: of_groups, keys: &keys }, given).await?;
        let rows = self.joined(&[gather_rows(&rows, &indices(&whole))?, mended.rows])?;
        // Each group is at one place now; the rows are put in the order of the groups again.
        let mended = mended.of.iter().map(|group| groups[*group as usize]);
        let mut places: Vec<(u32, u32)> = whole.iter().map(|at| of[*at]).chain(mended).zip(0..).collect();
        places.sort_unstable();
        let (of, order): (Vec<u32>, Vec<u32>) = places.into_iter().unzip();
        Ok(Folded { rows: gather_rows(&rows, &UInt32Array::from(order))?, of })
    }

    async fn call(&mut self, chunk: Chunk<'_>, given: Given) -> Result<Folded, QueryError> {
        let Chunk { rows, groups, keys } = chunk;
        let (caller, count) = (self.folding.caller(), groups.count as usize);
        let place = CallContext {
            batch_time: self.context.time(),
            partition: number(self.partition),
            chunk: self.made,
        };
        self.made += 1;
        let mut isolation = match given {
            Given::Rows | Given::Totals => self.context.isolate(caller, count),
            Given::Batches => self.context.call_whole(caller, count),
        };
        let (mut done, mut of) = (Vec::new(), Vec::new());
        while let Some(piece) = isolation.next() {
            let (part, groups) = match piece.len() == count {
                true => (rows.clone(), groups.clone()),
                false => part_of(&rows, &groups, &piece)?,
            };
            match self.folding.function.fold(isolation.place(place), part.clone(), groups).await {
                Ok(folded) => {
                    self.context.add(folded.added)?;
                    done.push(folded.rows);
                    of.extend(piece.map(number));
                }
                Err(error) => {
                    if let Some(Poison { unit, error }) = isolation.failed(error)? {
                        let shown = self.shown(keys[unit], &part)?;
                        match given {
                            Given::Totals => self.context.put_totals_aside(caller, &error, &shown)?,
                            Given::Rows | Given::Batches => self.context.put_aside(caller, &error, &shown)?,
                        }
                    }
                }
            }
        }
        Ok(Folded { rows: self.joined(&done)?, of })
    }

    /// Values beside their key, whose columns are those of the row `key`.
    fn shown(&self, key: u32, values: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let rows = values.num_rows();
        let mut columns = gather(&self.keys, &UInt32Array::from_value(key, rows))?;
        columns.extend(values.columns().iter().cloned());
        table(self.folding.schema(), columns, rows)
    }

    fn joined(&self, tables: &[RecordBatch]) -> Result<RecordBatch, QueryError> {
        whole(self.folding.value_schema(), tables)
    }
}

/// The rows of some of the groups.
fn part_of(
    rows: &RecordBatch,
    groups: &Groups,
    part: &Range<usize>,
) -> Result<(RecordBatch, Groups), QueryError> {
    let is_part = |(_, group): &(u32, &u32)| part.contains(&(**group as usize));
    let of_part = (0..).zip(&groups.of).filter(is_part);
    let (picked, of): (Vec<u32>, Vec<u32>) =
        of_part.map(|(row, group)| (row, group - number(part.start))).unzip();
    let count = number(part.len());
    Ok((gather_rows(rows, &UInt32Array::from(picked))?, Groups { of, count }))
}

#[cfg(test)]
mod tests;

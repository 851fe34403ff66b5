//! The meaning of operations, each computed from the whole history of its input.

use std::collections::BTreeMap;

/// Batches of a test. Batch `b`, counted from 1, has the time of `b` seconds.
pub(super) const BATCHES: usize = 9;

pub(super) type Rows = Vec<(String, i64)>;

/// A stream as the model has it.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) name: String,
    /// It has a table in batches whose number this divides.
    pub(super) slide: usize,
    /// Batch by batch; none where it is not due.
    pub(super) tables: Vec<Option<Rows>>,
}

impl Stream {
    /// A stream that has a table whenever this one has: what `compute` makes of it in each batch.
    pub(super) fn each(&self, name: &str, mut compute: impl FnMut(usize, &Rows) -> Rows) -> Self {
        let tables = self.tables.iter().enumerate();
        let tables = tables.map(|(at, table)| table.as_ref().map(|rows| compute(at + 1, rows))).collect();
        Self { name: name.to_owned(), slide: self.slide, tables }
    }

    /// The rows of the batches in the window that ends with each due batch.
    pub(super) fn windowed(&self, name: &str, length: usize, slide: usize) -> Self {
        let table = |batch: usize| {
            let from = batch.saturating_sub(length);
            let rows = self.tables[from..batch].iter().flatten().flatten().cloned().collect();
            batch.is_multiple_of(slide).then_some(rows)
        };
        Self { name: name.to_owned(), slide, tables: (1..=BATCHES).map(table).collect() }
    }

    /// Two streams, batch by batch.
    pub(super) fn with(&self, other: &Self, name: &str, compute: impl Fn(&Rows, &Rows) -> Rows) -> Self {
        let tables = self.tables.iter().zip(&other.tables);
        let tables = tables.map(|(left, right)| Some(compute(left.as_ref()?, right.as_ref()?))).collect();
        Self { name: name.to_owned(), slide: self.slide, tables }
    }
}

/// The rows of each key made one.
pub(super) fn fold(rows: &Rows, fold: impl Fn(i64, i64) -> i64) -> Rows {
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for (word, n) in rows {
        folded.entry(word.clone()).and_modify(|so_far| *so_far = fold(*so_far, *n)).or_insert(*n);
    }
    folded.into_iter().collect()
}

/// How many rows each key has.
pub(super) fn count(rows: &Rows) -> Rows {
    let ones = rows.iter().map(|(word, _)| (word.clone(), 1)).collect();
    fold(&ones, |left, right| left + right)
}

/// Totals of a window that keep the keys which they ever had.
pub(super) fn remembered(windows: &Stream) -> Stream {
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    windows.each(&windows.name, |_, rows| {
        known.values_mut().for_each(|total| *total = 0);
        known.extend(fold(rows, |left, right| left + right));
        known.clone().into_iter().collect()
    })
}

/// Counts that run, each until its key had no rows for longer than `timeout` batches: the counts of the keys that a batch
/// has, and those of all keys after it.
pub(super) fn running(from: &Stream, timeout: Option<usize>) -> (Stream, Stream) {
    let mut known: BTreeMap<String, (i64, usize)> = BTreeMap::new();
    let mut all = Vec::new();
    let touched = from.each(&from.name, |batch, rows| {
        let new = count(rows);
        for (word, n) in &new {
            let (so_far, seen) = known.entry(word.clone()).or_insert((0, batch));
            (*so_far, *seen) = (*so_far + n, batch);
        }
        if let Some(timeout) = timeout {
            known.retain(|_, (_, seen)| *seen + timeout >= batch);
        }
        all.push(known.iter().map(|(word, (n, _))| (word.clone(), *n)).collect());
        new.iter().map(|(word, _)| (word.clone(), known[word].0)).collect()
    });
    let mut all = all.into_iter();
    let all = from.each(&from.name, |_, _| all.next().unwrap());
    (touched, all)
}

/// Pairs of rows with the same key; `outer` keeps rows of the first side without a partner.
pub(super) fn join(left: &Rows, right: &Rows, outer: bool) -> Rows {
    let mut joined = Rows::new();
    for (word, n) in left {
        let partners: Vec<_> = right.iter().filter(|(other, _)| other == word).collect();
        joined.extend(partners.iter().map(|(_, m)| (word.clone(), n + m)));
        if outer && partners.is_empty() {
            joined.push((word.clone(), *n));
        }
    }
    joined
}

/// For each key, ten times the rows of the first side and the rows of the second.
pub(super) fn cogrouped(left: &Rows, right: &Rows) -> Rows {
    let tens = count(left).into_iter().map(|(word, n)| (word, 10 * n));
    fold(&tens.chain(count(right)).collect(), |left, right| left + right)
}

//! What batches put out, and what they should have.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::lines::row;
use super::{KEYS, LENGTH_MS};
use crate::process::{self, appeared};

/// A batch as it was put out.
#[derive(Debug)]
pub(super) struct Batch {
    /// Since 1970.
    pub(super) appeared: Duration,
    /// The number of its first line.
    pub(super) first: u64,
    pub(super) lines: u64,
    pub(super) made: Made,
}

/// What a batch made of its lines, and of those before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    sums: u64,
    sums_by_key: u64,
    totals: u64,
    totals_by_key: u64,
    squares: u64,
}

/// What batches come to, one after the other.
struct Model {
    sums: Vec<u64>,
    totals: Vec<u64>,
    window: VecDeque<(i64, Range<u64>)>,
}

impl Model {
    fn new() -> Self {
        let zeros = vec![0; KEYS as usize];
        Self { sums: zeros.clone(), totals: zeros, window: VecDeque::new() }
    }

    fn next(&mut self, time: i64, lines: Range<u64>) -> Made {
        let mut keys = Vec::new();
        for (key, amount) in lines.clone().map(row) {
            self.sums[key as usize] += amount;
            self.totals[key as usize] += amount;
            keys.push(key);
        }
        self.window.push_back((time, lines));
        while let Some((_, left)) = self.window.pop_front_if(|(left, _)| *left <= time - LENGTH_MS) {
            left.map(row).for_each(|(key, amount)| self.totals[key as usize] -= amount);
        }
        keys.sort_unstable();
        keys.dedup();
        let by_key = |(key, total): (u64, &u64)| key % 997 * total;
        let totals = || (0..).zip(&self.totals).filter(|(_, total)| **total > 0);
        Made {
            sums: keys.len() as u64,
            sums_by_key: keys.iter().map(|key| by_key((*key, &self.sums[*key as usize]))).sum(),
            totals: totals().count() as u64,
            totals_by_key: totals().map(by_key).sum(),
            squares: totals().map(|(_, total)| total * total).sum(),
        }
    }
}

/// All batches that were put out, by their times.
pub(super) fn batches(folder: &Path) -> Result<BTreeMap<i64, Batch>> {
    let mut batches = BTreeMap::new();
    for (time, path) in process::batches(folder)? {
        let mut parts = fs::read_dir(&path)?;
        let part = parts.next().context("a batch has a row")??;
        let row: Value = serde_json::from_slice(&fs::read(part.path())?)?;
        let number = |column: &str| row[column].as_u64().unwrap_or_default();
        let made = Made {
            sums: number("sums"),
            sums_by_key: number("sums_by_key"),
            totals: number("totals"),
            totals_by_key: number("totals_by_key"),
            squares: number("squares"),
        };
        let batch =
            Batch { appeared: appeared(&path)?, first: number("first"), lines: number("lines"), made };
        batches.insert(time, batch);
    }
    Ok(batches)
}

/// Fails where a batch is not what it would be without swaps.
pub(super) fn check(batches: &BTreeMap<i64, Batch>) -> Result<()> {
    let (mut model, mut next) = (Model::new(), 0);
    for (time, batch) in batches {
        let first = if batch.lines == 0 { next } else { batch.first };
        ensure!(first == next, "the batch {time} begins with line {first}, where {next} is the next");
        next += batch.lines;
        let expected = model.next(*time, first..next);
        ensure!(batch.made == expected, "the batch {time} made {:?} where {expected:?} is right", batch.made);
    }
    Ok(())
}

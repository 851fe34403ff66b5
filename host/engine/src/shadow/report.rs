//! In what two versions of a pipeline differ, over some batches.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_model::BatchTime;
use serde::{Deserialize, Serialize};

/// Rows that are shown of a sink.
pub(super) const SAMPLES_MAX: usize = 10;
/// Failures that are told; beyond them they are counted.
const FAILURES_MAX: usize = 20;
/// Of a failure, so much is told.
const FAILURE_BYTES_MAX: usize = 4 << 10;

/// What came of running two versions on the same batches: in what the one "after" differs from the one "before", which is the
/// one that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ShadowReport {
    /// Batches that both have run.
    pub batches: u64,
    /// The first of them.
    pub first: Option<BatchTime>,
    /// The last of them.
    pub last: Option<BatchTime>,
    /// Rows that the version before gave to sinks in them.
    pub rows: u64,
    /// The sinks for which something differs, by name.
    pub sinks: BTreeMap<String, SinkDifferences>,
    /// By sink, in how many batches its rows were too many to be kept, so that only digests of them were compared. Of those that
    /// differ, it is not known how many rows do; all of them count.
    pub by_digest: BTreeMap<String, u64>,
    /// What failed in the version after alone: batches, and rows that it put aside. The first ones.
    pub failures: Vec<String>,
    /// How often something failed that is not among these.
    pub more_failures: u64,
    /// What the version before took for these batches, in milliseconds.
    pub before_ms: f64,
    /// What the version after took for them, in milliseconds.
    pub after_ms: f64,
}

/// In what two versions differ for one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SinkDifferences {
    /// Rows that differ: of each batch those of the side that has more of them, so that a row that changed is one.
    pub differing: u64,
    /// Rows that the version before gives and the one after does not.
    pub only_before: u64,
    /// Rows that the version after gives and the one before does not.
    pub only_after: u64,
    /// The columns of both, where those differ; then all rows do.
    pub columns: Option<String>,
    /// The first rows that differ, in the order of batches and of rows.
    pub samples: Vec<DifferingRow>,
}

/// A row that only one of two versions gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DifferingRow {
    /// Its batch.
    pub batch: BatchTime,
    /// Who gives it.
    pub side: Side,
    /// The row, much as JSON, cut where it is long.
    pub row: String,
}

/// One of two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The one that runs.
    Before,
    /// The one that may take its place.
    After,
}

impl ShadowReport {
    /// Rows that differ, of all sinks. One that changed counts once.
    pub fn differing_rows(&self) -> u64 {
        self.sinks.values().map(|sink| sink.differing).sum()
    }

    /// Whether both versions gave the same, and the one after failed nowhere on its own.
    pub fn is_equal(&self) -> bool {
        self.sinks.is_empty() && self.failures.is_empty()
    }

    /// Whether batches were compared, no more than `rows_max` rows of them differ, and nothing but rows does: no columns, and no
    /// failures.
    pub fn is_within(&self, rows_max: u64) -> bool {
        let rows_alone = self.sinks.values().all(|sink| sink.columns.is_none()) && self.failures.is_empty();
        self.batches > 0 && rows_alone && self.differing_rows() <= rows_max
    }

    /// Notes that both versions have run a batch, later than those before, and what each took for it.
    pub fn ran(&mut self, time: BatchTime, before: Duration, after: Duration) {
        self.batches += 1;
        self.first.get_or_insert(time);
        self.last = Some(time);
        self.before_ms += before.as_secs_f64() * 1e3;
        self.after_ms += after.as_secs_f64() * 1e3;
    }

    /// Adds what differs for a sink in one batch; `differing` is found out here.
    pub(super) fn add(&mut self, sink: &str, found: SinkDifferences) {
        if found == SinkDifferences::default() {
            return;
        }
        let sink = self.sinks.entry(sink.to_owned()).or_default();
        sink.differing += found.only_before.max(found.only_after);
        sink.only_before += found.only_before;
        sink.only_after += found.only_after;
        if sink.columns.is_none() {
            sink.columns = found.columns;
        }
        let room = SAMPLES_MAX.saturating_sub(sink.samples.len());
        sink.samples.extend(found.samples.into_iter().take(room));
    }

    /// Notes that the version after failed where the one before did not.
    pub fn fail(&mut self, failure: &str) {
        match self.failures.len() < FAILURES_MAX {
            true => self.failures.push(cut(failure, FAILURE_BYTES_MAX).to_owned()),
            false => self.more_failures += 1,
        }
    }
}

/// As much of `text` as `bytes_max` bytes hold.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

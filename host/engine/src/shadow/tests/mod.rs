mod captured;
mod chance;
mod report;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream_model::BatchTime;

use super::{Captured, ShadowReport};

/// More than any of the tables takes.
const ROOM: usize = 1 << 30;

fn time(ms: i64) -> BatchTime {
    BatchTime::from_ms(ms)
}

/// A table of words and their counts.
fn counts(rows: &[(&str, i64)]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(word, _)| word)));
    let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, count)| *count)));
    RecordBatch::try_from_iter([("word", words), ("count", counts)]).unwrap()
}

fn captured(given: &[(&str, RecordBatch)]) -> Captured {
    let mut captured = Captured::new(ROOM);
    given.iter().for_each(|(sink, rows)| captured.add(sink, rows));
    captured
}

/// Both versions have run a batch, and gave this.
fn compare(time: BatchTime, before: &Captured, after: &Captured, report: &mut ShadowReport) {
    report.ran(time, Duration::from_millis(2), Duration::from_millis(3));
    super::compare(time, before, after, report);
}

/// What comes of comparing tables of a sink "out".
fn compared(before: &[RecordBatch], after: &[RecordBatch]) -> ShadowReport {
    let side = |tables: &[RecordBatch]| {
        captured(&tables.iter().map(|table| ("out", table.clone())).collect::<Vec<_>>())
    };
    let mut report = ShadowReport::default();
    compare(time(1_000), &side(before), &side(after), &mut report);
    report
}

//! What two versions make of the same batches, side by side.

use std::collections::VecDeque;
use std::time::Duration;

use millstream_model::BatchTime;

use super::Backlog;
use crate::process::Ran;
use crate::shadow::{Captured, ShadowReport, compare};

/// What a version made of a batch.
pub(super) struct Outputs {
    time: BatchTime,
    /// Its rows by sink, or why it failed.
    rows: Result<Captured, String>,
    /// Rows that its functions failed on.
    letters: u64,
    took: Duration,
}

/// Compares the batches that both have run.
pub(super) struct Comparison {
    batches: u64,
    backlog: Backlog,
    before: VecDeque<Outputs>,
    after: VecDeque<Outputs>,
    report: ShadowReport,
}

impl Outputs {
    /// Takes them from a batch that was run.
    pub(super) fn of(ran: &mut Ran) -> Self {
        let (time, took) = (ran.batch.time(), ran.took);
        let (rows, letters) = match &mut ran.result {
            Ok(outcome) => {
                (Ok(outcome.captured.take().unwrap_or_else(|| Captured::new(0))), outcome.rejected.count())
            }
            Err(error) => (Err(error.to_string()), 0),
        };
        Self { time, rows, letters, took }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.rows.as_ref().map_or(0, Captured::size_bytes)
    }
}

impl Comparison {
    pub(super) fn new(batches: u64, backlog: Backlog) -> Self {
        let (before, after) = (VecDeque::new(), VecDeque::new());
        Self { batches, backlog, before, after, report: ShadowReport::default() }
    }

    pub(super) fn before(&mut self, outputs: Outputs) {
        self.before.push_back(outputs);
    }

    pub(super) fn after(&mut self, outputs: Outputs) {
        if self.report.batches < self.batches {
            self.after.push_back(outputs);
        }
    }

    /// Compares what there is of both; what was compared in all, if that is more than before.
    pub(super) fn compare(&mut self) -> Option<&ShadowReport> {
        let compared = self.report.batches;
        while self.report.batches < self.batches
            && let (Some(before), Some(after)) = (self.before.front(), self.after.front())
        {
            // Batches that ran before the first that both were given.
            if before.time < after.time {
                self.take_before();
                continue;
            }
            if let (Some(before), Some(after)) = (self.take_before(), self.after.pop_front()) {
                self.add(before, after);
            }
        }
        if self.report.batches == self.batches {
            // What came until it was known that nothing more is compared.
            while self.take_before().is_some() {}
        }
        (self.report.batches > compared).then_some(&self.report)
    }

    fn take_before(&mut self) -> Option<Outputs> {
        let outputs = self.before.pop_front()?;
        self.backlog.remove_outputs(outputs.size_bytes());
        Some(outputs)
    }

    fn add(&mut self, before: Outputs, after: Outputs) {
        let (time, report) = (after.time, &mut self.report);
        report.ran(time, before.took, after.took);
        match (before.rows, after.rows) {
            (Ok(of_before), Ok(of_after)) => {
                compare(time, &of_before, &of_after, report);
                if after.letters != before.letters {
                    report.fail(&format!(
                        "batch {time}: {} rows are put aside, and {} before",
                        after.letters, before.letters
                    ));
                }
            }
            (Ok(_), Err(error)) => report.fail(&error),
            // What the version that runs makes nothing of is nothing to compare with.
            (Err(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;

    fn outputs(time_ms: i64) -> Outputs {
        let rows = Arc::new(Int64Array::from_iter_values(0..100));
        let mut captured = Captured::new(1 << 20);
        captured.add("sink", &RecordBatch::try_from_iter([("number", rows as _)]).unwrap());
        Outputs { time: BatchTime::from_ms(time_ms), rows: Ok(captured), letters: 0, took: Duration::ZERO }
    }

    #[test]
    fn rows_that_come_when_all_is_compared_do_not_count_as_waiting() {
        let backlog = Backlog::default();
        let mut comparison = Comparison::new(2, backlog.clone());
        for time_ms in 0..100 {
            let outputs = outputs(time_ms);
            backlog.add_outputs(outputs.size_bytes());
            comparison.before(outputs);
        }
        for time_ms in 1..=2 {
            assert!(backlog.outputs_bytes() > 0);
            comparison.after(outputs(time_ms));
            assert_eq!(comparison.compare().map(|report| report.batches), Some(time_ms as u64));
        }
        assert_eq!(backlog.outputs_bytes(), 0);
    }
}

//! What is the same for a whole run of a program and is asked for deep inside its plans: the batch's time, and where calls
//! leave what they add to accumulators and the rows that they fail on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use millstream_model::pipeline::OnError;
use millstream_model::{ACCUMULATORS_MAX, Accumulated, BatchTime, DeadLetter, FunctionError, PoisonRow};

use crate::isolation::{FAILED_CALLS_MAX, FAILED_TIME_MAX};
use crate::{Caller, QueryError};

/// The run that a program is in, shared by all of the program's plans.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentBatch(Arc<Mutex<Arc<Run>>>);

impl CurrentBatch {
    /// Begins a run of a batch.
    pub(crate) fn begin(&self, time: BatchTime, stopwatch: &Stopwatch) -> Arc<Run> {
        let run = Arc::new(Run { time, stopwatch: stopwatch.clone(), ..Run::default() });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&run);
        run
    }

    pub(crate) fn run(&self) -> Arc<Run> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn time(&self) -> BatchTime {
        self.run().time
    }
}

/// What tells how long calls take. By default no time passes.
#[derive(Clone)]
pub struct Stopwatch(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Stopwatch {
    /// One that goes by `elapsed`, the time since some moment.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new(|| Duration::ZERO)
    }
}

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopwatch")
    }
}

/// One run of a batch. Each has sums of its own, so that what is left of a run that failed can never reach the next.
#[derive(Debug, Default)]
pub(crate) struct Run {
    time: BatchTime,
    stopwatch: Stopwatch,
    /// Wider than a result, so that whether a sum fits does not depend on the order in which partitions add to it.
    sums: Mutex<BTreeMap<String, i128>>,
    /// What failing calls have cost, by function.
    failures: Mutex<BTreeMap<String, Failures>>,
    poison: Mutex<PoisonRows>,
}

/// The failing calls of a function.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    calls: u32,
    time: Duration,
}

/// Rows that functions failed on, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoisonRows {
    /// Each with the code of its origin.
    pub(crate) rows: Vec<(PoisonRow, Option<u64>)>,
    bytes: usize,
    /// How many more there were than are kept.
    pub(crate) more: u64,
}

impl Run {
    pub(crate) fn time(&self) -> BatchTime {
        self.time
    }

    pub(crate) fn elapsed(&self) -> Duration {
        (self.stopwatch.0)()
    }

    /// Counts what a call added.
    pub(crate) fn add(&self, added: Accumulated) -> Result<(), QueryError> {
        if added.is_empty() {
            return Ok(());
        }
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, amount) in added {
            *sums.entry(name).or_default() += i128::from(amount);
        }
        match sums.len() > ACCUMULATORS_MAX {
            true => Err(QueryError::Accumulators(format!(
                "the batch adds to more than {ACCUMULATORS_MAX} of them; name fewer in the plugins"
            ))),
            false => Ok(()),
        }
    }

    /// The sums of all calls, once they are over.
    pub(crate) fn accumulated(&self) -> Result<Accumulated, QueryError> {
        let sums = std::mem::take(&mut *self.sums.lock().unwrap_or_else(PoisonError::into_inner));
        let narrow = |(name, sum): (String, i128)| match i64::try_from(sum) {
            Ok(sum) => Ok((name, sum)),
            Err(_) => Err(QueryError::Accumulators(format!(
                "the batch's sum of \"{name}\", {sum}, goes beyond 64 bits; add smaller amounts"
            ))),
        };
        sums.into_iter().map(narrow).collect()
    }

    /// Notes that a call of `function` failed after so long.
    ///
    /// # Errors
    /// Where more have failed than can be for the rows' sake.
    pub(crate) fn note_failure(
        &self,
        function: &str,
        took: Duration,
        error: &FunctionError,
    ) -> Result<(), QueryError> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let of_function = failures.entry(function.to_owned()).or_default();
        of_function.calls += 1;
        of_function.time += took;
        let Failures { calls, time } = *of_function;
        if calls <= FAILED_CALLS_MAX && time <= FAILED_TIME_MAX {
            return Ok(());
        }
        let (FunctionError::Broken { function, reason }
        | FunctionError::Rejected { function, reason }
        | FunctionError::Unavailable { function, reason }) = error.clone();
        let seconds = time.as_secs();
        let reason =
            format!("fails too often: {calls} calls of one batch in {seconds} s, the last one: {reason}");
        Err(QueryError::Unusable { function, reason })
    }

    /// Puts a row aside that a function fails on, as its caller wants it. `row` is the one of `rows`, which are the
    /// columns that the function was called with.
    pub(crate) fn put_aside(
        &self,
        caller: &Caller,
        error: &FunctionError,
        rows: &RecordBatch,
        row: usize,
        origin: Option<u64>,
    ) -> Result<(), QueryError> {
        if caller.on_error == OnError::Skip {
            return self.add(Accumulated::from([(format!("{}.skipped", caller.function), 1)]));
        }
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if poison.rows.len() >= DeadLetter::OF_BATCH_MAX || poison.bytes >= DeadLetter::OF_BATCH_BYTES_MAX {
            poison.more += 1;
            return Ok(());
        }
        let Caller { stream, function, digest, .. } = caller;
        let row = PoisonRow::new(stream, function, digest, error, rows, row);
        poison.bytes += row.size_bytes();
        poison.rows.push((row, origin));
        Ok(())
    }

    /// The rows that were put aside.
    pub(crate) fn poison(&self) -> PoisonRows {
        std::mem::take(&mut *self.poison.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

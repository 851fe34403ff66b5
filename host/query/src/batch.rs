//! What is the same for a whole run of a program and is asked for deep inside its plans: the batch's time, and where calls
//! leave what they add to accumulators and the rows that they fail on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use millstream_model::pipeline::OnError;
use millstream_model::{ACCUMULATORS_MAX, Accumulated, BatchTime, DeadLetter, FunctionError, PoisonRow};

use crate::isolation::Failures;
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

/// Rows that functions failed on, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoisonRows {
    /// Each with the code of its origin.
    pub(crate) rows: Vec<(PoisonRow, Option<u64>)>,
    bytes: usize,
    /// How many more there were than are kept.
    pub(crate) more: u64,
    /// Those, and the ones that are skipped, that functions did not refuse, but broke on.
    pub(crate) broken: Option<Broken>,
}

/// Rows that functions broke on: they trapped, ran out of time or went beyond a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How many.
    pub rows: u64,
    /// What one of them ended with.
    pub error: String,
}

/// A row to be put aside.
#[derive(Clone, Copy)]
pub(crate) struct Aside<'r> {
    /// The columns that the function was called with, and what else tells the row.
    pub(crate) rows: &'r RecordBatch,
    /// Which of the rows.
    pub(crate) row: usize,
    /// The code of its origin.
    pub(crate) origin: Option<u64>,
    /// Whether its values may be made of several rows.
    pub(crate) totals: bool,
}

impl Run {
    /// A run beside those of batches, of which nothing counts.
    pub(crate) fn of(time: BatchTime) -> Self {
        Self { time, ..Self::default() }
    }

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

    /// Notes that a call failed after so long.
    ///
    /// # Errors
    /// Where more have failed than can be for the rows' sake.
    pub(crate) fn note_failure(
        &self,
        caller: &Caller,
        took: Duration,
        error: &FunctionError,
    ) -> Result<(), QueryError> {
        let noted = self.of_function(caller, |failures| failures.note(took, caller.call_time_max));
        let Err(failed) = noted else { return Ok(()) };
        let (FunctionError::Broken { function, reason }
        | FunctionError::Rejected { function, reason }
        | FunctionError::Unavailable { function, reason }) = error.clone();
        let reason = format!("fails too often: {failed}, the last one: {reason}");
        Err(QueryError::Unusable { function, reason })
    }

    /// Whether a call that broke on a single unit is made once more.
    pub(crate) fn may_try_again(&self, caller: &Caller) -> bool {
        self.of_function(caller, |failures| failures.try_again(caller.call_time_max))
    }

    fn of_function<T>(&self, caller: &Caller, of: impl FnOnce(&mut Failures) -> T) -> T {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        of(failures.entry(caller.function.clone()).or_default())
    }

    /// Puts a row aside that a function fails on, as its caller wants it.
    pub(crate) fn put_aside(
        &self,
        caller: &Caller,
        error: &FunctionError,
        aside: Aside<'_>,
    ) -> Result<(), QueryError> {
        if matches!(error, FunctionError::Broken { .. }) {
            self.note_broken(error);
        }
        if caller.on_error == OnError::Skip {
            return self.add(Accumulated::from([(format!("{}.skipped", caller.function), 1)]));
        }
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if poison.rows.len() >= DeadLetter::OF_BATCH_MAX || poison.bytes >= DeadLetter::OF_BATCH_BYTES_MAX {
            poison.more += 1;
            return Ok(());
        }
        let Caller { stream, function, digest, .. } = caller;
        let row = PoisonRow::new(stream, function, digest, error, aside.rows, aside.row);
        let row = PoisonRow { totals: aside.totals, ..row };
        poison.bytes += row.size_bytes();
        poison.rows.push((row, aside.origin));
        Ok(())
    }

    fn note_broken(&self, error: &FunctionError) {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Broken { rows: 0, error: error.to_string() };
        poison.broken.get_or_insert_with(first).rows += 1;
    }

    /// The rows that were put aside.
    pub(crate) fn poison(&self) -> PoisonRows {
        std::mem::take(&mut *self.poison.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

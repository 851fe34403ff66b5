//! What is the same for a whole run of a program and is asked for deep inside its plans: the batch's time, and where calls
//! leave what they add to accumulators.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_model::{Accumulated, BatchTime};

use crate::QueryError;

/// Accumulators that one run may add to. A call's are bounded by whoever makes it; this bounds those of many calls.
const ACCUMULATORS_MAX: usize = 10_000;

/// The run that a program is in, shared by all of the program's plans.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentBatch(Arc<Mutex<Arc<Run>>>);

impl CurrentBatch {
    /// Begins a run of a batch.
    pub(crate) fn begin(&self, time: BatchTime) -> Arc<Run> {
        let run = Arc::new(Run { time, sums: Mutex::default() });
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

/// One run of a batch. Each has sums of its own, so that what is left of a run that failed can never reach the next.
#[derive(Debug, Default)]
pub(crate) struct Run {
    time: BatchTime,
    /// Wider than a result, so that whether a sum fits does not depend on the order in which partitions add to it.
    sums: Mutex<BTreeMap<String, i128>>,
}

impl Run {
    pub(crate) fn time(&self) -> BatchTime {
        self.time
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
}

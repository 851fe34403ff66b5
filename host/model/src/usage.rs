use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::BatchTime;

/// What calls of a function took and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Usage {
    /// Calls, those that failed among them.
    pub calls: u64,
    /// Calls that gave nothing: they failed, ran out of time, or were given up with their batch.
    pub failed_calls: u64,
    /// Rows that the function was given.
    pub rows_in: u64,
    /// Rows that it answered with; of a filter, those that it kept.
    pub rows_out: u64,
    /// Bytes that crossed to it, as buffers of columns.
    pub bytes_in: u64,
    /// Bytes that it answered with.
    pub bytes_out: u64,
    /// Time of a processor, in nanoseconds: the function itself, its instance's start, the way there and back, and the
    /// checks of what it answered.
    pub cpu_ns: u64,
    /// The largest linear memory of an instance that the function ran in, which other functions of the plugin share.
    pub memory_bytes_max: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.cpu_ns += other.cpu_ns;
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
    }
}

/// What the functions took that were called, by `plugin.function`.
pub type Usages = BTreeMap<String, Usage>;

/// Functions whose calls are accounted for.
pub trait Metered: Send + Sync {
    /// What was called for the batch of that time, or an earlier one, and was not taken before. Nothing of it is there
    /// afterwards, so that whoever takes after each batch has the sum of all.
    fn take_usage(&self, batch: BatchTime) -> Usages;
}

/// Adds `more` to `sums`, function by function.
///
/// ```
/// use millstream_model::{Usage, Usages, add_usages};
///
/// let call = Usages::from([("text.count".to_owned(), Usage { calls: 1, ..Usage::default() })]);
/// let mut sums = Usages::new();
/// add_usages(&mut sums, &call);
/// add_usages(&mut sums, &call);
/// assert_eq!(sums["text.count"].calls, 2);
/// ```
pub fn add_usages(sums: &mut Usages, more: &Usages) {
    for (function, usage) in more {
        match sums.get_mut(function) {
            Some(sum) => *sum += *usage,
            None => drop(sums.insert(function.clone(), *usage)),
        }
    }
}

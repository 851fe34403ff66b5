//! What the process computes, by its threads.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_platform::{cpu_by_thread, process_cpu};
use serde::{Deserialize, Serialize};

/// Time of processors that the process took since it began, in milliseconds.
///
/// The functions of plugins that work on batches are called on the threads that compute, so what those took beside them is
/// the difference. What the threads do not have that live now, those had that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cpu {
    /// All of it.
    pub process_ms: f64,
    /// That of the threads that live now, by their names: [`Cpu::COMPUTING`], and those that wait and everything else. None
    /// where the system does not tell.
    pub threads_ms: BTreeMap<String, f64>,
}

impl Cpu {
    /// The name of the threads that batches are computed on.
    pub const COMPUTING: &str = "batch";

    /// What it is now. Costs a look at each thread.
    pub fn now() -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let threads = cpu_by_thread().unwrap_or_default();
        let threads_ms = threads.into_iter().map(|(name, time)| (name, ms(time))).collect();
        Self { process_ms: ms(process_cpu()), threads_ms }
    }

    /// What the threads that compute batches took.
    pub fn computing_ms(&self) -> f64 {
        self.threads_ms.get(Self::COMPUTING).copied().unwrap_or_default()
    }
}

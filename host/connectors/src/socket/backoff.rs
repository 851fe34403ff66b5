//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double, each between half of its length and the whole of it, so that many clients of one server
/// do not come back at the same moment.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Begins again with the shortest wait.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next wait.
    pub(super) fn wait(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        longest.mul_f64(0.5 + 0.5 * fraction())
    }
}

/// A number from 0 to 1. A new hasher's keys are all the randomness that is needed here.
fn fraction() -> f64 {
    let number = RandomState::new().hash_one(0) as u32;
    f64::from(number) / f64::from(u32::MAX)
}

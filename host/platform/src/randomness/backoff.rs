//! How long to wait before the next attempt.

use std::sync::Arc;
use std::time::Duration;

use super::Randomness;

/// Waits that double, each between half of its length and the whole of it, so that many clients of one server
/// do not come back at the same moment.
#[derive(Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    randomness: Arc<dyn Randomness>,
}

impl Backoff {
    /// Waits of at most `first`, then of at most twice that and so on, up to `longest`.
    pub fn new(first: Duration, longest: Duration, randomness: Arc<dyn Randomness>) -> Self {
        let first = first.min(longest);
        Self { first, longest, next: first, randomness }
    }

    /// Begins again with the shortest wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait this time.
    #[allow(clippy::should_implement_trait, reason = "it never ends, so callers would unwrap an option")]
    pub fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        let half = whole / 2;
        let fraction = self.randomness.next_u64() as f64 / u64::MAX as f64;
        half + (whole - half).mul_f64(fraction)
    }
}

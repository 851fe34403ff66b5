//! The time of day, and waiting.
//!
//! They are two things. The time of day names batches and may be set back or forth while the program runs; what
//! has elapsed only grows, and is what all waits go by.

mod manual;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

pub use manual::ManualClock;

/// A clock on the wall, and a stopwatch.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time of day: milliseconds since 1970-01-01T00:00:00Z. It may go back.
    fn now_ms(&self) -> i64;

    /// The time since some fixed moment of this clock. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Completes once [`Clock::elapsed`] is at least `elapsed`.
    async fn sleep_until(&self, elapsed: Duration);
}

/// The machine's clock. What has elapsed counts from its first use in the process, without the time that the
/// machine was suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time of day")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one place that measures time")]
    fn elapsed(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    async fn sleep_until(&self, elapsed: Duration) {
        // A timer has a grain of its own and may end a little early.
        while let left = elapsed.saturating_sub(self.elapsed())
            && !left.is_zero()
        {
            tokio::time::sleep(left).await;
        }
    }
}

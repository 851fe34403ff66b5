use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// The time of day, and waiting for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;

    /// Completes once [`Clock::now_ms`] is at least `time_ms`.
    async fn wait_until(&self, time_ms: i64);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time of day")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Asks the time again after each sleep, since the time of day may be set back or forth meanwhile.
    async fn wait_until(&self, time_ms: i64) {
        const SLEEP_MS_MAX: u64 = 1_000;
        while let Ok(left @ 1..) = u64::try_from(time_ms.saturating_sub(self.now_ms())) {
            tokio::time::sleep(Duration::from_millis(left.min(SLEEP_MS_MAX))).await;
        }
    }
}

/// A clock that stands still until it is set. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(watch::Sender<i64>);

impl ManualClock {
    /// A clock that shows `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self(watch::Sender::new(now_ms))
    }

    /// Turns it to `now_ms`, and wakes all who wait for that.
    pub fn set(&self, now_ms: i64) {
        self.0.send_replace(now_ms);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        *self.0.borrow()
    }

    async fn wait_until(&self, time_ms: i64) {
        let mut shown = self.0.subscribe();
        // The sender lives as long as `self`, so the wait ends only by the time.
        let _reached = shown.wait_for(|now_ms| *now_ms >= time_ms).await;
    }
}

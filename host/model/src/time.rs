use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time of a batch, in milliseconds since 1970-01-01T00:00:00Z: a multiple of the batch interval,
/// and the batch's name everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchTime(i64);

impl BatchTime {
    /// The batch of that time.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// The last multiple of `interval` that is not after `now_ms`.
    ///
    /// ```
    /// # use millstream_model::BatchTime;
    /// # use std::time::Duration;
    /// let time = BatchTime::at_or_before(12_345, Duration::from_secs(1));
    /// assert_eq!(time.as_ms(), 12_000);
    /// assert_eq!(BatchTime::at_or_before(-1, Duration::from_secs(1)).as_ms(), -1_000);
    /// ```
    pub fn at_or_before(now_ms: i64, interval: Duration) -> Self {
        let interval_ms = interval_ms(interval);
        Self(now_ms.div_euclid(interval_ms) * interval_ms)
    }

    /// The batch one interval later.
    pub fn next(self, interval: Duration) -> Self {
        Self(self.0 + interval_ms(interval))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

impl fmt::Display for BatchTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn interval_ms(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).map_or(i64::MAX, |ms| ms.max(1))
}

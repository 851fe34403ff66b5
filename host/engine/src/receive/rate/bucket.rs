//! The arithmetic of a limit, which is told what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// The lowest rate, in rows a second.
const RATE_MIN: f64 = 0.1;
/// No wait is longer: beyond is where times overflow.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How fast rows pass, and until when those that passed take.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The most that may ever pass, in rows a second.
    max: Option<f64>,
    /// What may pass beside, as it was set.
    set: Option<f64>,
    /// What is not worked off yet; none where the rows before passed without a limit, or a while ago.
    busy: Option<Busy>,
}

#[derive(Clone, Copy, Debug)]
struct Busy {
    until: Instant,
    /// The rate that `until` comes from, in rows a second.
    rate: f64,
}

impl Bucket {
    pub(super) fn new(max: Option<f64>) -> Self {
        Self { max, set: None, busy: None }
    }

    /// The rate that counts.
    pub(super) fn rate(&self) -> Option<f64> {
        match (self.max, self.set) {
            (Some(max), Some(set)) => Some(max.min(set)),
            (max, set) => max.or(set),
        }
    }

    /// Changes the rate from `now` on.
    pub(super) fn set(&mut self, rate: Option<f64>, now: Instant) {
        match rate {
            Some(rate) if rate > 0.0 => self.set = Some(rate.max(RATE_MIN)).filter(|rate| rate.is_finite()),
            Some(_) => return,
            None => self.set = None,
        }
        self.busy = match (self.rate(), self.busy) {
            (None, _) => None,
            // Waits that began while there was no limit have no time to make up for.
            (Some(rate), None) => Some(Busy { until: now, rate }),
            (Some(rate), Some(busy)) => Some(busy.raised(rate, now)),
        };
    }

    /// Lets `rows` pass that are there since `since`, or says when to ask again.
    ///
    /// They count from the moment at which they could pass, and not from `now`: who is woken late loses nothing.
    pub(super) fn pass(&mut self, rows: usize, since: Instant, now: Instant) -> Result<(), Instant> {
        let Some(rate) = self.rate() else { return Ok(()) };
        let start = self.busy.map_or(since, |busy| busy.until.max(since));
        if start > now {
            return Err(start);
        }
        self.busy = Some(Busy { until: start + wait(rows as f64 / rate), rate });
        Ok(())
    }
}

impl Busy {
    /// The rest at `rate`, if that is higher.
    fn raised(self, rate: f64, now: Instant) -> Self {
        if rate <= self.rate {
            return self;
        }
        let rest = self.until.saturating_duration_since(now).as_secs_f64();
        Self { until: self.until.min(now + wait(rest * self.rate / rate)), rate }
    }
}

fn wait(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
}

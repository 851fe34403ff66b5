//! When batches are cut, and what their times are.
//!
//! Ticks go by a clock that never goes back: it follows the time of day when that is ahead, and goes on at its own pace
//! when the time of day is set back, so that no batch waits for a day and none has the time of another.

use std::sync::Arc;
use std::time::Duration;

use millstream_model::BatchTime;
use millstream_platform::Clock;

use crate::CatchUp;

/// Missed ticks that get batches of their own; of more, the oldest have none.
const CATCH_UP_BATCHES_MAX: i64 = 100_000;
/// After this long the time of day is looked at again.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The times of batches.
pub(crate) struct Ticks {
    clock: Arc<dyn Clock>,
    interval: Duration,
    catch_up: CatchUp,
    /// The batch that was cut last, by this process or an earlier one.
    last: Option<BatchTime>,
    /// No batch of a new pipeline has an earlier time than the first tick after the start.
    start: BatchTime,
    /// What the time was when the clock had elapsed so much.
    anchor: (i64, Duration),
}

impl Ticks {
    /// Ticks after `last`, the batch that was cut last, if there was one.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        interval: Duration,
        catch_up: CatchUp,
        last: Option<BatchTime>,
    ) -> Self {
        let now = clock.now_ms();
        let anchor = (last.map_or(now, |last| now.max(last.as_ms())), clock.elapsed());
        let start = BatchTime::at_or_before(now, interval).next(interval);
        Self { clock, interval, catch_up, last, start, anchor }
    }

    /// From one tick to the next.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Milliseconds since 1970, as the ticks go.
    pub(crate) fn now_ms(&mut self) -> i64 {
        let (time, then) = self.anchor;
        let elapsed = self.clock.elapsed();
        let going_on = time + i64::try_from((elapsed.saturating_sub(then)).as_millis()).unwrap_or(i64::MAX);
        let of_day = self.clock.now_ms();
        if of_day > going_on {
            self.anchor = (of_day, elapsed);
        }
        of_day.max(going_on)
    }

    /// Waits for the tick after the last batch's; it may be in the past already.
    pub(crate) async fn wait(&mut self) {
        let due = self.last.map_or(self.start, |last| last.next(self.interval));
        loop {
            let left = due.as_ms().saturating_sub(self.now_ms());
            if left <= 0 {
                return;
            }
            let left = Duration::from_millis(left.unsigned_abs()).min(SLEEP_MAX);
            self.clock.sleep_until(self.clock.elapsed() + left).await;
        }
    }

    /// The batch that was cut last, by this process or an earlier one.
    pub(crate) fn last(&self) -> Option<BatchTime> {
        self.last
    }

    /// The time of the next batch, after the last. Ticks that were missed have one batch, that of the last of them,
    /// or one each.
    pub(crate) fn next(&mut self) -> BatchTime {
        let now = BatchTime::at_or_before(self.now_ms(), self.interval);
        let time = match (self.last, self.catch_up) {
            (None, _) => now,
            (Some(last), CatchUp::OneBatch) => now.max(last.next(self.interval)),
            (Some(last), CatchUp::EveryBatch) => {
                let interval_ms = now.next(self.interval).as_ms() - now.as_ms();
                let oldest = now.as_ms().saturating_sub(CATCH_UP_BATCHES_MAX * interval_ms);
                last.next(self.interval).max(BatchTime::from_ms(oldest))
            }
        };
        self.last = Some(time);
        time
    }

    /// How long ago the batch of `time` was due.
    pub(crate) fn late(&mut self, time: BatchTime) -> Duration {
        Duration::from_millis(u64::try_from(self.now_ms() - time.as_ms()).unwrap_or(0))
    }
}

//! How fast a source may bring in rows, learnt from how fast the batches before worked them off.
//!
//! A controller with a proportional, an integral and a derivative part, as Spark Streaming has it
//! (`PIDRateEstimator`). What it controls is the rate at which rows come in; what it aims at is the speed of the last
//! batch. The error is the rate less that speed; the error that has piled up is what came in while the batch waited
//! for its turn, spread over an interval. An estimate is never below the least rate, so that a source that was slowed
//! down still brings the rows from which to learn that it may go faster.

#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

/// How much each part of the controller counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PidSettings {
    /// The weight of the error; 0 or more.
    pub proportional: f64,
    /// The weight of the error that has piled up; 0 or more.
    pub integral: f64,
    /// The weight of the change of the error, which is in rows a second each second; 0 or more.
    pub derivative: f64,
    /// The least estimate, in rows a second; above 0.
    pub min_rate: f64,
}

/// That no controller can work with a setting.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PidError {
    /// A weight is negative or no number.
    #[error("estimating a rate: the weight \"{name}\" is {value}; it has to be a number of 0 or more")]
    Weight {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// The least rate is not above 0 or no number.
    #[error("estimating a rate: the least rate is {value} rows a second; it has to be a number above 0")]
    MinRate {
        /// What it is.
        value: f64,
    },
    /// The batches follow each other without time between them.
    #[error("estimating a rate: the batch interval is 0; it has to be longer")]
    BatchInterval,
}

/// Estimates a rate from batch to batch.
#[derive(Clone, Debug)]
pub(crate) struct PidEstimator {
    settings: PidSettings,
    batch_interval_ms: f64,
    latest: Option<Latest>,
}

/// What an estimate leaves for the next.
#[derive(Clone, Copy, Debug)]
struct Latest {
    time_ms: f64,
    /// In rows a second.
    rate: f64,
    error: f64,
}

impl PidEstimator {
    /// An estimator for batches that are `batch_interval` apart. Refuses settings that are outside of their ranges.
    pub(crate) fn new(settings: PidSettings, batch_interval: Duration) -> Result<Self, PidError> {
        let PidSettings { proportional, integral, derivative, min_rate } = settings;
        let weights = [("proportional", proportional), ("integral", integral), ("derivative", derivative)];
        for (name, value) in weights {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(PidError::Weight { name, value });
            }
        }
        if !(min_rate > 0.0 && min_rate.is_finite()) {
            return Err(PidError::MinRate { value: min_rate });
        }
        if batch_interval.is_zero() {
            return Err(PidError::BatchInterval);
        }
        Ok(Self { settings, batch_interval_ms: batch_interval.as_secs_f64() * 1000.0, latest: None })
    }

    /// The rate, in rows a second, after a batch of `elements` rows that waited for its turn for `scheduling_ms`, took
    /// `processing_ms` and was done at `time_ms`.
    ///
    /// None from the first batch, which only shows the speed to start from; and none, with nothing learnt, from a batch
    /// that tells no speed: without rows, done in no time, or not done after the one before.
    pub(crate) fn estimate(
        &mut self,
        time_ms: f64,
        elements: u64,
        processing_ms: f64,
        scheduling_ms: f64,
    ) -> Option<f64> {
        let inputs_are_numbers =
            time_ms.is_finite() && processing_ms.is_finite() && scheduling_ms.is_finite();
        if !inputs_are_numbers || elements == 0 || processing_ms <= 0.0 {
            return None;
        }
        let speed = elements as f64 / processing_ms * 1000.0;
        let next = match self.latest {
            None => Latest { time_ms, rate: speed, error: 0.0 },
            Some(latest) if time_ms > latest.time_ms => self.follow(latest, time_ms, speed, scheduling_ms),
            Some(_) => return None,
        };
        // Numbers at the ends of their range may overflow: such a batch tells nothing either.
        if !next.rate.is_finite() || !next.error.is_finite() {
            return None;
        }
        self.latest.replace(next).map(|_| next.rate)
    }

    fn follow(&self, latest: Latest, time_ms: f64, speed: f64, scheduling_ms: f64) -> Latest {
        let PidSettings { proportional, integral, derivative, min_rate } = self.settings;
        let error = latest.rate - speed;
        let piled_up = scheduling_ms * speed / self.batch_interval_ms;
        let change = (error - latest.error) / ((time_ms - latest.time_ms) / 1000.0);
        let rate = latest.rate - proportional * error - integral * piled_up - derivative * change;
        // A NaN is not to become the least rate.
        let rate = if rate < min_rate { min_rate } else { rate };
        Latest { time_ms, rate, error }
    }
}

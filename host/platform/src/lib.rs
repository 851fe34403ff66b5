//! The real clock, and one that tests turn by hand. No other crate of the host reads the time of day.

mod clock;
#[cfg(test)]
mod tests;

pub use clock::{Clock, ManualClock, SystemClock};

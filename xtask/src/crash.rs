//! Kills the real program many times, and holds its output against what its source knows to be acknowledged.

use anyhow::Result;

use crate::plugins;
use crate::workspace::{cargo, run as run_command};

/// The tests that kill at moments by chance, in `tests/suite/crash`.
const TESTS: &[&str] = &["crash::random", "crash::outside"];

/// Kills it so many times in each. What the test prints is shown as it comes: its seed plays a failure again.
pub(crate) fn run(rounds: u64) -> Result<()> {
    plugins::run()?;
    let mut test = cargo(&["test", "--package", "millstream", "--test", "suite", "--", "--nocapture"]);
    test.args(TESTS);
    test.env("MILLSTREAM_CRASH_ROUNDS", rounds.to_string());
    run_command(test.env("MILLSTREAM_PLUGINS_BUILT", "1"))
}

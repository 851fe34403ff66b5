//! Kills the real program many times, and holds its output against what its source knows to be acknowledged.

use anyhow::Result;

use crate::plugins;
use crate::workspace::{cargo, run as run_command};

/// The test that kills at moments by chance, in `tests/suite/crash/random.rs`.
const TEST: &str = "crash::random";

/// Kills it so many times. What the test prints is shown as it comes: its seed plays a failure again.
pub(crate) fn run(rounds: u64) -> Result<()> {
    plugins::run()?;
    let mut test = cargo(&["test", "--package", "millstream", "--test", "suite", "--", TEST, "--nocapture"]);
    test.env("MILLSTREAM_CRASH_ROUNDS", rounds.to_string());
    run_command(test.env("MILLSTREAM_PLUGINS_BUILT", "1"))
}

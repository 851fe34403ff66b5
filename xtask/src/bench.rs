//! The measurements behind docs/performance.md.

use anyhow::Result;

use crate::plugins;
use crate::workspace::{cargo, run as run_command};

/// Runs all measures, or the one that is named.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    plugins::run()?;
    let mut bench = cargo(&["bench", "--package", "millstream", "--bench", "word-count"]);
    if let Some(only) = only {
        bench.args(["--", only]);
    }
    run_command(&mut bench)
}

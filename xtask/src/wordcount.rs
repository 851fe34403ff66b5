//! The quick start: everything built, and the words of this repository's documents counted.

use anyhow::Result;

use crate::plugins;
use crate::workspace::{cargo, run as run_command};

const PIPELINE: &str = "examples/word-count/word-count.toml";

pub(crate) fn run() -> Result<()> {
    plugins::run()?;
    run_command(&mut cargo(&["run", "--package", "millstream", "--", "run", PIPELINE, "--once"]))
}

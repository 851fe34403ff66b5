//! All tests: by cargo-nextest where it is installed, by cargo itself elsewhere.

use anyhow::Result;

use crate::plugins;
use crate::workspace::{cargo, run as run_command, succeeds};

pub(crate) fn run() -> Result<()> {
    plugins::run()?;
    tests()?;
    doctests()
}

/// The tests of all crates. Those that run components are told that the plugins are built.
pub(crate) fn tests() -> Result<()> {
    let mut tests = if succeeds(&mut cargo(&["nextest", "--version"])) {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo(&["test", "--workspace", "--tests", "--no-fail-fast"])
    };
    run_command(tests.env("MILLSTREAM_PLUGINS_BUILT", "1"))
}

/// The examples in the documentation, which cargo-nextest does not run.
pub(crate) fn doctests() -> Result<()> {
    run_command(&mut cargo(&["test", "--doc", "--workspace"]))
}

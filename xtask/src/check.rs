//! The whole gate, a step after the other. A failed step does not hide what the next ones would say.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::toolchain::{PLUGIN_TARGET, need_component, need_plugin_target};
use crate::workspace::{Workspace, cargo, run as run_command, succeeds};
use crate::{features, fuzz, plugins, test};

/// A step's name and what it does.
type Step = (&'static str, fn() -> Result<Outcome>);

/// How a step ended that did not fail.
enum Outcome {
    Passed,
    /// With the reason.
    Skipped(&'static str),
}

const DENY_WARNINGS: &[&str] = &["--", "-D", "warnings"];

const STEPS: &[Step] = &[
    ("format", || format().map(passed)),
    ("lints", || lints().map(passed)),
    ("lints of plugins", || plugin_lints().map(passed)),
    ("plugins", || plugins::run().map(passed)),
    ("tests", || test::tests().map(passed)),
    ("doctests", || test::doctests().map(passed)),
    ("docs", || docs().map(passed)),
    ("features", || features::run().map(passed)),
    ("licences and advisories", deny),
];

/// What takes too long for every change.
const LONG_STEPS: &[Step] = &[("fuzzing", || fuzz::run(None, fuzz::SECONDS).map(passed))];

/// All steps, and the long ones too where they are wanted.
pub(crate) fn run(long: bool) -> Result<()> {
    let mut report = Vec::new();
    let mut failed = 0;
    let steps: Vec<_> = STEPS.iter().chain(LONG_STEPS.iter().filter(|_| long)).collect();
    for (name, step) in &steps {
        println!("\n== {name}");
        let (outcome, took) = timed(step);
        let word = match outcome {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("{name}: {word}");
        report.push(format!("{:>7.1} s  {name}: {word}", took.as_secs_f64()));
    }
    println!("\n== summary\n{}", report.join("\n"));
    if failed > 0 {
        bail!("{failed} of {} steps failed", steps.len());
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "how long a step took is for the person who waited for it")]
fn timed(step: &fn() -> Result<Outcome>) -> (Result<Outcome>, Duration) {
    let start = std::time::Instant::now();
    (step(), start.elapsed())
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn format() -> Result<()> {
    need_component("rustfmt", "fmt")?;
    run_command(&mut cargo(&["fmt", "--all", "--check", "--", "--files-with-diff"]))
}

fn lints() -> Result<()> {
    need_component("clippy", "clippy")?;
    let mut clippy = cargo(&["clippy", "--keep-going", "--workspace", "--all-targets"]);
    run_command(clippy.args(DENY_WARNINGS))
}

/// Some of a plugin's code, and of the SDK's, is only there where it is compiled to WebAssembly.
fn plugin_lints() -> Result<()> {
    need_plugin_target()?;
    let mut clippy = cargo(&["clippy", "--keep-going", "--profile", "plugin", "--target", PLUGIN_TARGET]);
    for plugin in Workspace::load()?.plugins() {
        clippy.args(["--package", &plugin.name]);
    }
    run_command(clippy.args(["--package", "millstream-sdk"]).args(DENY_WARNINGS))
}

fn docs() -> Result<()> {
    let mut doc: Command = cargo(&["doc", "--workspace", "--no-deps", "--keep-going"]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<Outcome> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        return Ok(Outcome::Skipped("cargo-deny is not installed; `cargo install cargo-deny` installs it"));
    }
    run_command(&mut cargo(&["deny", "check"])).map(passed)
}

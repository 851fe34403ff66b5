//! What the toolchain must have, installed where it is missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{cargo, read, run, succeeds};

/// What plugins are compiled for.
pub(crate) const PLUGIN_TARGET: &str = "wasm32-wasip2";

/// Makes sure that plugins can be compiled.
pub(crate) fn need_plugin_target() -> Result<()> {
    let mut ask = Command::new("rustc");
    let libraries = read(ask.args(["--print", "target-libdir", "--target", PLUGIN_TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    rustup(&["target", "add", PLUGIN_TARGET])
}

/// Makes sure that the toolchain has `component`, which is run as `cargo COMMAND`.
pub(crate) fn need_component(component: &str, command: &str) -> Result<()> {
    if succeeds(&mut cargo(&[command, "--version"])) {
        return Ok(());
    }
    rustup(&["component", "add", component])
}

fn rustup(arguments: &[&str]) -> Result<()> {
    let what = arguments.join(" ");
    run(Command::new("rustup").args(arguments)).with_context(|| {
        format!(
            "the Rust toolchain lacks something, and `rustup {what}` could not install it; \
             run that once with a network, or, where Rust is not from rustup, install the same by your system's means"
        )
    })
}

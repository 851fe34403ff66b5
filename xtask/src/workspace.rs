//! The checkout that these commands are part of, and cargo run in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The cargo that runs this program, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command whose output is for the person who waits for it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and gives what it printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of `{line}`"))
}

/// Whether a command can be run at all; what it prints is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A crate of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it makes a component.
    pub(crate) is_plugin: bool,
}

/// What cargo knows of the workspace.
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let text = read(&mut cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
        let metadata: Value =
            serde_json::from_str(&text).context("reading the answer of `cargo metadata`")?;
        let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
        let target =
            metadata["target_directory"].as_str().context("`cargo metadata` names no target folder")?;
        Ok(Self {
            packages: packages.iter().map(package).collect::<Result<_>>()?,
            target: PathBuf::from(target),
        })
    }

    /// The crates that make components.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_plugin)
    }
}

fn package(metadata: &Value) -> Result<Package> {
    let name = metadata["name"].as_str().context("`cargo metadata` names no package")?;
    let targets = metadata["targets"].as_array().into_iter().flatten();
    let mut kinds = targets.flat_map(|target| target["kind"].as_array().into_iter().flatten());
    Ok(Package { name: name.to_owned(), is_plugin: kinds.any(|kind| kind == "cdylib") })
}

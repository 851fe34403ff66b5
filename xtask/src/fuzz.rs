//! The fuzz targets of `fuzz/`, each run for a short time.
//!
//! What fuzzing finds is kept in `fuzz/artifacts`, and the run says how to play it again. What it learns is kept in
//! `fuzz/corpus`, so that the next run goes on from there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace::{cargo, read, root, run as run_command, succeeds};

/// How long each target runs.
pub(crate) const SECONDS: u32 = 20;
/// Memory that a target may take, more than which is a finding.
const MEMORY_MEBIBYTES: u32 = 2_048;
/// Where a target begins that texts are thrown at.
const SEEDS: &[(&str, &str)] = &[("pipeline-file", "toml")];

/// A fuzz target, and the features that it needs: those without any are compiled without the engines.
struct Target {
    name: String,
    features: String,
}

/// Runs all targets, or the one that is named.
pub(crate) fn run(only: Option<&str>, seconds: u32) -> Result<()> {
    need_tools()?;
    let targets = targets()?;
    let chosen: Vec<_> =
        targets.iter().filter(|target| only.is_none_or(|only| only == target.name)).collect();
    let names = || targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ");
    ensure!(!chosen.is_empty(), "there is no such target; there are {}", names());
    chosen.into_iter().try_for_each(|target| run_target(target, seconds))
}

/// All targets, those first that are compiled soon.
fn targets() -> Result<Vec<Target>> {
    let manifest = ["--format-version", "1", "--no-deps", "--manifest-path", "fuzz/Cargo.toml"];
    let text = read(cargo(&["metadata"]).args(manifest))?;
    let metadata: Value = serde_json::from_str(&text).context("reading the answer of `cargo metadata`")?;
    let described =
        metadata["packages"][0]["targets"].as_array().context("fuzz/Cargo.toml has no targets")?;
    let is_target = |target: &&Value| target["kind"][0] == "bin";
    let mut targets: Vec<_> = described.iter().filter(is_target).map(target).collect::<Result<_>>()?;
    targets.sort_by_key(|target| !target.features.is_empty());
    Ok(targets)
}

fn target(described: &Value) -> Result<Target> {
    let name = described["name"].as_str().context("`cargo metadata` names no target")?.to_owned();
    let features = described["required-features"].as_array().into_iter().flatten();
    let features = features.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    Ok(Target { name, features })
}

/// Without a sanitizer: the host has little unsafe code, and one would have the engines compiled for half an hour.
fn run_target(target: &Target, seconds: u32) -> Result<()> {
    let Target { name, features } = target;
    seed(name)?;
    let mut run = fuzz("run", &["--sanitizer", "none", "--features", features, name, "--"]);
    run.arg(format!("-max_total_time={seconds}"));
    run.arg(format!("-rss_limit_mb={MEMORY_MEBIBYTES}")).args(["-timeout=10", "-print_final_stats=1"]);
    run_command(&mut run).with_context(|| format!("fuzzing {name}"))
}

/// Puts the examples where the target begins.
fn seed(target: &str) -> Result<()> {
    for (_, extension) in SEEDS.iter().filter(|(seeded, _)| *seeded == target) {
        let corpus = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("making the folder {}", corpus.display()))?;
        for path in files(&root().join("examples"))? {
            if let (true, Some(name)) = (path.extension().is_some_and(|e| e == *extension), path.file_name())
            {
                let to = corpus.join(name);
                fs::copy(&path, &to).with_context(|| format!("copying to {}", to.display()))?;
            }
        }
    }
    Ok(())
}

/// The files of the folders in a folder.
fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for example in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let example = example?.path();
        if example.is_dir() {
            for entry in fs::read_dir(&example).with_context(|| format!("reading {}", example.display()))? {
                files.push(entry?.path());
            }
        }
    }
    Ok(files)
}

fn need_tools() -> Result<()> {
    ensure!(
        succeeds(&mut nightly("rustc", &["--version"])),
        "fuzzing needs a nightly toolchain; `rustup toolchain install nightly --profile minimal` installs it"
    );
    ensure!(
        succeeds(&mut nightly("cargo", &["fuzz", "--version"])),
        "fuzzing needs cargo-fuzz; `cargo install cargo-fuzz --locked` installs it"
    );
    Ok(())
}

fn fuzz(command: &str, arguments: &[&str]) -> Command {
    let mut fuzz = nightly("cargo", &["fuzz", command, "--fuzz-dir", "fuzz"]);
    fuzz.args(arguments);
    fuzz
}

/// A program of the nightly toolchain. What cargo told this program about its own toolchain is not for that one.
fn nightly(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]).args(arguments).current_dir(root());
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}

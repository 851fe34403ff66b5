//! Where a crate built alone would ask for other features of shared dependencies than the workspace does.
//!
//! Cargo compiles a dependency once for each set of features. Where `-p CRATE` and `--workspace` agree on them, both
//! use the same compiled engines; where they differ, whoever works on that crate compiles an engine a second time,
//! which takes many minutes. `host/model/Cargo.toml` asks for what all need, so that they agree.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::workspace::{Workspace, cargo, read};

#[cfg(test)]
mod tests;

/// What takes minutes to compile. A crate without either may differ: a second copy of the rest is cheap.
const ENGINES: &[&str] = &["datafusion v", "wasmtime v"];

pub(crate) fn run() -> Result<()> {
    let whole = tree(&["--workspace"])?;
    let mut differences = 0;
    for package in Workspace::load()?.packages {
        let alone = tree(&["--package", &package.name])?;
        if !alone.iter().any(|line| ENGINES.iter().any(|engine| line.starts_with(engine))) {
            continue;
        }
        for line in alone.difference(&whole) {
            differences += 1;
            println!("{} alone: {line}\n    workspace: {}", package.name, counterparts(line, &whole));
        }
    }
    if differences > 0 {
        bail!(
            "{differences} differences in features; add what a crate alone lacks to host/model/Cargo.toml, \
             so that it finds the engines compiled"
        );
    }
    println!("every crate that uses an engine finds it compiled as the workspace compiles it");
    Ok(())
}

/// Each dependency once: its name, its version and its features.
fn tree(selection: &[&str]) -> Result<BTreeSet<String>> {
    let mut tree = cargo(&["tree", "--edges", "normal,build", "--format", "{p} [{f}]", "--prefix", "none"]);
    Ok(dependencies(&read(tree.args(selection))?))
}

/// The lines of a tree's text, without the marks of those that stand in it more than once.
fn dependencies(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)").trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The workspace's features of the dependency that `line` is about.
fn counterparts(line: &str, whole: &BTreeSet<String>) -> String {
    let dependency = |line: &str| line.split(" [").next().unwrap_or_default().to_owned();
    let same = whole.iter().filter(|other| dependency(other) == dependency(line));
    let features =
        same.filter_map(|other| other.split_once(" [")).map(|(_, features)| format!("[{features}"));
    features.collect::<Vec<_>>().join(" and ")
}

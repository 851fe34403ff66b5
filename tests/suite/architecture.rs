//! The architecture's invariants, checked from what cargo knows of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The layers, from the bottom up, with those that each may know.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("platform", &[]),
    ("journal", &["model", "platform"]),
    ("state", &["model", "platform", "journal"]),
    ("query", &["model"]),
    ("operators", &["model", "query", "state"]),
    ("pipeline", &["model", "query", "state", "operators"]),
    ("engine", &["model", "platform", "journal", "query", "state"]),
    ("plugins", &["model", "platform", "query", "pipeline"]),
    ("connectors", &["model", "platform", "journal", "engine"]),
    (
        "millstream",
        &["model", "platform", "journal", "state", "query", "pipeline", "engine", "plugins", "connectors"],
    ),
];

/// Outside things that one crate alone may know.
const ENGINES: &[(&str, &str)] = &[("datafusion", "query"), ("wasmtime", "plugins")];

/// Folders with code of ours.
const CODE: &[&str] = &["examples", "host", "sdk", "plugins", "tests", "xtask"];

const FILE_LINES_MAX: usize = 400;

/// A crate of the workspace.
struct Package {
    /// Without the prefix of the project.
    name: String,
    folder: PathBuf,
    description: String,
    /// Its dependencies' names and kinds; the kind of a normal one is empty.
    dependencies: Vec<(String, String)>,
}

fn root() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("Cargo.lock").exists()).expect("a test runs in a workspace")
}

fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(metadata: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = metadata["dependencies"].as_array().unwrap();
    Package {
        name: ours(&text(&metadata["name"])).to_owned(),
        folder: Path::new(&text(&metadata["manifest_path"])).parent().unwrap().to_owned(),
        description: text(&metadata["description"]),
        dependencies: dependencies.iter().map(|d| (text(&d["name"]), text(&d["kind"]))).collect(),
    }
}

fn ours(name: &str) -> &str {
    name.strip_prefix("millstream-").unwrap_or(name)
}

fn is_layer(name: &str) -> bool {
    LAYERS.iter().any(|(layer, _)| *layer == ours(name) && (name == "millstream" || ours(name) != name))
}

#[test]
fn arrows_point_down() {
    for package in packages().iter().filter(|package| package.folder.starts_with(root().join("host"))) {
        let layer = LAYERS.iter().find(|(name, _)| *name == package.name);
        let (name, below) =
            layer.unwrap_or_else(|| panic!("{} is no layer; give it a place in LAYERS", package.name));
        let arrows = package.dependencies.iter().filter(|(other, kind)| is_layer(other) && kind != "dev");
        for (other, _) in arrows {
            assert!(below.contains(&ours(other)), "{name} may not depend on {other}");
        }
    }
}

#[test]
fn nothing_that_authors_use_knows_the_host() {
    let outside = |package: &&Package| {
        ["sdk", "plugins", "xtask"].iter().any(|f| package.folder.starts_with(root().join(f)))
    };
    for package in packages().iter().filter(outside) {
        for (other, _) in &package.dependencies {
            assert!(!is_layer(other), "{} may not depend on {other}", package.name);
        }
    }
}

#[test]
fn one_crate_knows_one_engine() {
    for package in &packages() {
        for (engine, owner) in ENGINES {
            let mut used = package.dependencies.iter().filter(|(other, _)| other.starts_with(engine));
            let first = used.next();
            assert!(
                first.is_none() || package.name == *owner,
                "{} uses {first:?}; only {owner} may",
                package.name
            );
        }
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for package in &packages() {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| package.folder.join(file));
        let text = roots.iter().find_map(|file| fs::read_to_string(file).ok()).expect("a crate has a root");
        assert!(text.starts_with("//! "), "the root of {} has no documentation", package.name);
        assert!(!package.description.is_empty(), "{} has no description", package.name);
    }
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for folder in CODE {
        each_file(&root().join(folder), &mut |path, text| {
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                long.push(format!("{} has {lines} lines", path.display()));
            }
        });
    }
    assert!(
        long.is_empty(),
        "a file has at most {FILE_LINES_MAX} lines; find the two ideas in it: {long:#?}"
    );
}

fn each_file(folder: &Path, see: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" {
            each_file(&path, see);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "wit") {
            see(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

//! A project in Rust: the template's files, and the SDK with the contract under `vendor/millstream-sdk`.

use std::path::{Path, PathBuf};

use super::ProjectFile;

/// What to do in a new project.
pub(super) const NEXT: &[&str] = &[
    "rustup target add wasm32-wasip2",
    "cargo build --release --target wasm32-wasip2",
    "cargo test",
    "millstream test pipeline.toml",
    "millstream run pipeline.toml --once",
];

/// Where the SDK goes.
const VENDOR: &str = "vendor/millstream-sdk";

/// The SDK's files, by their paths in its folder.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

macro_rules! template {
    ($path:literal, $file:literal) => {
        ($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/rust/template/", $file)))
    };
}

/// The project's own files. `{{name}}` in them is the project's name, `{{component}}` that of the file it builds.
const TEMPLATE: &[(&str, &str)] = &[
    template!("Cargo.toml", "manifest.toml"),
    template!("src/lib.rs", "lib.rs"),
    template!("pipeline.toml", "pipeline.toml"),
    template!("sample.txt", "sample.txt"),
    template!("README.md", "readme.md"),
    template!(".gitignore", "gitignore"),
    template!(".cargo/config.toml", "cargo-config.toml"),
];

/// The files of the project `name`.
pub(super) fn project(name: &str) -> Vec<ProjectFile> {
    let component = name.replace('-', "_");
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{component}}", &component);
    let own = TEMPLATE.iter().map(|(path, text)| ProjectFile { path: PathBuf::from(path), text: fill(text) });
    own.chain(SDK.iter().map(|(path, text)| vendored(path, text))).collect()
}

fn vendored(path: &str, text: &str) -> ProjectFile {
    let text = if path.ends_with("Cargo.toml") { standing_alone(text) } else { text.to_owned() };
    ProjectFile { path: Path::new(VENDOR).join(path), text }
}

/// The manifest without what it takes from the workspace around it, which are its lints, and what it says of that.
fn standing_alone(manifest: &str) -> String {
    let mut in_lints = false;
    let lines = manifest.lines().skip_while(|line| line.starts_with('#')).filter(|line| {
        if line.starts_with('[') {
            in_lints = *line == "[lints]";
        }
        !in_lints
    });
    lines.map(|line| format!("{line}\n")).collect()
}

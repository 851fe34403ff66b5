//! Collects the Rust SDK and the plugin contract into a table of files, `sdk.rs`, that `millstream new` writes out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The files of the SDK, in its folder, that a project needs to build.
const FILES: &[&str] = &["Cargo.toml", "README.md", "macros/Cargo.toml"];
/// Its folders, each with the ending of the files in it.
const FOLDERS: &[(&str, &str)] = &[("src", "rs"), ("macros/src", "rs"), ("wit", "wit")];

fn main() -> io::Result<()> {
    let sdk = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../../sdk/rust").canonicalize()?;
    let mut paths: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for (folder, ending) in FOLDERS {
        println!("cargo::rerun-if-changed={}", sdk.join(folder).display());
        collect(&sdk, Path::new(folder), ending, &mut paths)?;
    }
    paths.sort();
    let mut table = String::from("&[\n");
    for path in paths {
        let file = sdk.join(&path);
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(table, "    ({path:?}, include_str!({file:?})),").map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(Path::new(&variable("OUT_DIR")).join("sdk.rs"), table)
}

/// Adds the files under `folder` whose names end so.
fn collect(sdk: &Path, folder: &Path, ending: &str, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(sdk.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(sdk, &path, ending, paths)?;
        } else if path.extension().is_some_and(|extension| extension == ending) {
            paths.push(path);
        }
    }
    Ok(())
}

fn variable(name: &str) -> String {
    env::var(name).expect("cargo sets it for build scripts")
}

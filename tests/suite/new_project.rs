//! `millstream new`: what it writes builds, passes its tests, and runs, outside of this repository.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{command, root, stderr, stdout};

/// Builds in a folder of its own, kept from run to run.
fn cargo(project: &Path, arguments: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).arg("--target-dir").arg(target).current_dir(project).env_remove("CARGO_TARGET_DIR");
    cargo.output().unwrap()
}

#[test]
fn a_new_project_builds_passes_its_tests_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        command(&["new", "my-plugin", "--language", "rust"]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let project = folder.path().join("my-plugin");
    // The versions that this workspace has, so that nothing new is downloaded.
    std::fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    for arguments in [&["test"][..], &["build", "--release", "--target", "wasm32-wasip2"]] {
        let done = cargo(&project, arguments);
        assert!(done.status.success(), "{arguments:?}: {}{}", stdout(&done), stderr(&done));
    }
    let built =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project/wasm32-wasip2/release/my_plugin.wasm");
    let place = project.join("target/wasm32-wasip2/release/my_plugin.wasm");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::copy(built, place).unwrap();
    for arguments in [&["test", "pipeline.toml"][..], &["run", "pipeline.toml", "--once"]] {
        let done = command(arguments).current_dir(&project).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}{}", stdout(&done), stderr(&done));
        assert!(!done.stdout.is_empty());
    }
}

#[test]
fn a_folder_with_something_in_it_and_a_bad_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    std::fs::write(folder.path().join("taken/file"), "mine").unwrap();
    for name in ["taken", "no/name", "1st", "fn"] {
        let made = command(&["new", name, "--language", "rust"]).current_dir(folder.path()).output().unwrap();
        assert!(!made.status.success(), "{name}");
        assert!(stderr(&made).contains(name), "{name}: {}", stderr(&made));
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("taken/file")).unwrap(), "mine");
}

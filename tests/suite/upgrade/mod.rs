//! Other code for pipelines that run, through the real program.

mod applications;
mod crashes;
mod kept;
mod losses;
mod migrating;
mod migration;
mod mistakes;
mod probation;
mod refusals;
mod shadow;
mod takeovers;
mod windows;

use std::path::PathBuf;

use serde_json::Value;

use crate::crash::trial::Trial;
use crate::process::Process;
use crate::support::{Project, component, stdout};

/// Another version of a plugin of the workspace: the same code, and other bytes.
fn variant(project: &Project, name: &str, version: u8) -> PathBuf {
    let mut bytes = std::fs::read(component(name)).unwrap();
    // A custom section named "v", of one byte.
    bytes.extend([0, 3, 1, b'v', version]);
    let path = project.path(&format!("{name}-{version}.wasm"));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn upgrade_to(trial: &Trial, version: u8) -> Value {
    let path = variant(&trial.project, "hostile", version);
    let asked = trial.project.done("upgrade", &["--json", &format!("hostile={}", path.display())]);
    serde_json::from_str(&stdout(&asked)).unwrap()
}

/// Expects that something was told in all its parts.
fn tells(told: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| told.contains(part)), "{parts:?} in {told}");
}

/// The folders of states that there are.
fn generations(project: &Project) -> Vec<String> {
    let checkpoint = std::fs::read_dir(project.path("checkpoint")).unwrap();
    let names = checkpoint.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("state")).collect();
    names.sort();
    names
}

#[test]
fn swaps_under_load_lose_and_repeat_nothing() {
    let mut trial = Trial::new("", 2_000, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 1_000);
    let mut last = None;
    for swap in 0..24 {
        let report = upgrade_to(&trial, swap % 2);
        assert!(report["after"].as_i64() >= last, "{report}");
        assert_eq!(report["changes"].as_array().unwrap().len(), 1, "{report}");
        last = report["after"].as_i64();
        trial.wait_acknowledged(&process, 100);
    }
    trial.check();
    trial.stop(process);
    trial.finish();
}

#[test]
fn an_upgraded_pipeline_goes_on_with_its_version_until_its_files_change() {
    let mut trial = Trial::new("", 300, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    upgrade_to(&trial, 1);
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);

    let process = trial.start();
    process.wait_for("goes on with the version that it was upgraded to");
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);

    trial.change("attempts = 3");
    let process = trial.start();
    process.wait_for("is taken instead");
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);
    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    let log = trial.stop(process);
    assert!(!log.contains("upgraded"), "{log}");
    trial.finish();
}

#[test]
fn a_rollback_brings_the_version_before_back() {
    let mut trial = Trial::new("", 300, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    tells(&trial.project.refused("rollback", &[]), &["nothing to go back to"]);
    let up = upgrade_to(&trial, 1);
    trial.wait_acknowledged(&process, 300);
    let back = trial.project.done("rollback", &["--json"]);
    let back: Value = serde_json::from_str(&stdout(&back)).unwrap();
    let of = |report: &Value| report["changes"][0].as_str().unwrap().to_owned();
    let turned = |change: &str| {
        let words: Vec<&str> = change.split(' ').collect();
        format!("{} {} {} to {}", words[0], words[1], words[4], words[2])
    };
    assert_eq!(of(&back), turned(&of(&up)));
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_watched_pipeline_goes_on_with_each_version_of_its_files_that_works() {
    let mut trial = Trial::new("", 300, 0);
    let path = variant(&trial.project, "hostile", 1);
    let given = format!("--plugin=hostile={}", path.display());
    let process = Process::start(trial.command().args(["--watch", &given]));
    trial.wait_acknowledged(&process, 300);
    let name = path.file_name().unwrap().to_str().unwrap();
    trial.project.write(name, "no component");
    process.wait_for("have changed, and are not taken");
    trial.wait_acknowledged(&process, 300);
    trial.project.write(name, std::fs::read(component("hostile")).unwrap());
    process.wait_for("the files have changed: plugin hostile");
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);
    trial.finish();
}

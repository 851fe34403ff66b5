//! What goes wrong around an upgrade: what is asked of the wrong pipeline, files that are damaged, a program that is gone.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::losses::PIPELINE;
use super::variant;
use crate::process::{Process, send};
use crate::support::Project;

#[test]
fn what_is_allowed_to_a_pipeline_file_is_refused_and_in_no_later_upgrades_way() {
    let project = Project::new(PIPELINE);
    let process = Process::running(&project);
    let text = format!("text={}", variant(&project, "text", 1).display());
    let told = project.refused("upgrade", &[&text, "--allow", "network=127.0.0.1:9"]);
    assert!(told.contains("--allow"), "{told}");
    let other = Project::new(&PIPELINE.replace("from = \"words\"", "from = \"lines\""));
    project.done("upgrade", &[&text, "--file", other.path("pipeline.toml").to_str().unwrap()]);
    drop(process);
}

#[test]
fn a_pipeline_of_another_name_changes_nothing_of_the_one_that_runs_on_the_folder() {
    let project = Project::new(PIPELINE);
    let process = Process::running(&project);
    let text = format!("text={}", variant(&project, "text", 1).display());
    project.done("upgrade", &[&text]);
    project.write_pipeline(&PIPELINE.replace("name = \"losses\"", "name = \"another\""));
    let commands: [(&str, &[&str]); 2] = [("upgrade", &[&text]), ("rollback", &[])];
    for (command, arguments) in commands {
        let told = project.refused(command, arguments);
        assert!(told.contains("\"losses\"") && told.contains("\"another\""), "{told}");
    }
    drop(process);
}

#[test]
fn an_adopted_version_that_cannot_be_loaded_is_told_with_how_to_start_without_it() {
    let project = Project::new(PIPELINE);
    let process = Process::running(&project);
    project.done("upgrade", &[&format!("text={}", variant(&project, "text", 1).display())]);
    process.signal(Signal::TERM);
    process.end();
    let adopted = project.path("checkpoint/versions/adopted.json");
    let version: Value = serde_json::from_slice(&fs::read(&adopted).unwrap()).unwrap();
    let digest = version["version"]["plugins"]["text"].as_str().unwrap();
    project.write(&format!("checkpoint/versions/{digest}.wasm"), "damaged");
    let told = project.refused("run", &[]);
    assert!(told.contains(digest) && told.contains(adopted.to_str().unwrap()), "{told}");
    fs::write(&adopted, "{").unwrap();
    let told = project.refused("run", &[]);
    assert!(told.contains(adopted.to_str().unwrap()), "{told}");
    fs::remove_file(&adopted).unwrap();
    drop(Process::running(&project));
}

#[test]
fn files_that_are_written_again_as_they_were_are_no_failure_of_the_watch() {
    let project = Project::new("");
    project.write("text.wasm", fs::read(crate::support::component("text")).unwrap());
    project.write_pipeline(&PIPELINE.replace("{text}", "text.wasm"));
    let process = Process::start(&mut project.command("run", &["--watch"]));
    process.wait_for("losses runs");
    project.write("text.wasm", "no component");
    process.wait_for("are not taken");
    project.write("text.wasm", fs::read(crate::support::component("text")).unwrap());
    process.wait_for("are what runs");
    drop(process);
}

#[test]
fn a_supervised_pipeline_starts_again_after_another_program_was_put_in_place_of_its_own() {
    let project = Project::new(PIPELINE);
    let program = project.path("millstream");
    let built = env!("CARGO_BIN_EXE_millstream");
    // The same file under another name, where the file system can.
    fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
    let mut command = Command::new(&program);
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.arg("run").arg(project.path("pipeline.toml")).arg("--supervise");
    let supervisor = Process::start(&mut command);
    supervisor.wait_for("losses runs");
    project.write("next", "another program");
    fs::rename(project.path("next"), &program).unwrap();
    send(project.status()["pid"].as_u64().unwrap().try_into().unwrap(), Signal::KILL);
    supervisor.wait_for("starts again");
    crate::process::until("the pipeline that was started again", || {
        (supervisor.log().matches("losses runs").count() == 2).then_some(())
    });
    supervisor.signal(Signal::TERM);
    let (status, log) = supervisor.end();
    assert!(status.success(), "{log}");
}

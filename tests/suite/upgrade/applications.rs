//! Components that carry their pipeline, upgraded while they run.

use std::path::PathBuf;

use crate::applications::{COUNTS, FILES, application, arguments, bundle_as, checkpoint, on};
use crate::process::{Process, until};
use crate::support::{Project, command, component, stderr};

/// An application of which every row says this version.
fn version(project: &Project, name: &str) -> PathBuf {
    variant(project, name, &COUNTS.replace("VERSION", name))
}

fn variant(project: &Project, name: &str, text: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    bundle_as(project, &file, text, &component("text"));
    project.path(&file)
}

fn start(project: &Project, more: &[&str]) -> Process {
    let mut run = command(&[]);
    run.args(arguments(project, "run", FILES)).args(checkpoint(project)).args(more);
    let process = Process::start(&mut run);
    process.wait_for("counts runs");
    process
}

/// A command on the application that runs, which succeeds; or what it is refused by.
fn ask(project: &Project, name: &str, allowed: &[&str], more: &[&str]) -> Result<(), String> {
    let [flag, folder] = checkpoint(project);
    let asked = on(project, name, allowed, &[&[&*flag, &*folder], more].concat());
    match asked.status.code() {
        Some(0) => Ok(()),
        code => {
            assert_eq!(code, Some(78), "{}", stderr(&asked));
            Err(stderr(&asked))
        }
    }
}

fn upgrade(project: &Project, allowed: &[&str], file: &std::path::Path) -> Result<(), String> {
    ask(project, "upgrade", allowed, &["--file", file.to_str().unwrap()])
}

/// Lets a word come once more, and waits for the row that says so.
fn count(project: &Project, number: usize, version: &str, word: &str, count: i64) {
    project.write(&format!("in/{number}.txt"), format!("{word}\n"));
    let row = format!("{{\"version\":\"{version}\",\"word\":\"{word}\",\"count\":{count}}}");
    until(&row, || project.lines_so_far("out").contains(&row).then_some(()));
}

fn stop(project: &Project, process: Process) {
    ask(project, "stop", &[], &[]).unwrap();
    process.ended();
}

#[test]
fn an_application_is_upgraded_in_place_and_goes_back_and_keeps_its_states() {
    let project = application(&COUNTS.replace("VERSION", "one"));
    let process = start(&project, &[]);
    count(&project, 1, "one", "c", 1);
    let two = version(&project, "two");
    upgrade(&project, &[], &two).unwrap();
    count(&project, 2, "two", "c", 2);
    ask(&project, "rollback", &[], &[]).unwrap();
    count(&project, 3, "one", "c", 3);
    upgrade(&project, &[], &two).unwrap();
    stop(&project, process);
    std::fs::remove_file(two).unwrap();
    let process = start(&project, &[]);
    process.wait_for("goes on with the version that it was upgraded to");
    count(&project, 4, "two", "c", 4);
    stop(&project, process);
    // The operator's own file is another one by now.
    version(&project, "application");
    let process = start(&project, &[]);
    process.wait_for("is taken instead");
    count(&project, 5, "application", "c", 5);
    stop(&project, process);
}

#[test]
fn a_watched_application_goes_over_to_each_component_that_works() {
    let project = application(&COUNTS.replace("VERSION", "one"));
    let process = start(&project, &["--watch"]);
    count(&project, 1, "one", "c", 1);
    let take = |text: &str| {
        let staged = variant(&project, "staged", text);
        std::fs::rename(staged, project.path("application.wasm")).unwrap();
    };
    take(&COUNTS.replace("path = \"out\"", "path = \"elsewhere\""));
    process.wait_for("have changed, and are not taken");
    count(&project, 2, "one", "c", 2);
    take(&COUNTS.replace("VERSION", "two"));
    process.wait_for("the files have changed: ");
    count(&project, 3, "two", "c", 3);
    stop(&project, process);
}

#[test]
fn what_an_upgrade_allows_counts_for_those_after_it() {
    let project = application(&COUNTS.replace("VERSION", "one"));
    let mut process = start(&project, &[]);
    let more = "\n[sinks.more]\nfrom = \"marked\"\ntype = \"files\"\npath = \"more\"\n";
    let of = |name: &str| variant(&project, name, &format!("{}{more}", COUNTS.replace("VERSION", name)));
    let (two, three, four) = (of("two"), of("three"), of("four"));
    let told = upgrade(&project, &[], &two).unwrap_err();
    assert!(told.contains("--allow write=") && told.contains("two.wasm"), "{told}");
    upgrade(&project, &["write=more"], &two).unwrap();
    count(&project, 1, "two", "c", 1);
    upgrade(&project, &[], &three).unwrap();
    for number in [2, 3] {
        count(&project, number, "three", "c", number as i64);
        stop(&project, process);
        process = start(&project, &[]);
    }
    upgrade(&project, &[], &four).unwrap();
    stop(&project, process);
    assert!(!project.lines("more").is_empty());
}

//! Which versions are kept and shown while a pipeline runs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::losses::{COUNTS, RECENT, count_more, counted, edit};
use super::tells;
use crate::process::Process;
use crate::support::{Project, entries, stdout};

fn version(project: &Project) -> Value {
    project.status()["version"].clone()
}

/// The digests of the pipelines' texts that are kept.
fn texts(project: &Project) -> BTreeSet<String> {
    let kept = entries(&project.path("checkpoint/versions")).into_iter();
    let texts = kept.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    texts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_version_that_runs_is_shown_with_where_it_began_and_the_one_before() {
    let project = counted(&[COUNTS]);
    let first = version(&project)["runs"].clone();
    let process = Process::running(&project);
    let shown = version(&project);
    assert_eq!((&shown["runs"], &shown["after"], &shown["before"]), (&first, &Value::Null, &Value::Null));
    let file = edit(&project, &[COUNTS, RECENT]);
    let asked = project.done("upgrade", &["--json", "--file", &file]);
    let report: Value = serde_json::from_str(&stdout(&asked)).unwrap();
    let shown = version(&project);
    assert_ne!(shown["runs"]["pipeline"], first["pipeline"]);
    assert_eq!((&shown["runs"]["plugins"], &shown["before"]), (&first["plugins"], &first));
    assert_eq!(shown["after"], report["after"]);
    count_more(&project, 1, "one");
    process.stop_by_command(&project);
    assert_eq!(version(&project), shown, "also when it does not run");
    tells(&stdout(&project.run("status", &[])), &["version ", "after batch", "rollback to "]);
    let process = Process::running(&project);
    assert_eq!(version(&project), shown, "also after a restart");
    project.done("rollback", &["--drop-state", "recent"]);
    assert_eq!(version(&project)["before"], shown["runs"]);
    process.stop_by_command(&project);
}

#[test]
fn a_version_that_no_batch_needs_goes_while_the_pipeline_runs() {
    let project = counted(&[COUNTS]);
    let process = Process::running(&project);
    let first = texts(&project);
    let file = edit(&project, &[]);
    project.refused("upgrade", &["--file", &file]);
    assert_eq!(texts(&project), first, "nothing of what was refused");
    let file = edit(&project, &[COUNTS, RECENT]);
    project.done("upgrade", &["--file", &file]);
    let kept = texts(&project);
    assert!(kept.len() == 2 && kept.is_superset(&first), "{kept:?}");
    process.stop_by_command(&project);
}

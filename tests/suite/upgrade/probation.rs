//! Versions that fail in their first batches, and what comes of them.

use std::path::Path;
use std::sync::Arc;

use millstream_journal::Archive;
use millstream_platform::SystemDisk;
use serde_json::Value;

use super::tells;
use crate::crash::trial::Trial;
use crate::process::{Process, until};
use crate::support::{Project, stdout};

/// Records that come before the one which a version fails on: more than some batches have.
const BEFORE: u64 = 40_000;
/// What the log says of a version that has come back.
const BACK: &str = "goes on with the version before";

/// Upgrades to a version that fails on a record which comes some batches later. None comes while it is asked for.
pub(super) fn failing(trial: &Trial) {
    let but = trial.feed.hold() + BEFORE;
    let text = std::fs::read_to_string(trial.project.path("pipeline.toml")).unwrap();
    let text = text.replace("\"hostile.count\"", "\"hostile.count-but\"");
    let text = text.replace("[plugins.hostile]", &format!("[plugins.hostile]\nconfig = {{ but = {but} }}"));
    trial.project.write("failing.toml", text);
    let file = trial.project.path("failing.toml");
    // However small batches are, the record comes within them.
    trial.project.done("upgrade", &["--file", file.to_str().unwrap(), "--probation", "1000000"]);
    trial.feed.release();
}

/// The texts' digests of the versions that computed the batches which the checkpoint folder still knows of.
fn versions(checkpoint: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A segment may be removed while the process goes on.
    let open = || runtime.block_on(Archive::open(Arc::new(SystemDisk), checkpoint)).ok();
    let archive = until("a batch log that can be read", open);
    let of = |time| archive.batch(time).map(|(manifest, _)| manifest.version.pipeline.clone());
    archive.batches().filter_map(of).collect()
}

#[test]
fn a_version_that_traps_some_batches_later_is_taken_back_and_no_record_is_lost() {
    is_taken_back(Trial::new("", 300, 0));
}

#[test]
fn a_version_whose_batches_run_side_by_side_is_taken_back_and_no_record_is_lost() {
    is_taken_back(Trial::with_words("concurrent-batches = 3", 300));
}

fn is_taken_back(mut trial: Trial) {
    // All batches are kept, so that it is seen afterwards which version computed them.
    let text = std::fs::read_to_string(trial.project.path("pipeline.toml")).unwrap();
    trial.project.write("pipeline.toml", text.replace("history = \"64KiB\"", "history = \"64MiB\""));
    let process = trial.start();
    until("a batch", || (trial.batches() > 0).then_some(()));
    failing(&trial);
    process.wait_for(BACK);
    let status = trial.status();
    let reason = &status["status"]["taken-back"]["reason"];
    assert!(reason.as_str().is_some_and(|reason| reason.contains("hostile.count-but")), "{status}");
    assert!(status["status"]["probation"].is_null(), "{status}");
    tells(&stdout(&trial.project.run("status", &[])), &["TAKEN BACK", "hostile.count-but"]);
    let mut versions = versions(&trial.project.path("checkpoint"));
    versions.dedup();
    // One version, some batches of the other, and the one before.
    let [first, failed, back] = versions.as_slice() else { panic!("{versions:?}") };
    assert!(first == back && failed != back, "{versions:?}");
    trial.wait_acknowledged(&process, 300);
    tells(&trial.project.refused("rollback", &[]), &["nothing to go back to"]);
    // What runs is known: the other version is one that does not run.
    failing(&trial);
    until("another return", || (process.log().matches(BACK).count() == 2).then_some(()));
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);

    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    // The version before is the pipeline's own.
    trial.project.refused("rollback", &[]);
    trial.stop(process);
    trial.finish();
}

const PIPELINE: &str = r#"
name = "tried"
batch-interval = "50ms"
checkpoint = "checkpoint"

[plugins.hostile]
component = "{hostile}"

[sources.lines]
type = "files"
path = "in/*.txt"

[streams.words]
from = "lines"
map = "hostile.well"

[sinks.out]
from = "words"
type = "files"
path = "out"
format = "text"
"#;

#[test]
fn how_often_a_version_may_fail_is_said_by_its_file_and_by_the_operator() {
    let (taken_back, stays) = (true, false);
    let cases: [(&str, &[&str], bool); 6] = [
        ("", &[], taken_back),
        ("[upgrade]\nmax-failures = 1\n", &[], stays),
        ("[upgrade]\nprobation = 0\n", &[], stays),
        ("[upgrade]\nmax-failures = 1\n", &["--max-failures", "0"], taken_back),
        ("", &["--max-failures", "1"], stays),
        ("", &["--probation", "0"], stays),
    ];
    for (settings, options, is_taken_back) in cases {
        let project = Project::new(PIPELINE);
        project.write("in/a.txt", "a\n");
        let process = Process::start(&mut project.command("run", &[]));
        until("the first row", || (project.lines_so_far("out") == ["A"]).then_some(()));
        let text = std::fs::read_to_string(project.path("pipeline.toml")).unwrap();
        project.write("new.toml", text.replace("hostile.well", "hostile.trap-on") + settings);
        let file = project.path("new.toml");
        project.done("upgrade", &[&["--file", file.to_str().unwrap()], options].concat());
        project.write("in/b.txt", "poison\nb\n");
        let expected: &[&str] = if is_taken_back { &["A", "B", "POISON"] } else { &["A", "b"] };
        let rows = || {
            let mut rows = project.lines("out");
            rows.sort();
            rows
        };
        until("the rows of the right version", || (rows() == expected).then_some(()));
        let letters = usize::from(!is_taken_back);
        // Rows are seen before their batch is counted.
        let counted = |shown: &Value| shown["status"]["records"] == 3;
        let shown = until("the batch in the status", || Some(project.status()).filter(counted));
        assert_eq!(shown["status"]["dead-letters"], letters, "{settings:?} {options:?}: {shown}");
        assert_eq!(
            shown["status"]["taken-back"].is_null(),
            !is_taken_back,
            "{settings:?} {options:?}: {shown}"
        );
        process.stop();
    }
}

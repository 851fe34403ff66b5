//! Edits of a pipeline after which a stream's states would belong to nobody, or be read otherwise: they are dropped where an
//! operator says so, and else nothing is changed.

use serde_json::Value;

use super::tells;
use crate::process::{Process, until};
use crate::support::{Project, component, stderr, stdout};

/// Counts words of all time, how long they are, and words of the last hours.
pub(super) const PIPELINE: &str = r#"
name = "losses"
batch-interval = "50ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in/*.txt"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[sinks.words]
from = "words"
type = "files"
path = "words"
"#;
pub(super) const COUNTS: &str = r#"
[streams.counts]
from = "words"
update-state = { by = ["word"], function = "text.running-count" }
[sinks.counts]
from = "counts"
type = "files"
path = "counts"
"#;
pub(super) const RECENT: &str = r#"
[streams.recent]
from = "words"
aggregate = { by = ["word"], total = "count(*)", window = { length = "1000h" } }
[sinks.recent]
from = "recent"
type = "files"
path = "recent"
"#;
/// The same stream, whose states are by other keys.
const BY_LENGTH: &str = r#"
[streams.lengths]
sql = "SELECT length(word) AS length FROM words"
[streams.counts]
from = "lengths"
update-state = { by = ["length"], function = "text.running-count" }
[sinks.counts]
from = "counts"
type = "files"
path = "lengths"
"#;

pub(super) fn text(parts: &[&str]) -> String {
    parts.concat().replace("{text}", component("text").to_str().unwrap())
}

/// A pipeline of these parts that has counted "a" and "b".
pub(super) fn counted(parts: &[&str]) -> Project {
    let project = Project::new(&text(&[&[PIPELINE], parts].concat()));
    project.write("in/0.txt", "a b a\n");
    project.run_once();
    project
}

/// The state of a key; none, where the stream keeps none at all.
fn state(project: &Project, stream: &str, key: &str) -> Option<i64> {
    let shown = project.run("state", &[stream, "--key", key, "--json"]);
    let row: Value = serde_json::from_str(stdout(&shown).lines().next()?).unwrap();
    row["state"].as_i64()
}

/// The file of a pipeline of these parts, which takes the place of the one that runs.
pub(super) fn edit(project: &Project, parts: &[&str]) -> String {
    project.write("new.toml", text(&[&[PIPELINE], parts].concat()));
    project.path("new.toml").to_str().unwrap().to_owned()
}

/// Lets another file be counted by the pipeline that runs.
pub(super) fn count_more(project: &Project, number: usize, words: &str) {
    project.write(&format!("in/{number}.txt"), format!("{words}\n"));
    let done = words.split(' ').next_back().unwrap();
    let is_done = |line: &String| line.contains(done);
    until("the words of the file", || project.lines_so_far("words").iter().any(is_done).then_some(()));
}

#[test]
fn an_edit_that_would_lose_states_is_refused_until_they_may_be_dropped() {
    let project = counted(&[COUNTS, RECENT]);
    let process = Process::running(&project);
    let file = edit(&project, &[RECENT]);
    let told = project.refused("upgrade", &["--file", &file]);
    tells(&told, &["\"counts\"", "2 keys", "--drop-state counts"]);
    let file = edit(&project, &[]);
    let told = project.refused("upgrade", &["--file", &file, "--drop-state", "counts"]);
    tells(&told, &["\"recent\"", "the rows of 1 batch", "--drop-state recent"]);
    let file = edit(&project, &[BY_LENGTH, RECENT]);
    let told = project.refused("upgrade", &["--file", &file]);
    tells(&told, &["word: utf8", "length: int64", "--drop-state counts"]);
    let told = project.refused("upgrade", &["--file", &file, "--drop-state", "cuonts"]);
    tells(&told, &["\"counts\"", "--drop-state counts"]);
    let file = edit(&project, &[COUNTS, RECENT, "[streams.again]\nsql = \"SELECT * FROM counts\"\n"]);
    for (name, part) in
        [("cuonts", "there are states of counts, recent"), ("counts", "goes on with that state")]
    {
        tells(&project.refused("upgrade", &["--file", &file, "--drop-state", name]), &[part]);
    }
    count_more(&project, 1, "a one");
    process.stop_by_command(&project);
    assert_eq!(state(&project, "counts", "a"), Some(3));
}

#[test]
fn what_an_edit_drops_is_gone_with_the_next_batch_and_stays_gone() {
    let project = counted(&[COUNTS, RECENT]);
    let process = Process::running(&project);
    let file = edit(&project, &[BY_LENGTH, RECENT]);
    project.done("upgrade", &["--file", &file, "--drop-state", "counts"]);
    count_more(&project, 1, "aa bb one");
    until("the new states", || state(&project, "counts", "length=2").filter(|count| *count == 2));
    let file = edit(&project, &[]);
    project.done("upgrade", &["--file", &file, "--drop-state", "counts", "--drop-state", "recent"]);
    count_more(&project, 2, "two");
    process.stop_by_command(&project);
    let told = stderr(&project.run("state", &["counts"]));
    tells(&told, &["no stream does"]);
    // It goes on with that version, and may go back to the one before, whose states begin anew.
    let process = Process::running(&project);
    process.wait_for("goes on with the version that it was upgraded to");
    project.done("rollback", &[]);
    count_more(&project, 3, "aa three");
    until("the new states", || state(&project, "counts", "length=2").filter(|count| *count == 1));
    let told = project.refused("rollback", &[]);
    tells(&told, &["\"counts\"", "--drop-state counts"]);
    project.done("rollback", &["--drop-state", "counts", "--drop-state", "recent"]);
    process.stop_by_command(&project);
}

#[test]
fn a_start_with_an_edited_file_is_refused_before_anything_is_done() {
    let project = counted(&[COUNTS]);
    project.write("in/1.txt", "a\n");
    let begun = project.command("run", &["--once"]).env("MILLSTREAM_CRASH_AT", "manifest-written:1").output();
    assert!(!begun.unwrap().status.success());
    project.write_pipeline(&text(&[PIPELINE, RECENT]));
    for arguments in [&["--once"] as &[&str], &["--once", "--drop-state", "cuonts"]] {
        let told = project.refused("run", arguments);
        tells(&told, &["\"counts\"", "2 keys", "--drop-state counts"]);
        assert_eq!(told.contains("there are states of counts"), arguments.len() > 1, "{told}");
        assert_eq!(state(&project, "counts", "a"), Some(2), "the batch that was begun waits");
    }
    // The version before ends the batch that it began. A second start has nothing to drop any more.
    let lines = project.lines("counts").len();
    project.done("run", &["--once", "--drop-state", "counts"]);
    assert_eq!(project.lines("counts").len(), lines + 1);
    assert_eq!(state(&project, "counts", "a"), None);
    project.done("run", &["--once", "--drop-state", "counts"]);
    project.run_once();
}

#[test]
fn a_start_that_is_refused_leaves_the_version_that_was_adopted() {
    let project = counted(&[COUNTS]);
    let process = Process::running(&project);
    let file = edit(&project, &[COUNTS, RECENT]);
    project.done("upgrade", &["--file", &file]);
    process.stop_by_command(&project);
    project.write_pipeline(&text(&[PIPELINE]));
    tells(&project.refused("run", &["--once"]), &["--drop-state counts"]);
    project.write_pipeline(&text(&[PIPELINE, COUNTS]));
    tells(&project.run_once(), &["goes on with the version that it was upgraded to"]);
}

#[test]
fn what_was_dropped_is_there_until_a_batch_is_committed() {
    for parts in [&[] as &[&str], &[RECENT], &[BY_LENGTH]] {
        let project = counted(&[COUNTS]);
        for point in ["upgrade-adopted", "upgraded"] {
            let process = Process::start(project.command("run", &[]).env("MILLSTREAM_CRASH_AT", point));
            process.wait_for("losses runs");
            let file = edit(&project, parts);
            let asked = project.run("upgrade", &["--file", &file, "--drop-state", "counts"]);
            assert!(!asked.status.success());
            process.killed_at(point);
            assert_eq!(state(&project, "counts", "a"), Some(2), "{parts:?} {point}");
            // As if there had been no upgrade.
            std::fs::remove_file(project.path("checkpoint/versions/adopted.json")).unwrap();
            project.run_once();
        }
        let process = Process::start(project.command("run", &[]).env("MILLSTREAM_CRASH_AT", "upgraded"));
        process.wait_for("losses runs");
        let file = edit(&project, parts);
        assert!(!project.run("upgrade", &["--file", &file, "--drop-state", "counts"]).status.success());
        process.killed_at("upgraded");
        let told = project.run_once();
        tells(&told, &["goes on with the version that it was upgraded to"]);
        assert_eq!(state(&project, "counts", "a"), None, "{parts:?}");
    }
}

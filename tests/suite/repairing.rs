//! `millstream repair` beside the journal: outboxes and states are looked at, and never changed.

use std::path::Path;

use serde_json::Value;

use crate::support::{Project, entries, stderr, stdout};

/// A sink that takes nothing, so that its first batch stays in the outbox.
const REFUSED: &str = r#"
name = "refused"
batch-interval = "50ms"
checkpoint = "checkpoint"
[plugins.outside]
component = "{outside}"
grant = { network = ["127.0.0.1:9"], write = ["saved"] }
config = { address = "127.0.0.1:9", folder = "saved", until = 0 }
[sources.words]
type = "files"
path = "in"
[sinks.server]
from = "words"
plugin = "outside.refuse"
"#;

const STATES: &str = r#"
name = "states"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.rows]
type = "files"
path = "in"
format = "json"
schema = { word = "utf8" }
[streams.known]
sql = "SELECT coalesce(word, '') AS word FROM rows"
[streams.counts]
from = "known"
update-state = { by = ["word"], function = "text.running-count" }
[sinks.counts]
from = "counts"
type = "files"
path = "out"
"#;

/// What `repair` finds beside the journal, whether it is content, and what it says to people.
fn repair(project: &Project) -> (Vec<Value>, bool, String) {
    let (text, object) = (project.run("repair", &[]), project.run("repair", &["--json"]));
    assert_eq!(text.status.code(), object.status.code());
    let report: Value = serde_json::from_str(&stdout(&object)).unwrap();
    assert_eq!(report["verdict"], "whole", "{report}");
    (report["beside"].as_array().unwrap().clone(), text.status.success(), stdout(&text))
}

fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_batch_that_waits_for_its_sink_is_found_whole_or_damaged() {
    let project = Project::new(REFUSED);
    project.write("saved/.keep", "");
    project.write("in/a.txt", "a\nb\n");
    assert_eq!(project.run("run", &["--once"]).status.code(), Some(1));
    let files = entries(&project.path("checkpoint/outbox/server"));
    let file = files[0].to_str().unwrap();
    let (found, is_content, told) = repair(&project);
    assert!(is_content && told.contains(file) && told.contains("next start"), "{told}");
    assert_eq!((&found[0]["damage"], &found[0]["needed"]), (&Value::Null, &Value::Bool(true)));
    spoil(&files[0]);
    let (found, is_content, told) = repair(&project);
    assert!(!is_content && told.contains("DAMAGED") && told.contains("from a copy"), "{told}");
    assert!(found[0]["damage"].is_string() && found[0]["file"] == file, "{found:?}");
    let ran = project.run("run", &["--once"]);
    assert!(!ran.status.success() && stderr(&ran).contains(file), "{}", stderr(&ran));
    std::fs::remove_file(&files[0]).unwrap();
    assert!(repair(&project).1, "without it, the sink is never given the batch");
}

#[test]
fn states_are_found_whole_or_damaged() {
    let project = Project::new(STATES);
    project.write("in/1.json", "{\"word\":\"a\"}\n{\"word\":\"b\"}\n");
    project.run_once();
    let (found, is_content, _) = repair(&project);
    assert!(is_content && found.iter().all(|finding| finding["damage"].is_null()), "{found:?}");
    let files = entries(&project.path("checkpoint/state"));
    let log = files.iter().find(|file| file.extension().is_some_and(|ending| ending == "state")).unwrap();
    spoil(log);
    let (found, is_content, told) = repair(&project);
    assert!(!is_content && told.contains("from a copy"), "{told}");
    assert_eq!(found.last().unwrap()["file"], log.to_str().unwrap(), "{found:?}");
}

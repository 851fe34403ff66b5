//! Grants from the pipeline file to the manifest: what is not granted is refused before anything runs, and what a batch
//! was granted is known afterwards.

use crate::support::{Project, component, millstream, stderr, stdout};

const PIPELINE: &str = r#"
name = "reach"
batch-interval = "100ms"
checkpoint = "checkpoint"

[plugins.reach]
component = "{reach}"
grant = { GRANTED }

[sources.rows]
type = "files"
path = "rows.txt"
format = "lines"

[streams.outcomes]
from = "rows"
map = "reach.reach"

[sinks.outcomes]
from = "outcomes"
type = "files"
path = "outcomes"
format = "text"
"#;

fn project(granted: &str) -> Project {
    let project = Project::new(&PIPELINE.replace("GRANTED", granted));
    let note = project.path("notes/note");
    project.write("rows.txt", format!("environment REACH\nread {}\n", note.display()));
    project.write("notes/note", "a note");
    project
}

#[test]
fn a_pipeline_that_does_not_grant_what_a_plugin_needs_is_refused() {
    let project = project("read = [\"notes\"]");
    for command in ["check", "run"] {
        let refused = project.run(command, &[]);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{said}");
        for expected in ["pipeline.toml:6:10", "grant = { environment = [\"REACH\"] }", "grant = { http = ["]
        {
            assert!(said.contains(expected), "{expected} in {said}");
        }
    }
    assert!(!project.path("checkpoint").exists(), "nothing ran");
}

#[test]
fn a_replay_tells_what_the_batch_was_granted() {
    let project = project("read = [\"notes\"], environment = [\"REACH\"], http = [\"api.example.com\"]");
    let ran = project.command("run", &["--once"]).env("REACH", "far").output().unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
    let mut lines = project.lines("outcomes");
    lines.sort();
    assert_eq!(lines, ["ok a note", "ok far"]);
    let batches = crate::support::entries(&project.path("outcomes"));
    let name = batches[0].file_name().unwrap().to_str().unwrap();
    let time = name.split_once('=').map_or(name, |(_, time)| time);
    let replayed =
        project.command("replay", &["--batch", time, "--json"]).env("REACH", "far").output().unwrap();
    let said: serde_json::Value = serde_json::from_str(&stdout(&replayed))
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&replayed), stderr(&replayed)));
    let notes = std::path::absolute(project.path("notes")).unwrap();
    let granted = serde_json::json!({
        "environment": ["REACH"], "http": ["api.example.com"], "read": [notes.to_str().unwrap()],
    });
    assert_eq!(said["grants"]["reach"], granted);
    let text = project.command("replay", &["--batch", time]).env("REACH", "far").output().unwrap();
    assert!(stdout(&text).contains("plugin reach was granted "), "{}", stdout(&text));
}

#[test]
fn inspect_shows_needs_and_imports_by_what_they_mean() {
    let path = component("reach");
    let shown = stdout(&millstream(&["inspect", path.to_str().unwrap()]));
    let expected = [
        "needs\n  environment  REACH\n  http  its import wasi:http/outgoing-handler@",
        "  http: granted by http = [\"api.example.com\"]; denied otherwise\n    wasi:http/",
        "  network: granted by ",
        "  folders: granted by ",
    ];
    for expected in expected {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    let json = millstream(&["inspect", path.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["needs"][0], serde_json::json!({ "grant": "environment", "what": "REACH" }));
    let text = component("text");
    let shown = stdout(&millstream(&["inspect", text.to_str().unwrap()]));
    assert!(!shown.contains("wasi:http"), "what uses no HTTP imports none: {shown}");
}

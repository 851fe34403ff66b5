//! `replay`: batches of the past, run again.

use crate::support::{Project, component, entries, stderr, stdout};

const PIPELINE: &str = r#"
name = "past"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "plugin.wasm"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
sql = "QUERY"
[sinks.out]
from = "totals"
type = "files"
path = "out"
"#;

/// A pipeline that has run two batches.
fn project(query: &str) -> Project {
    project_of(&PIPELINE.replace("QUERY", query))
}

fn project_of(pipeline: &str) -> Project {
    let project = Project::new(pipeline);
    project.write("plugin.wasm", std::fs::read(component("text")).unwrap());
    for text in ["a b a\n", "c\n"] {
        project.write(&format!("in/{}.txt", text.len()), text);
        project.run_once();
    }
    project
}

/// The times of the batches that are visible.
fn times(project: &Project) -> Vec<String> {
    let name = |folder: &std::path::PathBuf| folder.file_name().unwrap().to_str().unwrap().to_owned();
    entries(&project.path("out")).iter().map(name).collect()
}

#[test]
fn batches_of_the_past_give_the_same_rows_though_the_files_of_then_are_gone() {
    let project = project("SELECT word, count(*) AS total, batch_time() AS at FROM words GROUP BY word");
    let other = project.path("pipeline.toml");
    let text = std::fs::read_to_string(&other).unwrap();
    std::fs::write(&other, text.replace("text.split-words", "text.count")).unwrap();
    std::fs::copy(component("hostile"), project.path("plugin.wasm")).unwrap();
    for (time, records) in times(&project).iter().zip([1, 1]) {
        let replayed = project.done("replay", &["--batch", time, "--json"]);
        let outcome: serde_json::Value = serde_json::from_str(&stdout(&replayed)).unwrap();
        assert_eq!((&outcome["equal"], &outcome["records"]), (&true.into(), &records.into()), "{outcome}");
        let replayed = project.run("replay", &["--batch", time]);
        assert!(stdout(&replayed).contains("as then"), "{}", stdout(&replayed));
    }
    assert_eq!(times(&project).len(), 2, "a replay writes nothing");
}

#[test]
fn a_batch_that_depends_on_the_machine_gives_other_rows_and_that_is_told() {
    let moments = PIPELINE.replace("sql = \"QUERY\"", "from = \"lines\"\nmap = \"hostile.moment\"");
    let hostile = "[plugins.hostile]\ncomponent = \"{hostile}\"\n[sources.lines]";
    let project = project_of(&moments.replace("[sources.lines]", hostile));
    let time = &times(&project)[0];
    let replayed = project.run("replay", &["--batch", time]);
    assert_eq!(replayed.status.code(), Some(1), "{}", stdout(&replayed));
    assert!(stdout(&replayed).contains("DIFFERENT"), "{}", stdout(&replayed));
    assert!(stderr(&replayed).contains(time), "{}", stderr(&replayed));
}

#[test]
fn a_batch_that_there_never_was_is_refused_with_those_there_are() {
    let project = project("SELECT word FROM words");
    let told = project.refused("replay", &["--batch", "12345"]);
    assert!(told.contains("12345") && times(&project).iter().all(|time| told.contains(time)), "{told}");
}

#[test]
fn a_batch_that_was_begun_with_a_component_is_finished_with_no_other() {
    let project = project("SELECT word FROM words");
    project.write("in/begun.txt", "d\n");
    let begun = project.command("run", &["--once"]).env("MILLSTREAM_CRASH_AT", "manifest-written:1").output();
    assert!(!begun.unwrap().status.success(), "the process was to end in the middle of a batch");
    // Another version, so that the one that began the batch is loaded from where it is kept.
    let text = std::fs::read_to_string(project.path("pipeline.toml")).unwrap();
    project.write("pipeline.toml", text.replace("SELECT word", "SELECT upper(word) AS word"));
    let versions = entries(&project.path("checkpoint/versions"));
    let kept = versions.iter().find(|path| path.extension().is_some_and(|ending| ending == "wasm")).unwrap();
    let good = std::fs::read(kept).unwrap();
    for (case, bytes) in [
        ("another component", std::fs::read(component("hostile")).unwrap()),
        ("one that was changed", [good.as_slice(), b"\0"].concat()),
    ] {
        std::fs::write(kept, bytes).unwrap();
        let told = project.refused("run", &["--once"]);
        let name = kept.file_name().unwrap().to_str().unwrap();
        assert!(told.contains(name) && told.contains("is not what its name says"), "{case}: {told}");
        assert_eq!(times(&project).len(), 2, "{case}: nothing comes of the batch");
    }
    std::fs::write(kept, good).unwrap();
    project.run_once();
    assert!(project.lines("out").contains(&"{\"word\":\"d\"}".to_owned()), "{:?}", project.lines("out"));
}

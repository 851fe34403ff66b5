//! What is not taken, and what an operator is told: the pipeline goes on as it was.

use crate::process::Process;
use crate::support::{Project, component, stderr};

const PIPELINE: &str = r#"
name = "refusing"
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

[streams.counts]
from = "words"
aggregate = { by = ["word"], total = "count(*)", window = { length = "1000h" } }

[sinks.out]
from = "words"
type = "files"
path = "out"
format = "text"
[sinks.counts]
from = "counts"
type = "files"
path = "counts"
"#;

/// A running pipeline that is asked for something, and what it answers.
fn refused(project: &Project, arguments: &[&str]) -> String {
    let asked = project.run("upgrade", arguments);
    assert_eq!(asked.status.code(), Some(78), "{arguments:?}: {}", stderr(&asked));
    stderr(&asked)
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let project = Project::new(PIPELINE);
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("refusing runs");
    project.write("garbage.wasm", "no component");
    let of = |name: &str| format!("text={}", component(name).display());
    let garbage = format!("text={}", project.path("garbage.wasm").display());
    let cases: [(&[&str], &[&str]); 5] = [
        (&[&of("bare")], &["split-words"]),
        (&[&garbage], &["text", "garbage.wasm"]),
        (&["words=./words.wasm"], &["no plugin \"words\""]),
        (&["--file", "/nowhere/pipeline.toml"], &["/nowhere/pipeline.toml"]),
        (&[&of("text")], &["runs this already"]),
    ];
    for (arguments, told) in cases {
        let answer = refused(&project, arguments);
        assert!(told.iter().all(|told| answer.contains(told)), "{arguments:?}: {answer}");
    }
    project.write("in/a.txt", "a b\n");
    crate::process::until("the words of the file", || {
        let lines = std::fs::read_dir(project.path("out")).is_ok().then(|| project.lines("out"));
        lines.filter(|lines| lines == &["a", "b"])
    });
    drop(process);
}

#[test]
fn a_component_that_asks_for_more_is_refused_until_that_is_allowed() {
    let project = Project::new(PIPELINE);
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("refusing runs");
    let granted = "grant = { environment = [\"REACH\"], http = [\"127.0.0.1\"] }";
    let more = format!("\n[plugins.reach]\ncomponent = \"{{reach}}\"\n{granted}\n");
    let text = format!("{PIPELINE}{more}");
    let other = Project::new(&text);
    let file = other.path("pipeline.toml");
    let mut arguments = vec!["--file", file.to_str().unwrap()];
    for (what, import) in [("folders", "wasi:filesystem/"), ("network", "wasi:sockets/")] {
        let answer = refused(&project, &arguments);
        let told = ["\"reach\"", import, &format!("--allow-import {what}")];
        assert!(told.iter().all(|told| answer.contains(told)), "{what}: {answer}");
        arguments.extend(["--allow-import", what]);
    }
    let allowed = project.run("upgrade", &arguments);
    assert!(allowed.status.success(), "{}", stderr(&allowed));
    drop(process);
}

#[test]
fn settings_of_the_whole_pipeline_take_a_restart() {
    let project = Project::new(PIPELINE);
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("refusing runs");
    let other = Project::new(&PIPELINE.replace("50ms", "1s"));
    let answer = refused(&project, &["--file", other.path("pipeline.toml").to_str().unwrap()]);
    assert!(answer.contains("`batch-interval`") && answer.contains("restart"), "{answer}");
    drop(process);
}

#[test]
fn settings_that_a_plugin_refuses_are_refused_by_an_upgrade_too() {
    let project = Project::new(PIPELINE);
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("refusing runs");
    let posting = r#"
[plugins.http-post]
component = "{http-post}"
config = { url = "ftp://127.0.0.1/", name = "refusing" }
[sinks.posted]
from = "words"
plugin = "http-post.post"
"#;
    let other = Project::new(&format!("{PIPELINE}{posting}"));
    let answer = refused(&project, &["--file", other.path("pipeline.toml").to_str().unwrap()]);
    let told = ["http-post", "`url`", "ftp://127.0.0.1/", "http://"];
    assert!(told.iter().all(|told| answer.contains(told)), "{answer}");
    drop(process);
}

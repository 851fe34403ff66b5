//! What is not taken, and what an operator is told: the pipeline goes on as it was.

use super::losses::{PIPELINE, RECENT, count_more, text};
use super::tells;
use crate::process::Process;
use crate::support::{Project, component};

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let project = Project::new(&text(&[PIPELINE, RECENT]));
    let process = Process::running(&project);
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
        tells(&project.refused("upgrade", arguments), told);
    }
    count_more(&project, 1, "a b");
    assert_eq!(project.lines("words"), ["{\"word\":\"a\"}", "{\"word\":\"b\"}"]);
    drop(process);
}

#[test]
fn a_component_that_asks_for_more_is_refused_until_that_is_allowed() {
    let project = Project::new(&text(&[PIPELINE, RECENT]));
    let process = Process::running(&project);
    let granted = "grant = { environment = [\"REACH\"], http = [\"127.0.0.1\"] }";
    let more = format!("\n[plugins.reach]\ncomponent = \"{{reach}}\"\n{granted}\n");
    let other = Project::new(&text(&[PIPELINE, RECENT, &more]));
    let file = other.path("pipeline.toml");
    let mut arguments = vec!["--file", file.to_str().unwrap()];
    for (what, import) in [("folders", "wasi:filesystem/"), ("network", "wasi:sockets/")] {
        let told = project.refused("upgrade", &arguments);
        tells(&told, &["\"reach\"", import, &format!("--allow-import {what}")]);
        arguments.extend(["--allow-import", what]);
    }
    project.done("upgrade", &arguments);
    drop(process);
}

#[test]
fn settings_of_the_whole_pipeline_take_a_restart() {
    let project = Project::new(&text(&[PIPELINE, RECENT]));
    let process = Process::running(&project);
    let other = Project::new(&text(&[PIPELINE, RECENT]).replace("50ms", "1s"));
    let told = project.refused("upgrade", &["--file", other.path("pipeline.toml").to_str().unwrap()]);
    tells(&told, &["`batch-interval`", "restart"]);
    drop(process);
}

#[test]
fn settings_that_a_plugin_refuses_are_refused_by_an_upgrade_too() {
    let project = Project::new(&text(&[PIPELINE, RECENT]));
    let process = Process::running(&project);
    let posting = r#"
[plugins.http-post]
component = "{http-post}"
config = { url = "ftp://127.0.0.1/", name = "refusing" }
[sinks.posted]
from = "words"
plugin = "http-post.post"
"#;
    let other = Project::new(&text(&[PIPELINE, RECENT, posting]));
    let told = project.refused("upgrade", &["--file", other.path("pipeline.toml").to_str().unwrap()]);
    tells(&told, &["http-post", "`url`", "ftp://127.0.0.1/", "http://"]);
    drop(process);
}

//! Components that carry their pipeline: run, restarted, upgraded in place, and refused what is not allowed.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use millstream_pipeline::Text;
use millstream_sdk::application::{pipeline, table};

use crate::process::{Process, until};
use crate::support::{Project, component, entries, millstream, stderr, stdout};

/// Counts words of files, and of all time.
pub(crate) const COUNTS: &str = r#"
name = "counts"
batch-interval = "100ms"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "self.split-words"
[streams.ever]
from = "words"
update-state = { by = ["word"], function = "self.running-count" }
[streams.marked]
sql = "SELECT 'VERSION' AS version, word, count FROM ever"
[sinks.out]
from = "marked"
type = "files"
path = "out"
"#;

/// A folder with `application.wasm` in it, which carries the text.
pub(crate) fn application(text: &str) -> Project {
    let project = Project::new("");
    project.write("in/0.txt", "a b a\n");
    bundle(&project, text, &component("text"));
    project
}

fn bundle(project: &Project, text: &str, component: &Path) {
    bundle_as(project, "application.wasm", text, component);
}

pub(crate) fn bundle_as(project: &Project, name: &str, text: &str, component: &Path) {
    project.write_pipeline(text);
    let output = project.path(name);
    project.done("bundle", &[component.to_str().unwrap(), "--output", output.to_str().unwrap()]);
    std::fs::remove_file(project.path("pipeline.toml")).unwrap();
}

/// The arguments of a command on the application, which may use `allowed` of its own folder.
pub(crate) fn arguments(project: &Project, command: &str, allowed: &[&str]) -> Vec<String> {
    let folder = project.path("");
    let allow = allowed.iter().map(|allowed| {
        let (kind, name) = allowed.split_once('=').unwrap_or((allowed, ""));
        let value = if name.contains(':') { name.to_owned() } else { format!("{}{name}", folder.display()) };
        if name.is_empty() { kind.to_owned() } else { format!("{kind}={value}") }
    });
    let mut arguments = vec![command.to_owned(), format!("{}application.wasm", folder.display())];
    arguments.extend(allow.flat_map(|allow| ["--allow".to_owned(), allow]));
    arguments
}

pub(crate) fn on(project: &Project, command: &str, allowed: &[&str], more: &[&str]) -> Output {
    let arguments = arguments(project, command, allowed);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    millstream(&arguments)
}

pub(crate) const FILES: &[&str] = &["read=in", "write=out"];

pub(crate) fn checkpoint(project: &Project) -> [String; 2] {
    ["--checkpoint".to_owned(), project.path("checkpoint").to_str().unwrap().to_owned()]
}

/// Runs all that is there, and gives the lines of all batches.
fn run_once(project: &Project) -> Vec<String> {
    let [flag, folder] = checkpoint(project);
    let ran = on(project, "run", FILES, &[&flag, &folder, "--once"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    project.lines("out")
}

#[test]
fn the_example_passes_its_tests_and_is_shown_whole() {
    let path = component("word-count");
    let path = path.to_str().unwrap();
    let allowed = ["--allow", "network=127.0.0.1:9999", "--checkpoint", "nowhere"];
    let tested = millstream(&[["test", path].as_slice(), &allowed].concat());
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
    assert!(stdout(&tested).contains("1 passed, 0 failed"));
    let shown = stdout(&millstream(&["inspect", path]));
    for expected in [
        "pipeline (as the component says)\n  name = \"millstream-word-count\"\n",
        "  flat-map = \"self.split-words\"\n",
        "  --allow network=127.0.0.1:9999  source \"lines\" connects to it\n",
        "word-count.checkpoint  the checkpoint is there\n",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&millstream(&["inspect", path, "--json"]))).unwrap();
    assert_eq!(json["pipeline"]["wants"][1]["value"], "127.0.0.1:9999");
}

#[test]
fn an_application_counts_what_a_socket_sends_and_goes_on_after_a_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // The text of the builder, with an address that is free; a section goes before what the component says.
    let shown = millstream(&["inspect", component("word-count").to_str().unwrap(), "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let text = shown["pipeline"]["text"].as_str().unwrap();
    let text = text.replace("127.0.0.1:9999", &address).replace("\"1s\"", "\"50ms\"");
    let project = Project::new("");
    bundle(&project, &text, &component("word-count"));
    let checkpoint = checkpoint(&project);
    for (run, expected) in [(1, "\"total\":2"), (2, "\"total\":4")] {
        let mut command = crate::support::command(&[]);
        command.args(arguments(&project, "run", &[&format!("network={address}")]));
        let process = Process::start(command.args(&checkpoint));
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"a b a\n").unwrap();
        let [flag, folder] = &checkpoint;
        until("the line is counted", || {
            let status = on(&project, "status", &[], &[flag, folder, "--json"]);
            let status: serde_json::Value = serde_json::from_str(&stdout(&status)).ok()?;
            (status["status"]["records"].as_u64()? == run).then_some(())
        });
        let stopped = on(&project, "stop", &[], &[flag, folder]);
        assert!(stopped.status.success(), "{}", stderr(&stopped));
        process.ended();
        let kept = on(&project, "state", &[], &["ever", "--key", "a", "--json", flag, folder]);
        let kept = stdout(&kept).replace("state", "total");
        assert!(kept.contains(expected), "{expected} in {kept}");
    }
}

#[test]
fn a_batch_that_one_version_began_is_finished_by_it_though_its_file_is_gone() {
    let project = application(&COUNTS.replace("VERSION", "one"));
    assert_eq!(run_once(&project).len(), 2);
    project.write("in/1.txt", "c\n");
    let mut begun = crate::support::command(&[]);
    begun.args(arguments(&project, "run", FILES)).args(checkpoint(&project)).arg("--once");
    let begun = begun.env("MILLSTREAM_CRASH_AT", "manifest-written:1").output().unwrap();
    assert!(!begun.status.success(), "the process was to end in the middle of a batch");
    // The new version is another file in the place of the old one, which nothing but the checkpoint has any more.
    bundle(&project, &COUNTS.replace("VERSION", "two"), &component("text"));
    project.write("in/2.txt", "a\n");
    let lines = run_once(&project);
    for expected in [
        r#"{"version":"one","word":"a","count":2}"#,
        r#"{"version":"one","word":"b","count":1}"#,
        r#"{"version":"one","word":"c","count":1}"#,
        r#"{"version":"two","word":"a","count":3}"#,
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:?}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_batch_of_a_version_that_is_gone_is_run_again() {
    let start = COUNTS.find("[streams.ever]").unwrap();
    let end = COUNTS.find("[streams.marked]").unwrap();
    let stateless =
        [&COUNTS[..start], &COUNTS[end..]].concat().replace("word, count FROM ever", "word FROM words");
    let project = application(&stateless);
    assert_eq!(run_once(&project).len(), 3);
    bundle(&project, &stateless.replace("VERSION", "two"), &component("text"));
    let first = entries(&project.path("out"))[0].file_name().unwrap().to_str().unwrap().to_owned();
    let time = first.split_once('=').map_or(first.as_str(), |(_, time)| time);
    let [flag, folder] = checkpoint(&project);
    let replayed = on(&project, "replay", &[], &["--batch", time, &flag, &folder]);
    assert!(replayed.status.success(), "{}{}", stdout(&replayed), stderr(&replayed));
}

#[test]
fn what_is_not_allowed_is_refused_with_what_would_allow_it() {
    let project = application(COUNTS);
    let [flag, folder] = checkpoint(&project);
    for (allowed, missing) in [
        (&[] as &[&str], &["read", "write"] as &[&str]),
        (&["read=in"], &["write"]),
        (&["write=out"], &["read"]),
    ] {
        for command in ["check", "run", "test"] {
            let refused = on(&project, command, allowed, &[&flag, &folder]);
            let told = stderr(&refused);
            assert_eq!(refused.status.code(), Some(78), "{told}");
            assert_eq!(told.lines().count(), missing.len(), "{told}");
            let is_told = |kind: &&str| {
                let name = if *kind == "read" { "in" } else { "out" };
                told.contains(&format!("add --allow {kind}={}", project.path(name).display()))
            };
            assert!(missing.iter().all(is_told), "{missing:?} in {told}");
        }
    }
    assert!(!project.path("checkpoint").exists() && !project.path("out").exists(), "nothing ran");
    assert!(on(&project, "check", FILES, &[&flag, &folder]).status.success());
}

#[test]
fn the_checkpoint_that_the_text_names_has_to_be_allowed_too() {
    let project = application(&format!("checkpoint = \"kept\"\n{COUNTS}"));
    let refused = on(&project, "run", FILES, &["--once"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        stderr(&refused).contains("kept (the checkpoint")
            || stderr(&refused).contains("kept\" (the checkpoint")
    );
    let allowed = [FILES, &["write=kept"]].concat();
    let ran = on(&project, "run", &allowed, &["--once"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let status = on(&project, "status", &[], &[]);
    assert!(stdout(&status).contains("1 done"), "{}{}", stdout(&status), stderr(&status));
}

#[test]
fn mistakes_are_told_with_their_places_in_the_text_that_is_carried() {
    let cases = [
        ("flat-map = \"self", "map = \"self", "application.wasm (pipeline):9:7: "),
        ("self.split-words", "self.split-word", "did you mean \"split-words\"?"),
        ("'VERSION'", "versoin", "application.wasm (pipeline):14:15: "),
        ("[sinks.out]", "[plugins.self]\ngrant = { http = [\"a.b\"] }\n[sinks.out]", "--allow http=a.b"),
        ("[sinks.out]", "[plugins.self]\nlimit = { memory = \"8GiB\" }\n[sinks.out]", "--allow limits"),
        ("name =", "state-memory = \"1TiB\"\nname =", "--allow limits"),
        (
            "[sinks.out]",
            "[plugins.self]\ngrant = { write = [\"in\"] }\n[sinks.out]",
            "the host would follow links",
        ),
    ];
    for (there, instead, expected) in cases {
        let project = application(&COUNTS.replacen(there, instead, 1));
        let [flag, folder] = checkpoint(&project);
        let refused = on(&project, "check", &["read=in", "write=out", "write=in"], &[&flag, &folder]);
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{instead}: {told}");
        assert!(told.contains(expected), "{expected} in {told}");
    }
}

#[test]
fn a_component_that_cannot_say_its_pipeline_is_refused_and_asked_without_any_grant() {
    let cases = [
        ("no-application", "does not say its pipeline: trapped", "its pipeline is in a file of the machine"),
        ("text", "carries no pipeline", "millstream bundle"),
    ];
    for (name, what, more) in cases {
        let refused = millstream(&["run", component(name).to_str().unwrap(), "--allow", "read=/"]);
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{told}");
        assert!(told.contains(what) && told.contains(more), "{what}, {more} in {told}");
    }
}

#[test]
fn a_pipeline_file_takes_no_allowances_and_another_checkpoint() {
    let project = Project::new(
        &COUNTS
            .replace("self.", "text.")
            .replace("[sources", "[plugins.text]\ncomponent = \"{text}\"\n[sources"),
    );
    project.write("in/0.txt", "a\n");
    let [flag, folder] = checkpoint(&project);
    let told = project.refused("run", &["--once", &flag, &folder, "--allow", "read=in"]);
    assert!(told.contains("--allow is for components"), "{told}");
    project.done("run", &["--once", &flag, &folder]);
    assert!(stdout(&project.run("status", &[&flag, &folder])).contains("1 done"));
    // The file itself names none.
    project.refused("status", &[]);
}

#[test]
fn what_is_bundled_is_checked_and_bundled_once() {
    let project = application(COUNTS);
    let bundled = project.path("application.wasm");
    let (bundled, out) = (bundled.to_str().unwrap(), project.path("other.wasm"));
    let out = out.to_str().unwrap();
    for (text, component, expected) in [
        (COUNTS, bundled.to_owned(), "already"),
        ("name = 5", component("text").to_str().unwrap().to_owned(), "pipeline.toml:1:8: "),
        (COUNTS, project.path("in/0.txt").to_str().unwrap().to_owned(), "not WebAssembly"),
    ] {
        project.write_pipeline(text);
        let told = project.refused("bundle", &[&component, "--output", out]);
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert!(!Path::new(out).exists());
}

#[test]
fn whatever_a_builder_is_given_is_read_as_it_was_written() {
    let odd = [
        "",
        " ",
        "\"",
        "\\",
        "'''\"\"\"",
        "a\nb\r\n\tc",
        "\u{0}\u{7f}\u{85}\u{feff}é語🦀",
        "\\u0041",
        "\n",
        "\\\n x",
    ];
    let values = odd.map(|text| table([(text, text)]));
    let numbers = [0.0, -1.5, 1e300, f64::MIN_POSITIVE];
    let plugin = millstream_sdk::Plugin {
        name: "odd \"name\"",
        version: "",
        documentation: "",
        functions: &[],
        needs: &[],
    };
    let text = pipeline(&plugin, |app| {
        app.batch_interval("1s").config("texts", odd.to_vec()).config("tables", values.to_vec());
        app.config("numbers", numbers.to_vec()).config("whole", vec![i64::MIN, i64::MAX]);
        app.socket("a:1").print();
    });
    let text = text.unwrap();
    let read = Text { is_carried: true, ..Text::new(Path::new("a.wasm"), &text) }.parse();
    let read = read.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read.name, "odd \"name\"");
    let config = &read.plugins[0].config;
    assert_eq!(config["texts"], serde_json::json!(odd));
    let tables: Vec<_> = odd.iter().map(|text| serde_json::json!({ *text: text })).collect();
    assert_eq!(config["tables"], serde_json::Value::from(tables));
    assert_eq!(config["numbers"], serde_json::json!(numbers));
    assert_eq!(config["whole"], serde_json::json!([i64::MIN, i64::MAX]));
}

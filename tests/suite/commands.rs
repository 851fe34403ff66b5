//! `test` and `inspect`, and the examples that the documentation points at.

use crate::support::{Project, component, entries, millstream, root, stderr, stdout};

const TESTED: &str = r#"
name = "tested"
batch-interval = "2s"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
sql = "SELECT word, count(*) AS total, batch_time() AS at FROM words GROUP BY word ORDER BY word"
[sinks.screen]
from = "totals"
type = "print"
[[tests]]
name = "right"
given.lines = [[{ value = "a b a" }], [], [{ value = "c" }]]
expect.words = [[{ word = "a" }, { word = "a" }, { word = "b" }], [], [{ word = "c" }]]
expect.totals = [[{ word = "b", total = 1, at = "1970-01-01T00:00:02Z" }, { word = "a", total = 2, at = "1970-01-01T00:00:02Z" }]]
[[tests]]
name = "in order"
ordered = true
given.lines = [[{ value = "b a" }]]
expect.words = [[{ word = "a" }, { word = "b" }]]
[[tests]]
name = "wrong"
given.lines = [[{ value = "a b" }]]
expect.words = [[{ word = "a" }, { word = "c" }]]
"#;

#[test]
fn tests_of_a_pipeline_show_what_differs() {
    let tested = Project::new(TESTED).run("test", &[]);
    let shown = stdout(&tested);
    assert_eq!(tested.status.code(), Some(1));
    assert!(shown.contains("ok     right\n"), "{shown}");
    assert!(shown.contains("FAILED in order\n       batch 1, stream \"words\":\n         row 1: expected { word = \"a\" }\n         row 1: got      { word = \"b\" }"), "{shown}");
    assert!(shown.contains("missing    { word = \"c\" }\n         unexpected { word = \"b\" }"), "{shown}");
    assert!(shown.contains("1 passed, 2 failed"), "{shown}");
}

#[test]
fn tests_of_a_pipeline_in_json() {
    let tested = Project::new(TESTED).run("test", &["--json"]);
    let outcomes: Vec<serde_json::Value> =
        stdout(&tested).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passed: Vec<bool> = outcomes.iter().map(|outcome| outcome["passed"].as_bool().unwrap()).collect();
    assert_eq!(passed, [true, false, false]);
}

#[test]
fn a_function_that_fails_in_a_test_is_told_by_name() {
    let text = TESTED
        .replace("{text}", "{hostile}")
        .replace("flat-map = \"text.split-words\"", "map = \"text.trap\"");
    let tested = Project::new(&text).run("test", &[]);
    assert!(stdout(&tested).contains("text.trap: trapped"), "{} {}", stdout(&tested), stderr(&tested));
}

#[test]
fn inspect_shows_functions_imports_and_digest() {
    let path = component("text");
    let shown = stdout(&millstream(&["inspect", path.to_str().unwrap()]));
    for expected in [
        "split-words  flat-map  { value: utf8 } -> { word: utf8 }",
        "running-count  update-state  ",
        "state { state: int64 }, version 1",
        "sha-256 ",
        "imports (a toolchain imports more than the code uses)",
        "by the machine for receivers and sinks",
        "wasi:",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    let json = millstream(&["inspect", path.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
    assert_eq!(json["functions"][0]["kind"], "flat-map");
    let refused = millstream(&["inspect", "nowhere.wasm"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(stderr(&refused).contains("nowhere.wasm"));
}

#[test]
fn inspect_shows_which_states_are_taken_over() {
    let path = component("running-2");
    let shown = stdout(&millstream(&["inspect", path.to_str().unwrap()]));
    let expected =
        "migrates from version 1: state { count: int64 }, keys { word: utf8 } become { key: utf8 }, merged";
    assert!(shown.contains(expected), "{shown}");
    let json = millstream(&["inspect", path.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    let migration = &json["functions"][1]["state"]["migrations"][0];
    assert_eq!((&migration["version"], &migration["merges"]), (&1.into(), &true.into()));
    assert_eq!(migration["fields"][0]["name"], "count");
    assert_eq!(migration["new_keys"][0]["type"], "utf8");
}

#[test]
fn the_examples_pass_their_tests() {
    component("text");
    let mut tested = 0;
    for example in entries(&root().join("examples")).iter().flat_map(|folder| entries(folder)) {
        let is_manifest = example.file_name().is_some_and(|name| name == "Cargo.toml");
        if !is_manifest && example.extension().is_some_and(|extension| extension == "toml") {
            let outcome = millstream(&["test", example.to_str().unwrap()]);
            assert!(
                outcome.status.success(),
                "{}: {}{}",
                example.display(),
                stdout(&outcome),
                stderr(&outcome)
            );
            tested += 1;
        }
    }
    assert!(tested >= 2, "the examples are found");
}

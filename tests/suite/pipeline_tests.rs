//! What the tests of a pipeline file can say, and that they fail when it is not so.

use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "tested"
batch-interval = "1s"
receive-memory = "1B"
max-batch-rows = 2
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.words]
type = "files"
path = "words/*.csv"
format = "csv"
header = true
schema = { word = "utf8", n = "int64" }
[sources.amounts]
type = "files"
path = "amounts/*.json"
format = "json"
schema = { word = "utf8", amount = "float64" }
[tables.names]
path = "names.csv"
schema = { word = "utf8", name = "utf8" }
[streams.named]
sql = "SELECT words.word, name FROM words JOIN names ON words.word = names.word"
[streams.pairs]
sql = "SELECT word, coalesce(n, 0) AS n FROM words"
[streams.running]
from = "pairs"
update-state = { by = ["word"], function = "text.running-count" }
[streams.recent]
from = "pairs"
reduce = { by = ["word"], function = "text.add", window = { length = "2s" } }
[streams.shares]
sql = "SELECT amount / 3 AS share FROM amounts ORDER BY share"
[streams.dated]
sql = "SELECT batch_time() AS at FROM words"
[streams.divided]
sql = "SELECT 10 / n AS part FROM words"
[sinks.screen]
from = "recent"
type = "print"
"#;

const GOOD: &[(&str, &str)] = &[
    (
        "states and windows go on after a restart",
        r#"
given.words = [[{ word = "a", n = 1 }], [{ word = "a", n = 2 }, { word = "b", n = 3 }], [{ word = "a", n = 4 }]]
expect.recent = [[{ word = "a", n = 1 }], [{ word = "a", n = 3 }, { word = "b", n = 3 }], [{ word = "a", n = 6 }, { word = "b", n = 3 }], [{ word = "a", n = 4 }], []]
expect.running = [[{ word = "a", count = 1 }], [{ word = "a", count = 2 }, { word = "b", count = 1 }], [{ word = "a", count = 3 }]]
expect-state.running = [{ word = "a", state = 3 }, { word = "b", state = 1 }]
restart-after = [1, 2, 4]
"#,
    ),
    (
        "batches without anything given have no rows",
        r#"
expect.recent = [[], []]
"#,
    ),
    (
        "records that cannot be read are dead letters, and the others of their batch are rows",
        r#"
given.words = [["a,1", "b,two", { word = "c", n = 3 }, "d,4,5", "e,5"]]
expect.words = [[{ word = "a", n = 1 }, { word = "c", n = 3 }, { word = "e", n = 5 }]]
expect-dead-letters = [{ source = "words", bytes = "b,two" }, { error = "3" }]
"#,
    ),
    (
        "several sources, and numbers that are nearly the same",
        r#"
given.words = [[], [{ word = "a", n = 5 }]]
given.amounts = [[{ word = "a", amount = 2 }, { word = "b", amount = 1 }]]
expect.shares = [[{ share = 0.333 }, { share = 0.667 }], []]
expect.pairs = [[], [{ word = "a", n = 5 }]]
tolerance = 0.001
ordered = true
"#,
    ),
    (
        "a table that changes, or stays as its file is",
        r#"
given.words = [["a,1"], ["a,1"], ["a,1"]]
given.names = [[{ word = "a", name = "Ann" }], [{ word = "a", name = "Anna" }]]
expect.named = [[{ word = "a", name = "Ann" }], [{ word = "a", name = "Anna" }], [{ word = "a", name = "Anna" }]]
restart-after = [2]
"#,
    ),
    (
        "a test in the middle of a second of another year",
        r#"
start = 2026-11-20T12:00:00.5+01:00
given.words = [["b,1"], ["b,2"]]
expect.dated = [[{ at = 2026-11-20T11:00:01Z }], [{ at = 2026-11-20T11:00:02Z }]]
restart-after = [1]
"#,
    ),
    (
        "more pieces than the source may keep in memory",
        r#"
given.words = [["a,1", { word = "b", n = 2 }, "c,3", { word = "d", n = 4 }]]
expect.pairs = [[{ word = "a", n = 1 }, { word = "b", n = 2 }, { word = "c", n = 3 }, { word = "d", n = 4 }]]
"#,
    ),
    (
        "a table as its file is",
        r#"
given.words = [["b,1"]]
expect.named = [[{ word = "b", name = "Bob" }]]
"#,
    ),
    (
        "a batch that fails",
        r#"
given.words = [[{ word = "a", n = 5 }], [{ word = "a", n = 0 }], [{ word = "a", n = 1 }]]
expect.divided = [[{ part = 2 }]]
expect-failure = { batch = 2, error = "zero" }
"#,
    ),
];

/// Each with what the failed test is to show.
const BAD: &[(&str, &[&str])] = &[
    (
        "given.words = [[{ word = \"a\", n = 1 }], [{ word = \"a\", n = 2 }]]\nexpect.running = []\nexpect-state.running = [{ word = \"a\", state = 3 }]\nrestart-after = [1]",
        &[
            "states of \"running\" at the end:",
            "missing    { state = 3, word = \"a\" }",
            "unexpected { state = 2, word = \"a\" }",
        ],
    ),
    ("given.words = [[\"a\"]]\nexpect.words = [[]]", &["dead letters:", "unexpected {"]),
    (
        "given.words = [[\"a,1\"]]\nexpect.words = [[{ word = \"a\", n = 1 }]]\nexpect-dead-letters = [{ bytes = \"b\" }]",
        &["dead letters:", "missing    { bytes = \"b\" }"],
    ),
    ("given.words = [[{ word = \"a\", n = 0 }]]\nexpect.divided = [[]]", &["batch 1 failed: ", "zero"]),
    (
        "given.words = [[{ word = \"a\", n = 0 }]]\nexpect.divided = [[]]\nexpect-failure = { batch = 1, error = \"overflow\" }",
        &["batch 1 failed, and not with \"overflow\": "],
    ),
    (
        "given.words = [[{ word = \"a\", n = 1 }]]\nexpect.divided = [[{ part = 10 }]]\nexpect-failure = { batch = 1, error = \"zero\" }",
        &["batch 1 did not fail; \"zero\" was expected"],
    ),
    (
        "given.amounts = [[{ word = \"a\", amount = 1 }]]\nexpect.shares = [[{ share = 0.333 }]]",
        &["missing    { share = 0.333 }", "unexpected { share = 0.333333"],
    ),
];

fn project(text: &str) -> Project {
    let project = Project::new(text);
    project.write("names.csv", "word,name\nb,Bob\n");
    project
}

#[test]
fn what_a_test_says_is_so() {
    let mut text = PIPELINE.to_owned();
    for (name, test) in GOOD {
        text += &format!("\n[[tests]]\nname = \"{name}\"{test}");
    }
    let tested = project(&text).run("test", &[]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    let passed = format!("{} passed, 0 failed", GOOD.len());
    assert!(stdout(&tested).contains(&passed), "{}", stdout(&tested));
}

#[test]
fn what_is_not_so_fails_and_is_shown() {
    let mut text = PIPELINE.to_owned();
    for (number, (test, _)) in BAD.iter().enumerate() {
        text += &format!("\n[[tests]]\nname = \"{number}\"\n{test}\n");
    }
    let tested = project(&text).run("test", &["--json"]);
    assert_eq!(tested.status.code(), Some(1), "{}", stderr(&tested));
    let shown = stdout(&tested);
    assert_eq!(shown.lines().count(), BAD.len(), "{shown}");
    for (line, (test, expected)) in shown.lines().zip(BAD) {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        let differences = outcome["differences"].as_array().unwrap();
        let lines: Vec<_> = differences.iter().filter_map(serde_json::Value::as_str).collect();
        let differences = lines.join("\n");
        for part in *expected {
            assert!(differences.contains(part), "{test}\n{part}\n{differences}");
        }
    }
}

#[test]
fn a_batch_that_fails_and_is_left_out_gives_nothing_and_the_next_goes_on() {
    let test = r#"
[[tests]]
name = "goes on"
given.words = [[{ word = "a", n = 5 }], [{ word = "a", n = 0 }], [{ word = "a", n = 1 }]]
expect.divided = [[{ part = 2 }], [], [{ part = 10 }]]
expect-failure = { batch = 2, error = "zero" }
"#;
    let text = PIPELINE.replace("name = \"tested\"", "name = \"tested\"\non-failure = \"continue\"") + test;
    let tested = project(&text).run("test", &[]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
}

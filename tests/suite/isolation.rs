//! Rows that plugins fail on, through the real program: the others go on, and each poison row is a letter.

use serde_json::{Value, json};

use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "poisoned"
batch-interval = "100ms"
checkpoint = "checkpoint"

[plugins.hostile]
component = "{hostile}"

[sources.lines]
type = "files"
path = "in/*.txt"

[streams.same]
from = "lines"
map = "hostile.trap-on"
on-error = "dead-letter"

[sinks.out]
from = "same"
type = "files"
path = "out"
format = "text"
"#;

fn letters(project: &Project) -> Vec<Value> {
    let text = std::fs::read_to_string(project.path("checkpoint/dead-letters.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Ten thousand lines, one of which is poison.
fn lines(poison: usize) -> Vec<String> {
    let line = |number| if number == poison { "poison".to_owned() } else { format!("line {number}") };
    (0..10_000).map(line).collect()
}

#[test]
fn a_trap_in_one_row_of_ten_thousand_costs_that_row_alone() {
    let project = Project::new(PIPELINE);
    project.write("in/a.txt", lines(7_776).join("\n"));
    for life in 1..=2 {
        project.run_once();
        let mut expected = lines(7_776);
        expected.remove(7_776);
        assert_eq!(project.lines("out"), expected, "life {life}");
        let letters = letters(&project);
        let [letter] = letters.as_slice() else { panic!("life {life}: {letters:?}") };
        assert!(letter["origin"].as_str().unwrap().ends_with("in/a.txt"), "{letter}");
        assert!(letter["error"].as_str().unwrap().contains("trapped"), "{letter}");
        assert_eq!(letter["plugin"].as_str().unwrap().len(), 64, "{letter}");
        let known = json!({
            "source": "lines", "record": 7_777, "stream": "same", "function": "hostile.trap-on",
            "bytes": "poison", "row": { "value": "poison" },
        });
        for (key, value) in known.as_object().unwrap() {
            assert_eq!(letter[key], *value, "{letter}");
        }
    }
}

#[test]
fn rows_are_skipped_or_the_batch_fails_where_the_stream_says_so() {
    for (policy, code, rows) in [("skip", Some(0), 9_999), ("stop", Some(1), 0)] {
        let project = Project::new(&PIPELINE.replace("dead-letter\"", &format!("{policy}\"")));
        project.write("in/a.txt", lines(5).join("\n"));
        let ran = project.run("run", &["--once"]);
        assert_eq!(ran.status.code(), code, "{policy}: {}", stderr(&ran));
        let written = project.lines_so_far("out").len();
        assert_eq!((written, letters(&project)), (rows, Vec::new()), "{policy}");
    }
}

const TESTS: &str = r#"
[[tests]]
name = "poison rows are letters"
given.lines = [["a", "poison", "b"], [{ value = "poison" }, { value = "c" }]]
expect.same = [[{ word = "a" }, { word = "b" }], [{ word = "c" }]]
expect-dead-letters = [
    { source = "lines", stream = "same", record = 2, bytes = "poison", error = "trapped" },
    { stream = "same", record = 4 },
]
restart-after = [1]
"#;

#[test]
fn a_pipelines_own_tests_expect_the_letters_of_its_functions() {
    Project::new(&format!("{PIPELINE}{TESTS}")).done("test", &[]);
    let failed =
        Project::new(&format!("{PIPELINE}{}", TESTS.replace("record = 4", "record = 5"))).run("test", &[]);
    assert!(!failed.status.success() && stdout(&failed).contains("record = 5"), "{}", stdout(&failed));
}

#[test]
fn a_test_does_not_wait_for_a_function_that_is_away() {
    let text = format!("{PIPELINE}{TESTS}").replace("trap-on", "unavailable");
    let tested = Project::new(&text).run("test", &[]);
    assert!(stdout(&tested).contains("the world is away"), "{}{}", stdout(&tested), stderr(&tested));
}

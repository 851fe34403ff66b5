//! `millstream state`: what people see of the states that a stream keeps.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "states"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.rows]
type = "files"
path = "rows"
format = "json"
schema = { word = "utf8", n = "int64" }
[streams.known]
sql = "SELECT coalesce(word, '') AS word, coalesce(n, 0) AS n FROM rows"
[streams.counts]
from = "known"
update-state = { by = ["word"], function = "text.running-count" }
[streams.pairs]
from = "known"
update-state = { by = ["word", "n"], function = "text.running-count" }
[sinks.counts]
from = "counts"
type = "files"
path = "out"
[sinks.pairs]
from = "pairs"
type = "files"
path = "out-pairs"
"#;

fn ran() -> Project {
    let project = Project::new(PIPELINE);
    project.write(
        "rows/1.json",
        "{\"word\":\"a\",\"n\":1}\n{\"word\":\"b\",\"n\":2}\n{\"word\":\"a\",\"n\":1}\n",
    );
    project.run_once();
    project
}

#[test]
fn all_states_are_shown_as_a_table_and_as_json() {
    let project = ran();
    let shown = stdout(&project.run("state", &["counts"]));
    assert!(shown.contains("| word | state |") && shown.contains("| a    |     2 |"), "{shown}");
    let shown = stdout(&project.run("state", &["counts", "--rows", "1"]));
    assert!(shown.contains("1 more of 2 keys"), "{shown}");
    let json = stdout(&project.run("state", &["counts", "--json"]));
    let mut rows: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort_by_key(|row| row["word"].to_string());
    assert_eq!(
        rows,
        [serde_json::json!({"word": "a", "state": 2}), serde_json::json!({"word": "b", "state": 1})]
    );
}

/// How often each of some words comes.
#[derive(Default)]
struct Words(BTreeMap<String, i64>);

impl Words {
    /// Lines with the words of these numbers, which are counted.
    fn lines(&mut self, numbers: impl Iterator<Item = u32>) -> String {
        let mut lines = String::new();
        for number in numbers {
            let word = format!("the word with the number {number}");
            writeln!(lines, "{{\"word\":\"{word}\",\"n\":1}}").unwrap();
            *self.0.entry(word).or_default() += 1;
        }
        lines
    }
}

#[test]
fn more_keys_than_fit_into_memory_are_counted_as_if_they_did_also_after_a_restart() {
    let limits = "batch-interval = \"1s\"\nmax-batch-rows = 2000\nstate-memory = \"1MiB\"";
    let project = Project::new(&PIPELINE.replace("batch-interval = \"1s\"", limits));
    let mut words = Words::default();
    // New ones, then some that were not seen for long among new ones.
    let runs: [&mut dyn Iterator<Item = u32>; 3] =
        [&mut (0..12_000), &mut (0..12_000).step_by(5), &mut (8_000..16_000)];
    for (run, numbers) in runs.into_iter().enumerate() {
        project.write(&format!("rows/{run}.json"), words.lines(numbers));
        project.run_once();
    }
    for stream in ["counts", "pairs"] {
        let json = stdout(&project.run("state", &[stream, "--json"]));
        let found = json.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["word"].as_str().unwrap().to_owned(), row["state"].as_i64().unwrap())
        });
        assert!(found.collect::<BTreeMap<_, _>>() == words.0, "other states of {stream}");
    }
    let mut shown = BTreeMap::<String, i64>::new();
    for row in project.rows("out") {
        let last = shown.entry(row["word"].as_str().unwrap().to_owned()).or_default();
        *last = (*last).max(row["count"].as_i64().unwrap());
    }
    assert!(shown == words.0, "other rows");
}

#[test]
fn one_key_is_shown_by_its_columns() {
    let project = ran();
    let shown = stdout(&project.run("state", &["counts", "--key", "b", "--json"]));
    assert_eq!(shown, "{\"word\":\"b\",\"state\":1}\n");
    let shown = stdout(&project.run("state", &["pairs", "--key", "n=1", "--key", "word=a", "--json"]));
    assert_eq!(shown, "{\"word\":\"a\",\"n\":1,\"state\":2}\n");
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let project = ran();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["known"], 78, "these do: counts, pairs"),
        (&["pairs", "--key", "a"], 78, "--key word=VALUE --key n=VALUE"),
        (&["pairs", "--key", "n=one", "--key", "word=a"], 78, "\"one\" is no value"),
        (&["counts", "--key", "c"], 1, "no state for that key"),
    ];
    for (arguments, code, expected) in cases {
        let refused = project.run("state", arguments);
        assert_eq!(refused.status.code(), Some(*code), "{arguments:?} {}", stderr(&refused));
        assert!(stderr(&refused).contains(expected), "{arguments:?} {}", stderr(&refused));
    }
    Project::new(PIPELINE).refused("state", &["counts"]);
}

#[test]
fn states_of_a_stream_that_is_gone_stay_and_are_told_and_found_again() {
    let project = ran();
    project.write_pipeline(
        &PIPELINE.replace("counts]", "totals]").replace("from = \"counts\"", "from = \"totals\""),
    );
    let told = project.refused("run", &["--once"]);
    assert!(told.contains("stream \"counts\" keeps a state"), "{told}");
    project.write_pipeline(PIPELINE);
    project.write("rows/2.json", "{\"word\":\"a\",\"n\":1}\n");
    project.run_once();
    let shown = stdout(&project.run("state", &["counts", "--key", "a", "--json"]));
    assert_eq!(shown, "{\"word\":\"a\",\"state\":3}\n");
}

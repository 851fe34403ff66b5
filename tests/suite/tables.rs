//! Tables: joined in SQL, read again, and states that begin with one.

use std::path::Path;

use serde_json::json;

use crate::process::{Process, until};
use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "tables"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.orders]
type = "files"
path = "orders"
format = "json"
schema = { customer = "int64", word = "utf8" }
[tables.customers]
path = "customers.csv"
refresh = "100ms"
[tables.regions]
path = "regions.jsonl"
[tables.opening]
path = "opening.json"
[tables.unused]
path = "customers.csv"
[streams.named]
sql = """
SELECT o.word, c.name, r.region, (SELECT count(*) FROM customers) AS customers
FROM orders o JOIN customers c ON o.customer = c.id LEFT JOIN regions r ON c.region = r.id
"""
[streams.words]
sql = "SELECT word FROM orders WHERE word IS NOT NULL"
[streams.counts]
from = "words"
update-state = { by = ["word"], function = "text.running-count", initial = "opening" }
[streams.states]
from = "counts"
snapshot = true
[streams.timed]
from = "words"
update-state = { by = ["word"], function = "text.running-count", initial = "opening", timeout = "200ms" }
[streams.timed-states]
from = "timed"
snapshot = true
[streams.every]
from = "words"
update-state = { by = ["word"], function = "text.running-count", initial = "opening", every-key = true }
[streams.opened]
sql = "SELECT c.word, c.count - o.state AS more FROM counts c JOIN opening o ON c.word = o.word"
[sinks.named]
from = "named"
type = "files"
path = "named"
[sinks.counts]
from = "counts"
type = "files"
path = "counts"

[[tests]]
name = "a join, and states to begin with"
given.orders = [[{ customer = 2, word = "a" }, { customer = 9, word = "b" }], []]
expect.named = [[{ word = "a", name = "Grace", region = "north", customers = 2 }], []]
expect.counts = [[{ word = "a", count = 11 }, { word = "b", count = 1 }], []]
expect.states = [
    [{ word = "a", state = 11 }, { word = "b", state = 1 }, { word = "z", state = 5 }],
    [{ word = "a", state = 11 }, { word = "b", state = 1 }, { word = "z", state = 5 }],
]
expect.opened = [[{ word = "a", more = 1 }], []]

[[tests]]
name = "states to begin with time out and are visited as others are"
given.orders = [[], [{ word = "a" }], [], [], []]
expect.timed-states = [
    [{ word = "a", state = 10 }, { word = "z", state = 5 }],
    [{ word = "a", state = 11 }, { word = "z", state = 5 }],
    [{ word = "a", state = 11 }, { word = "z", state = 5 }],
    [{ word = "a", state = 11 }],
    [],
]
expect.every = [
    [{ word = "a", count = 10 }, { word = "z", count = 5 }],
    [{ word = "a", count = 11 }, { word = "z", count = 5 }],
]
"#;

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("customers.csv", "id,name,region\n1,Ada,\n2,Grace,7\n");
    project.write("regions.jsonl", "{\"id\":7,\"region\":\"north\"}\n");
    project.write(
        "opening.json",
        "{\"word\":\"a\",\"state\":10,\"note\":\"x\"}\n{\"word\":\"z\",\"state\":5}\n",
    );
    std::fs::create_dir(project.path("orders")).unwrap();
    project
}

#[test]
fn tests_of_a_pipeline_see_its_tables() {
    let project = project();
    project.done("test", &[]);
    let checked = project.run("check", &[]);
    assert!(stdout(&checked).contains("4 tables"), "{}{}", stdout(&checked), stderr(&checked));
}

#[test]
fn states_begin_with_a_table_once_and_for_all() {
    let project = project();
    project.write("orders/1.json", "{\"customer\":2,\"word\":\"a\"}\n");
    // The first batch fails before it is committed, and begins with the table all the same when it is run again.
    let ended = project.command("run", &["--once"]).env("MILLSTREAM_CRASH_AT", "batch-run").output().unwrap();
    assert!(!ended.status.success());
    project.run_once();
    assert_eq!(project.rows("counts"), [json!({ "word": "a", "count": 11 })]);
    // The table may be another one afterwards: it was for the beginning.
    project.write("opening.json", "{\"word\":\"a\",\"state\":1000}\n{\"word\":\"new\",\"state\":1000}\n");
    project.write("orders/2.json", "{\"word\":\"a\"}\n{\"word\":\"z\"}\n{\"word\":\"new\"}\n");
    project.run_once();
    let counts = |word: &str| -> Vec<u64> {
        let of_word = project.rows("counts").into_iter().filter(|row| row["word"] == word);
        of_word.map(|row| row["count"].as_u64().unwrap()).collect()
    };
    assert_eq!((counts("a"), counts("z"), counts("new")), (vec![11, 12], vec![6], vec![1]));
}

#[test]
fn a_stream_that_is_added_later_begins_with_its_table() {
    let project = project();
    project.write("orders/1.json", "{\"customer\":2,\"word\":\"a\"}\n");
    project.run_once();
    let later = PIPELINE.replace(
        "[sinks.counts]",
        "[streams.more]\nfrom = \"words\"\nupdate-state = { by = [\"word\"], function = \"text.running-count\", initial = \"opening\" }\n\
         [sinks.more]\nfrom = \"more\"\ntype = \"files\"\npath = \"more\"\n[sinks.counts]",
    );
    project.write_pipeline(&later);
    project.write("orders/2.json", "{\"word\":\"a\"}\n");
    project.run_once();
    assert_eq!(project.rows("more"), [json!({ "word": "a", "count": 11 })]);
    assert_eq!(project.rows("counts").last(), Some(&json!({ "word": "a", "count": 12 })));
}

#[test]
fn a_table_is_read_again_while_the_pipeline_runs_and_kept_where_it_cannot_be_read() {
    let project = project();
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("table \"unused\" leads to no sink");
    let last = || project.rows("named").pop();
    let order = |number: usize| {
        project.write(&format!("orders/{number}.json"), "{\"customer\":3,\"word\":\"a\"}\n");
    };
    // Nobody has that number yet.
    order(1);
    project.write("customers.csv", "id,name,region\n3,Edsger,\n");
    let mut number = 1;
    until("a batch with the new table", || {
        number += 1;
        order(number);
        last().filter(|row| row["name"] == "Edsger" && row["customers"] == 1)
    });
    project.write("customers.csv", "id,name,region\nthree,Barbara,\n");
    process.wait_for("line 2");
    let trouble =
        until("trouble in the status", || project.status()["status"]["trouble"].as_str().map(str::to_owned));
    assert!(trouble.contains("customers") && trouble.contains("line 2"), "{trouble}");
    assert!(last().is_some_and(|row| row["name"] == "Edsger"));
    project.write("customers.csv", "id,name,region\n3,Barbara,7\n");
    until("a batch with the mended table", || {
        number += 1;
        order(number);
        last().filter(|row| row["name"] == "Barbara" && row["region"] == "north")
    });
    process.stop();
}

#[test]
fn what_is_wrong_with_a_table_is_known_before_anything_runs() {
    let cases: &[(&str, Option<&str>, &[&str])] = &[
        ("customers.csv", None, &["pipeline.toml:13:8", "table \"customers\"", "no such file"]),
        ("customers.csv", Some("id,name,region\n1,Ada\n"), &["pipeline.toml:13:8", "line 2"]),
        ("opening.json", Some("{\"word\":\"a\"}\n"), &["has no column \"state\""]),
        ("opening.json", Some("{\"word\":null,\"state\":1}\n"), &["row 1", "\"word\""]),
    ];
    for (file, content, parts) in cases {
        let project = project();
        match content {
            Some(content) => project.write(file, content),
            None => std::fs::remove_file(project.path(file)).unwrap(),
        }
        for command in ["check", "run", "test"] {
            let told = project.refused(command, &[]);
            assert!(parts.iter().all(|part| told.contains(part)), "{command}: {parts:?} in {told}");
        }
        assert!(!Path::new(&project.path("checkpoint")).exists(), "{file}");
    }
}

#[test]
fn tables_take_no_more_memory_than_they_may() {
    let project = project();
    project.write_pipeline(&PIPELINE.replace("batch-interval", "table-memory = \"64B\"\nbatch-interval"));
    let checked = project.run("check", &[]);
    assert!(!checked.status.success());
    assert!(stderr(&checked).contains("\"table-memory\""), "{}", stderr(&checked));
}

//! Pipelines as their users run them: real files, real sockets, the real binary.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::process::Process;
use crate::support::{Project, entries, root, stderr, stdout};

const COUNT: &str = r#"
name = "count"
batch-interval = "100ms"
checkpoint = "checkpoint"

[plugins.text]
component = "{text}"

[sources.lines]
SOURCE

[streams.words]
from = "lines"
flat-map = "text.split-words"

[streams.totals]
sql = "SELECT word, count(*) AS total FROM words GROUP BY word"

[sinks.out]
from = "totals"
type = "files"
path = "out"
format = "json"
"#;

fn counting(source: &str) -> Project {
    Project::new(&COUNT.replace("SOURCE", source))
}

/// The totals of all batches together.
fn totals(project: &Project) -> BTreeMap<String, i64> {
    let mut totals = BTreeMap::new();
    for row in project.rows("out") {
        *totals.entry(row["word"].as_str().unwrap().to_owned()).or_default() +=
            row["total"].as_i64().unwrap();
    }
    totals
}

fn expected(text: &str) -> BTreeMap<String, i64> {
    let mut totals = BTreeMap::new();
    for word in text.split_ascii_whitespace() {
        *totals.entry(word.to_owned()).or_default() += 1;
    }
    totals
}

#[test]
fn words_of_the_repositorys_own_texts_are_counted_as_other_tools_count_them() {
    let texts: Vec<_> =
        entries(root()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    assert!(texts.len() >= 3, "{texts:?}");
    let project = counting("type = \"files\"\npath = \"in/*.md\"");
    let mut all = String::new();
    for text in texts {
        let content = std::fs::read_to_string(&text).unwrap();
        project.write(&format!("in/{}", text.file_name().unwrap().to_str().unwrap()), &content);
        all += &content;
        all.push('\n');
    }
    project.run_once();
    assert_eq!(totals(&project), expected(&all));
    assert_eq!(entries(&project.path("out")).len(), 1, "one batch");
}

#[test]
fn a_large_file_is_cut_into_bounded_batches_that_lose_nothing() {
    let project = counting("type = \"files\"\npath = \"in\"");
    let file = project.path("pipeline.toml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("checkpoint = \"checkpoint\"", "max-batch-rows = 10000");
    std::fs::write(&file, text).unwrap();
    let lines: String = (0..95_000).map(|i| format!("w{} x{}\n", i % 997, i % 10)).collect();
    project.write("in/big.txt", &lines);
    project.run_once();
    assert_eq!(totals(&project), expected(&lines));
    assert_eq!(entries(&project.path("out")).len(), 10);
}

#[test]
fn every_kind_of_white_space_parts_words_in_the_component() {
    let project = counting("type = \"files\"\npath = \"in\"");
    let separators = [" ", "\t", "\u{c}", "\r", "\u{b}", "  ", "ä", "語"];
    let line = |i: usize| -> String {
        (0..i % 23)
            .map(|j| format!("{}{}", "w".repeat((i * 7 + j * 3) % 9), separators[(i + j * 5) % 8]))
            .collect()
    };
    let lines: String = (0..3_000).map(|i| line(i) + "\n").collect();
    project.write("in/a.txt", &lines);
    project.run_once();
    assert_eq!(totals(&project), expected(&lines));
}

#[test]
fn print_shows_a_header_and_aligned_rows_or_json_lines() {
    let project = counting("type = \"files\"\npath = \"in\"");
    let file = project.path("pipeline.toml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("type = \"files\"\npath = \"out\"\nformat = \"json\"", "type = \"print\"");
    std::fs::write(&file, text).unwrap();
    project.write("in/a.txt", "to be or not to be\n");
    let ran = project.run("run", &["--once"]);
    let shown = stdout(&ran);
    assert!(shown.contains("Time: ") && shown.contains(" ms\n"), "{shown}");
    assert!(shown.contains("| word | total |") && shown.contains("| be   |     2 |"), "{shown}");
    std::fs::remove_dir_all(project.path("checkpoint")).unwrap();
    let ran = project.run("run", &["--once", "--json"]);
    let rows: Vec<serde_json::Value> =
        stdout(&ran).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().any(|row| row["row"]["word"] == "or" && row["row"]["total"] == 1), "{rows:?}");
}

#[test]
fn words_from_a_socket_are_counted_and_a_stop_loses_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = counting(&format!("type = \"socket\"\naddress = \"{}\"", listener.local_addr().unwrap()));
    let process = Process::running(&project);
    let (mut connection, _) = listener.accept().unwrap();
    let text = "alpha beta alpha\n".repeat(10_000);
    connection.write_all(text.as_bytes()).unwrap();
    drop(connection);
    // The client comes back only after it has read the first connection to its end.
    let (_second, _) = listener.accept().unwrap();
    let log = process.stop_by_command(&project);
    assert!(log.contains("ended"), "{log}");
    assert_eq!(totals(&project), expected(&text));
}

#[test]
fn a_second_process_on_a_checkpoint_is_refused_and_stop_finds_none_afterwards() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = counting(&format!("type = \"socket\"\naddress = \"{}\"", listener.local_addr().unwrap()));
    let process = Process::running(&project);
    let told = project.refused("run", &["--once"]);
    assert!(told.contains("in use by a running pipeline"), "{told}");
    process.stop_by_command(&project);
    let again = project.run("stop", &[]);
    assert!(stderr(&again).contains("is not running"), "{}", stderr(&again));
}

#[test]
fn bad_data_goes_to_the_dead_letters_and_the_rest_goes_through() {
    let project = counting("type = \"files\"\npath = \"in\"");
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all("packed\n".repeat(100_000).as_bytes()).unwrap();
    let compressed = compressed.finish().unwrap();
    project.write("in/a.txt", b"good one\nbad \xff\xfe line\nlast");
    project.write("in/b.txt.gz", &compressed);
    project.write("in/c.txt.gz", b"this is no gzip");
    let log = project.run_once();
    let counted = totals(&project);
    assert_eq!(counted.get("packed"), Some(&100_000));
    assert_eq!((counted.get("good"), counted.get("last"), counted.get("bad")), (Some(&1), Some(&1), None));
    assert!(log.contains("c.txt.gz"), "the unreadable file is named: {log}");
    let letters = std::fs::read_to_string(project.path("checkpoint/dead-letters.jsonl")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(letters.lines().next().unwrap()).unwrap();
    assert_eq!((letter["source"].as_str(), letter["record"].as_i64()), (Some("lines"), Some(2)), "{letter}");
    assert!(letter["origin"].as_str().unwrap().ends_with("a.txt"), "{letter}");
}

#[test]
fn broken_json_and_csv_rows_are_rejected_one_by_one() {
    let project = Project::new(
        r#"
name = "orders"
batch-interval = "1s"
dead-letters = "letters.jsonl"
[sources.json]
type = "files"
path = "json"
format = "json"
schema = { user = "utf8", amount = "float64" }
[sources.csv]
type = "files"
path = "csv"
format = "csv"
schema = { user = "utf8", amount = "float64" }
[streams.all]
from = ["json", "csv"]
[sinks.out]
from = "all"
type = "files"
path = "out"
format = "csv"
"#,
    );
    project.write("json/a.json", "{\"user\":\"ann\",\"amount\":1.5}\n{broken\n{\"user\":\"bob\",\"amount\":\"x\"}\n{\"user\":\"cyd\"}\n");
    project.write("csv/a.csv", "dan,2\nonly-one-field\neve,x\nfay,3.5\n");
    project.run_once();
    let mut rows: Vec<String> = project.lines("out").into_iter().filter(|row| row != "user,amount").collect();
    rows.sort();
    assert_eq!(rows, ["ann,1.5", "cyd,", "dan,2.0", "fay,3.5"]);
    let letters = std::fs::read_to_string(project.path("letters.jsonl")).unwrap();
    let mut places: Vec<(String, i64)> = letters
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|letter| (letter["source"].as_str().unwrap().to_owned(), letter["record"].as_i64().unwrap()))
        .collect();
    places.sort();
    let expected = [("csv", 2), ("csv", 3), ("json", 2), ("json", 3)];
    assert_eq!(places, expected.map(|(source, record)| (source.to_owned(), record)));
}

#[test]
fn a_plugin_that_traps_fails_the_run_by_its_name_and_leaves_no_output_where_it_is_to_stop() {
    let project = Project::new(
        r#"
name = "poisoned"
batch-interval = "1s"
[plugins.bad]
component = "{hostile}"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
map = "bad.trap-on"
on-error = "stop"
[sinks.out]
from = "words"
type = "files"
path = "out"
format = "text"
"#,
    );
    project.write("in/a.txt", "fine\npoison\n");
    let ran = project.run("run", &["--once"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(stderr(&ran).contains("bad.trap-on: trapped"), "{}", stderr(&ran));
    assert!(!project.path("out").exists() || entries(&project.path("out")).is_empty(), "nothing is visible");
}

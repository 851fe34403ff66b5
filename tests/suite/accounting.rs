//! What a running pipeline says that its functions, and the rest of it, took.

use crate::process::{Process, until};
use crate::support::{Project, stdout};

const PIPELINE: &str = r#"
name = "accounting"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.running]
from = "words"
update-state = { by = ["word"], function = "text.running-count" }
[sinks.out]
from = "running"
type = "files"
path = "out"
"#;

#[test]
fn status_shows_what_each_function_took_and_the_parts_of_the_process() {
    let project = Project::new(PIPELINE);
    project.write("in/lines.txt", "a b a\nc\n");
    let running = Process::running(&project);
    let shown = until("a batch with records", || {
        let shown = project.status();
        (shown["status"]["records"] == 2).then(|| shown["status"].clone())
    });
    let words = &shown["functions"]["text.split-words"];
    let counts = ["calls", "failed-calls", "rows-in", "rows-out"].map(|key| words[key].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 2, 4], "{shown}");
    // Three keys, each with a row for the stream.
    let states = &shown["functions"]["text.running-count"];
    assert!(states["calls"].as_u64().unwrap() >= 1 && states["rows-in"] == 4, "{shown}");
    for function in [words, states] {
        for key in ["bytes-in", "bytes-out", "cpu-ns", "memory-bytes-max"] {
            assert!(function[key].as_u64().unwrap() > 0, "{key}: {shown}");
        }
    }
    // Of the batch with the records, its own share is shown beside it, for some twenty batches.
    let recent = shown["recent"].as_array().unwrap();
    let batch = recent.iter().find(|batch| batch["records"] == 2).unwrap();
    assert_eq!(batch["functions"]["text.split-words"], *words, "{shown}");
    let process_ms = shown["cpu"]["process-ms"].as_f64().unwrap();
    let threads = shown["cpu"]["threads-ms"].as_object().unwrap();
    let threads_ms: f64 = threads.values().map(|ms| ms.as_f64().unwrap()).sum();
    assert!(threads.contains_key("batch") && threads_ms > 0.0, "{shown}");
    assert!(threads_ms <= process_ms, "threads that live took no more than all: {shown}");
    let shown = stdout(&project.run("status", &[]));
    for column in ["function", "calls", "cpu ms", "share", "peak memory", "text.split-words", "functions "] {
        assert!(shown.contains(column), "{column}: {shown}");
    }
    running.stop_by_command(&project);
    let left = stdout(&project.run("status", &[]));
    assert!(!left.contains("text.split-words"), "what a process took ends with it: {left}");
}

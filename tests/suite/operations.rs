//! The operations of streams, from the pipeline file to the rows, as `millstream test` shows them.

use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "operations"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.raw]
type = "files"
path = "pairs/*.json"
format = "json"
schema = { word = "utf8", n = "int64" }
[sources.labels]
type = "files"
path = "labels/*.json"
format = "json"
schema = { word = "utf8", label = "utf8" }
[streams.pairs]
sql = "SELECT word, coalesce(n, 0) AS n FROM raw"
[streams.sliding]
from = "pairs"
window = { length = "2s" }
[streams.tumbling]
from = "pairs"
window = { length = "2s", slide = "2s" }
[streams.tumbling-counts]
sql = 'SELECT count(*) AS total FROM tumbling'
[streams.sums]
from = "pairs"
reduce = { by = ["word"], function = "text.add" }
[streams.whole]
from = "pairs"
reduce = { function = "text.add", columns = ["n"] }
[streams.window-totals]
from = "pairs"
aggregate = { by = ["word"], total = "sum(n)", most = "max(n)", rows = "count(*)", window = { length = "2s" } }
[streams.window-sums]
from = "pairs"
reduce = { by = ["word"], function = "text.add", window = { length = "2s" } }
[streams.window-inverse]
from = "pairs"
reduce = { by = ["word"], function = "text.add", inverse = "text.subtract", window = { length = "2s" } }
[streams.window-whole]
from = "pairs"
reduce = { function = "text.add", columns = ["n"], inverse = "text.subtract", window = { length = "2s" } }
[streams.window-whole-kept]
from = "pairs"
reduce = { function = "text.add", columns = ["n"], inverse = "text.subtract", keep = "n <> 0", window = { length = "4s", slide = "2s" } }
[streams.window-kept]
from = "pairs"
reduce = { by = ["word"], function = "text.add", inverse = "text.subtract", keep = "n <> 0", window = { length = "2s" } }
[streams.counts]
from = "pairs"
update-state = { by = ["word"], function = "text.running-count", timeout = "1s" }
[streams.states]
from = "counts"
snapshot = true
[streams.joined]
from = ["pairs", "labels"]
join = { on = ["word"], kind = "full" }
[streams.left]
from = ["pairs", "labels"]
join = { on = ["word"], kind = "left" }
[streams.grouped]
from = ["pairs", "labels"]
cogroup = { on = ["word"] }
[streams.spread]
from = "pairs"
repartition = { partitions = 3 }
[sinks.screen]
from = "sums"
type = "print"

[[tests]]
name = "windows"
given.raw = [[{ word = "a", n = 1 }], [{ word = "b", n = 2 }], [], [{ word = "a", n = 4 }]]
expect.sliding = [
    [{ word = "a", n = 1 }],
    [{ word = "a", n = 1 }, { word = "b", n = 2 }],
    [{ word = "b", n = 2 }],
    [{ word = "a", n = 4 }],
    [{ word = "a", n = 4 }],
    [],
]
expect.tumbling = [[], [{ word = "a", n = 1 }, { word = "b", n = 2 }], [], [{ word = "a", n = 4 }]]
expect.tumbling-counts = [[], [{ total = 2 }], [], [{ total = 1 }], [], [{ total = 0 }]]

[[tests]]
name = "reduces"
given.raw = [[{ word = "a", n = 1 }, { word = "b", n = 5 }, { word = "a", n = 2 }], [], [{ word = "b", n = 7 }]]
expect.sums = [[{ word = "a", n = 3 }, { word = "b", n = 5 }], [], [{ word = "b", n = 7 }]]
expect.whole = [[{ n = 8 }], [], [{ n = 7 }]]
expect.window-sums = [
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "b", n = 7 }],
    [{ word = "b", n = 7 }],
    [],
]
expect.window-totals = [
    [{ word = "a", total = 3, most = 2, rows = 2 }, { word = "b", total = 5, most = 5, rows = 1 }],
    [{ word = "a", total = 3, most = 2, rows = 2 }, { word = "b", total = 5, most = 5, rows = 1 }],
    [{ word = "b", total = 7, most = 7, rows = 1 }],
    [{ word = "b", total = 7, most = 7, rows = 1 }],
    [],
]
expect.window-inverse = [
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "a", n = 0 }, { word = "b", n = 7 }],
    [{ word = "a", n = 0 }, { word = "b", n = 7 }],
    [{ word = "a", n = 0 }, { word = "b", n = 0 }],
]
expect.window-whole = [[{ n = 8 }], [{ n = 8 }], [{ n = 7 }], [{ n = 7 }], [{ n = 0 }]]
expect.window-whole-kept = [[], [{ n = 8 }], [], [{ n = 15 }], [], [{ n = 7 }], [], []]
restart-after = [2, 5]
expect.window-kept = [
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "a", n = 3 }, { word = "b", n = 5 }],
    [{ word = "b", n = 7 }],
    [{ word = "b", n = 7 }],
    [],
]

[[tests]]
name = "states"
given.raw = [[{ word = "a", n = 1 }, { word = "a", n = 1 }], [{ word = "b", n = 1 }], [{ word = "b", n = 1 }], [], [{ word = "a", n = 1 }]]
expect.counts = [[{ word = "a", count = 2 }], [{ word = "b", count = 1 }], [{ word = "b", count = 2 }], [], [{ word = "a", count = 1 }]]
expect.states = [
    [{ word = "a", state = 2 }],
    [{ word = "a", state = 2 }, { word = "b", state = 1 }],
    [{ word = "b", state = 2 }],
    [{ word = "b", state = 2 }],
    [{ word = "a", state = 1 }],
]

[[tests]]
name = "streams side by side"
given.raw = [[{ word = "a", n = 1 }, { word = "a", n = 2 }, { word = "b", n = 3 }]]
given.labels = [[{ word = "a", label = "x" }, { word = "c", label = "y" }]]
expect.joined = [[
    { word = "a", n = 1, label = "x" },
    { word = "a", n = 2, label = "x" },
    { word = "b", n = 3 },
    { word = "c", label = "y" },
]]
expect.left = [[
    { word = "a", n = 1, label = "x" },
    { word = "a", n = 2, label = "x" },
    { word = "b", n = 3 },
]]
expect.grouped = [[
    { word = "a", n = [1, 2], label = ["x"] },
    { word = "b", n = [3], label = [] },
    { word = "c", n = [], label = ["y"] },
]]
expect.spread = [[{ word = "a", n = 1 }, { word = "a", n = 2 }, { word = "b", n = 3 }]]
"#;

#[test]
fn every_operation_gives_what_it_says() {
    let tested = Project::new(PIPELINE).run("test", &[]);
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
}

const KEEPING: &str = r#"
name = "keeping"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.counts]
from = "words"
update-state = { by = ["word"], function = "text.running-count" }
[streams.totals]
from = "words"
aggregate = { by = ["word"], total = "count(*)", window = { length = "1h" } }
[streams.ones]
sql = "SELECT word, 1 AS n FROM words"
[streams.sums]
from = "ones"
reduce = { by = ["word"], function = "text.add", inverse = "text.subtract", window = { length = "1h" } }
[sinks.counts]
from = "counts"
type = "files"
path = "counts"
[sinks.totals]
from = "totals"
type = "files"
path = "totals"
[sinks.sums]
from = "sums"
type = "files"
path = "sums"
"#;

/// Ends that come before, in and after the moment in which a batch's states become real.
const ENDS: &[Option<&str>] = &[
    None,
    Some("batch-run"),
    Some("output-prepared"),
    Some("commit-written"),
    None,
    Some("batch-published"),
    Some("manifest-written"),
    None,
];

#[test]
fn states_and_windows_are_after_any_end_as_if_nothing_had_happened() {
    let project = Project::new(KEEPING);
    for (number, end) in ENDS.iter().enumerate() {
        project.write(&format!("in/{number}.txt"), "a b a\n");
        let mut run = project.command("run", &["--once"]);
        run.envs(end.map(|end| ("MILLSTREAM_CRASH_AT", end)));
        let ended = run.output().unwrap();
        assert_eq!(ended.status.success(), end.is_none(), "{end:?}: {}", stderr(&ended));
    }
    project.run_once();
    let files = ENDS.len();
    for (sink, column) in [("counts", "count"), ("totals", "total"), ("sums", "n")] {
        let rows = project.rows(sink);
        let of = |word: &str| -> Vec<u64> {
            let of_word = rows.iter().filter(|row| row["word"] == word);
            of_word.map(|row| row[column].as_u64().unwrap()).collect()
        };
        assert_eq!(of("a").last(), Some(&(2 * files as u64)), "{sink}: {rows:?}");
        assert_eq!(of("b").last(), Some(&(files as u64)), "{sink}: {rows:?}");
        assert!(of("a").is_sorted(), "{sink}: {rows:?}");
    }
}

const COUNTING: &str = r#"
name = "counting"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in"
[streams.counts]
from = "lines"
update-state = { by = ["value"], function = "text.running-count" }
[streams.all]
from = "counts"
snapshot = true
[sinks.counts]
from = "counts"
type = "files"
path = "counts"
[sinks.all]
from = "all"
type = "files"
path = "all"
"#;

#[test]
fn a_large_batch_shows_each_key_once_with_all_of_its_rows() {
    let project = Project::new(COUNTING);
    // So many rows that they are shared out to all cores.
    let (keys, rows_of_key) = (700, 50);
    let mut expected = Vec::new();
    for batch in 1..=3 {
        let lines = (0..keys * rows_of_key).map(|row| format!("key {}\n", row * 11 % keys));
        project.write(&format!("in/{batch}.txt"), lines.collect::<String>());
        project.run_once();
        expected.extend((0..keys).map(|key| (format!("key {key}"), batch * rows_of_key)));
    }
    for (sink, column) in [("counts", "count"), ("all", "state")] {
        let mut rows: Vec<(String, u64)> = project
            .rows(sink)
            .iter()
            .map(|row| (row["value"].as_str().unwrap().to_owned(), row[column].as_u64().unwrap()))
            .collect();
        rows.sort();
        expected.sort();
        assert!(rows == expected, "{sink}: {} rows where {} are right", rows.len(), expected.len());
    }
}

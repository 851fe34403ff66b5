//! Windows over event time, from the pipeline file to what is committed.

use crate::support::{Project, stderr, stdout};

const PIPELINE: &str = r#"
name = "orders"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.orders]
type = "files"
path = "orders/*.json"
format = "json"
schema = { customer = "utf8", amount = "int64", at = "timestamp" }
timestamp = "at"
watermark-delay = "10s"
[sources.returns]
type = "files"
path = "returns/*.json"
format = "json"
schema = { customer = "utf8", amount = "int64", at = "timestamp" }
timestamp = "at"
[streams.per-minute]
from = "orders"
aggregate = { by = ["customer"], total = "sum(amount)", window = { length = "1m", slide = "20s", on = "at" } }
[streams.many]
from = "orders"
[streams.many.aggregate]
window = { length = "1m", on = "at" }
mean = "avg(amount)"
half = "median(amount)"
spread = "stddev(amount)"
customers = "count(DISTINCT customer)"
about = "approx_distinct(customer)"
first = "min(customer)"
last = "max(orders.at)"
all = "array_agg(amount)"
large = "count(*) FILTER (WHERE amount > 2)"
cut = "batch_time()"
[streams.minutes]
from = "orders"
window = { length = "1m", on = "at" }
[streams.of-minutes]
sql = "SELECT window_start, count(*) AS n, avg(amount) AS mean FROM minutes GROUP BY window_start"
[streams.too-late]
from = "minutes"
late = true
[streams.sure]
sql = "SELECT coalesce(customer, '?') AS customer, coalesce(amount, 0) AS amount, at FROM orders"
[streams.added]
from = "sure"
reduce = { by = ["customer"], function = "text.add", window = { length = "1m", on = "at" } }
[streams.five-minutes]
from = "added"
aggregate = { most = "max(amount)", window = { length = "5m", on = "window_start" } }
[streams.sliding]
from = "returns"
aggregate = { n = "count(*)", window = { length = "1m", slide = "20s", on = "at" } }
[streams.of-sliding]
from = "sliding"
aggregate = { n = "sum(n)", windows = "count(*)", window = { length = "1m", on = "window_start" } }
[streams.of-sliding-late]
from = "of-sliding"
late = true
[streams.both]
from = ["orders", "returns"]
[streams.both-minutes]
from = "both"
aggregate = { n = "count(*)", window = { length = "1m", on = "at" } }
[sinks.minutes]
from = "minutes"
type = "files"
path = "minutes"
[sinks.late]
from = "too-late"
type = "files"
path = "late"
"#;

const TESTS: &str = r#"
[[tests]]
name = "windows slide over rows in any order"
given.orders = [
    [{ customer = "a", amount = 1, at = "1970-01-01T00:01:05Z" }, { customer = "b", amount = 5, at = "1970-01-01T00:00:59Z" }],
    [{ customer = "a", amount = 2, at = "1970-01-01T00:01:30Z" }, { customer = "a", amount = 4, at = "1970-01-01T00:00:55Z" }],
    [],
    [{ customer = "b", amount = 3, at = "1970-01-01T00:02:10Z" }],
]
expect.per-minute = [
    [],
    [
        { window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", customer = "a", total = 4 },
        { window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", customer = "b", total = 5 },
        { window_start = "1970-01-01T00:00:20Z", window_end = "1970-01-01T00:01:20Z", customer = "a", total = 5 },
        { window_start = "1970-01-01T00:00:20Z", window_end = "1970-01-01T00:01:20Z", customer = "b", total = 5 },
    ],
    [],
    [
        { window_start = "1970-01-01T00:00:40Z", window_end = "1970-01-01T00:01:40Z", customer = "a", total = 7 },
        { window_start = "1970-01-01T00:00:40Z", window_end = "1970-01-01T00:01:40Z", customer = "b", total = 5 },
        { window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", customer = "a", total = 3 },
    ],
]
ordered = true
restart-after = [1, 2, 3]

[[tests]]
name = "what comes too late goes to a stream of its own"
given.orders = [
    [{ customer = "a", amount = 1, at = "1970-01-01T00:00:05Z" }, { customer = "n", amount = 9 }],
    [{ customer = "a", amount = 2, at = "1970-01-01T00:01:09Z" }, { customer = "a", amount = 3, at = "1970-01-01T00:00:59Z" }],
    [{ customer = "b", amount = 3, at = "1970-01-01T00:01:10Z" }],
    [{ customer = "c", amount = 4, at = "1970-01-01T00:00:59Z" }, { customer = "c", amount = 5, at = "1970-01-01T00:01:00Z" }],
    [{ customer = "d", amount = 6, at = "1970-01-01T12:00:00Z" }],
    [{ customer = "d", amount = 7, at = "1970-01-03T00:00:00Z" }, { customer = "e", amount = 8, at = "1970-01-01T11:59:40Z" }],
]
expect.minutes = [
    [],
    [],
    [
        { window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", customer = "a", amount = 1, at = "1970-01-01T00:00:05Z" },
        { window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", customer = "a", amount = 3, at = "1970-01-01T00:00:59Z" },
    ],
    [],
    [
        { window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", customer = "a", amount = 2, at = "1970-01-01T00:01:09Z" },
        { window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", customer = "b", amount = 3, at = "1970-01-01T00:01:10Z" },
        { window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", customer = "c", amount = 5, at = "1970-01-01T00:01:00Z" },
    ],
    [],
]
expect.of-minutes = [
    [],
    [],
    [{ window_start = "1970-01-01T00:00:00Z", n = 2, mean = 2.0 }],
    [],
    [{ window_start = "1970-01-01T00:01:00Z", n = 3, mean = 3.333333333333 }],
    [],
]
expect.too-late = [
    [{ customer = "n", amount = 9 }],
    [],
    [],
    [{ customer = "c", amount = 4, at = "1970-01-01T00:00:59Z" }],
    [],
    [],
]
restart-after = [2, 4]

[[tests]]
name = "the watermark goes on where only the late rows are read"
given.orders = [[{ amount = 1, at = "1970-01-01T00:01:15Z" }], [{ amount = 2, at = "1970-01-01T00:00:15Z" }]]
expect.too-late = [[], [{ amount = 2, at = "1970-01-01T00:00:15Z" }]]
restart-after = [1]

[[tests]]
name = "windows of windows"
given.orders = [
    [{ customer = "a", amount = 1, at = "1970-01-01T00:00:05Z" }, { customer = "b", amount = 3, at = "1970-01-01T00:04:05Z" }],
    [{ customer = "b", amount = 4, at = "1970-01-01T00:04:10Z" }, { customer = "a", amount = 9, at = "1970-01-01T00:05:00Z" }],
    [{ customer = "a", amount = 1, at = "1970-01-01T00:06:10Z" }],
]
expect.five-minutes = [
    [],
    [],
    [{ window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:05:00Z", most = 7 }],
]
restart-after = [1, 2]

[[tests]]
name = "windows of windows that slide are all in time"
given.returns = [[{ at = "1970-01-01T00:01:05Z" }], [{ at = "1970-01-01T00:02:05Z" }], [{ at = "1970-01-01T00:04:05Z" }]]
expect.of-sliding = [
    [],
    [{ window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", n = 2, windows = 2 }],
    [
        { window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", n = 3, windows = 3 },
        { window_start = "1970-01-01T00:02:00Z", window_end = "1970-01-01T00:03:00Z", n = 1, windows = 1 },
    ],
]
expect.of-sliding-late = [[], [], []]
restart-after = [1, 2]

[[tests]]
name = "aggregates of all kinds go on from batch to batch"
given.orders = [
    [{ customer = "b", amount = 1, at = "1970-01-01T00:00:05Z" }, { customer = "a", amount = 3, at = "1970-01-01T00:00:02Z" }],
    [{ customer = "b", amount = 8, at = "1970-01-01T00:00:03Z" }, { customer = "c", amount = 0, at = "1970-01-01T00:00:08Z" }],
    [{ amount = 5, at = "1970-01-01T00:01:10Z" }],
]
expect.many = [
    [],
    [],
    [{ window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", mean = 3.0, half = 2, spread = 3.559026084010437, customers = 3, about = 3, first = "a", last = "1970-01-01T00:00:08Z", all = [1, 3, 8, 0], large = 2, cut = "1970-01-01T00:00:03Z" }],
]
restart-after = [1, 2]

[[tests]]
name = "a stream of two sources waits for both"
given.orders = [[{ at = "1970-01-01T00:00:30Z" }], [{ at = "1970-01-01T00:03:10Z" }], [], []]
given.returns = [[], [], [{ at = "1970-01-01T00:01:00Z" }], [{ at = "1970-01-01T00:02:59Z" }]]
expect.both-minutes = [
    [],
    [],
    [{ window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", n = 1 }],
    [{ window_start = "1970-01-01T00:01:00Z", window_end = "1970-01-01T00:02:00Z", n = 1 }],
]
restart-after = [1, 3]
"#;

#[test]
fn windows_over_event_time_are_what_the_tests_of_a_file_say() {
    let tested = Project::new(&format!("{PIPELINE}{TESTS}")).run("test", &[]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    assert!(stdout(&tested).contains("7 passed, 0 failed"), "{}", stdout(&tested));
}

/// The function fails where a sum is too large.
const FAILING: &str = r#"
[[tests]]
name = "a batch that comes to nothing moves no watermark"
given.orders = [
    [{ customer = "a", amount = 1, at = "1970-01-01T00:00:05Z" }],
    [
        { customer = "a", amount = 9223372036854775807, at = "1970-01-01T00:00:06Z" },
        { customer = "a", amount = 1, at = "1970-01-01T00:00:07Z" },
        { customer = "b", amount = 1, at = "1970-01-01T00:09:00Z" },
    ],
    [{ customer = "a", amount = 2, at = "1970-01-01T00:00:59Z" }, { customer = "b", amount = 3, at = "1970-01-01T00:01:10Z" }],
]
expect.added = [
    [],
    [],
    [{ window_start = "1970-01-01T00:00:00Z", window_end = "1970-01-01T00:01:00Z", customer = "a", amount = 3 }],
]
expect.too-late = [[], [], []]
expect-failure = { batch = 2, error = "sum" }
"#;

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let pipeline = PIPELINE.replace("checkpoint =", "on-failure = \"continue\"\ncheckpoint =");
    let pipeline = pipeline.replace("[streams.added]\n", "[streams.added]\non-error = \"stop\"\n");
    let tested = Project::new(&format!("{pipeline}{FAILING}")).run("test", &[]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    assert!(stdout(&tested).contains("1 passed, 0 failed"), "{}", stdout(&tested));
}

#[test]
fn windows_go_on_where_an_earlier_run_has_ended() {
    let project = Project::new(PIPELINE);
    let order = |seconds: u32, amount: u32| {
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        format!(
            "{{\"customer\": \"a\", \"amount\": {amount}, \"at\": \"2026-01-01T00:{minutes:02}:{seconds:02}Z\"}}\n"
        )
    };
    let runs = [[order(5, 1), order(65, 2)], [order(75, 3), order(20, 4)], [order(30, 5), order(140, 6)]];
    for (run, orders) in runs.iter().enumerate() {
        project.write(&format!("orders/{run}.json"), orders.concat());
        project.run_once();
    }
    let amounts = |folder: &str| {
        project.rows(folder).iter().map(|row| row["amount"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(amounts("minutes"), [1, 4, 2, 3]);
    assert_eq!(amounts("late"), [5]);
}

#[test]
fn another_column_of_event_times_does_not_go_on_with_what_was_kept_by_the_first() {
    const CHANGED: &[(&str, &str)] = &[
        ("timestamp = \"at\"\nwatermark-delay", "timestamp = \"made\"\nwatermark-delay"),
        (
            "window = { length = \"1m\", on = \"at\" }\n[streams.of-minutes]",
            "window = { length = \"1m\", on = \"made\" }\n[streams.of-minutes]",
        ),
    ];
    let before = PIPELINE.replace("at = \"timestamp\" }", "at = \"timestamp\", made = \"timestamp\" }");
    for (old, new) in CHANGED {
        let project = Project::new(&before);
        project.write(
            "orders/0.json",
            "{\"at\": \"2026-01-01T00:00:05Z\", \"made\": \"2026-01-01T00:00:01Z\"}\n",
        );
        project.run_once();
        let after = before.replace(old, new);
        assert_ne!(before, after);
        project.write_pipeline(&after);
        let told = project.refused("run", &["--once"]);
        assert!(told.contains("does not fit"), "{told}");
    }
}

//! Event time: mistakes, and what streams come to have.

use super::{check, check_whole};

/// A source with event times; the fragment's streams follow, from line 7 on.
const TIMED: &str = r#"[sources.visits]
type = "files"
path = "visits"
format = "json"
schema = { user = "utf8", amount = "float64", at = "timestamp", n = "int64" }
timestamp = "at"
"#;

#[tokio::test]
async fn event_times_of_sources() {
    let source = |format: &str, keys: &str| {
        format!("[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"{format}\"\n{keys}")
    };
    let json =
        |keys: &str| source("json", &format!("schema = {{ at = \"timestamp\", n = \"int64\" }}\n{keys}"));
    let cases: &[(String, &[&str])] = &[
        (json("timestamp = \"at\"\nwatermark-delay = \"0s\""), &[]),
        (json("timestamp = \"at\"\nwatermark-delay = \"2h\""), &[]),
        (json("timestamp = \"att\""), &["6:13 did you mean \"at\"?"]),
        (json("timestamp = \"n\""), &["6:13 \"n\" is int64, and event times are of the type timestamp"]),
        (json("timestamp = 5"), &["6:13 expected the name of a column"]),
        (json("timestamp = \"at\"\nwatermark-delay = \"10\""), &["7:19 no duration"]),
        (json("timestamp = \"at\"\nwatermark-delay = 10"), &["7:19 expected a duration"]),
        (json("watermark-delay = \"10s\""), &["6:1 as in timestamp = \"at\""]),
        (json("timestamps = \"at\""), &["6:1 did you mean \"timestamp\"?"]),
        (source("lines", "timestamp = \"value\""), &["5:13 \"value\" is utf8"]),
        // Of a window over such a source nothing is said.
        (
            json(
                "timestamp = \"n\"\n[streams.w]\nfrom = \"s\"\nwindow = { length = \"1m\", on = \"nothing\" }",
            ),
            &["6:13 event times are of the type timestamp"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn windows_over_event_time() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[streams.a]\nfrom = \"visits\"\nwindow = { length = \"70ms\", slide = \"20ms\", on = \"at\" }",
            &["9:37 \"slide\" is 20ms; the window's length is 70ms, no multiple of it"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\nwindow = { length = \"1d\", slide = \"1s\", on = \"at\" }",
            &["9:35 \"slide\" is 1000ms; a window is at most 10000 times as long"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\nwindow = { slide = \"1s\", on = \"at\" }",
            &["9:10 lacks \"length\""],
        ),
        ("[streams.a]\nfrom = \"visits\"\nwindow = { length = \"1m\", on = 1 }", &["9:32 expected the name"]),
        (
            "[streams.a]\nfrom = \"visits\"\nwindow = { length = \"1m\", on = \"att\" }",
            &["9:32 \"visits\" has no column \"att\"; did you mean \"at\"?"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\naggregate = { by = [\"user\"], total = \"sum(amount)\", window = { length = \"1m\", on = \"user\" } }",
            &["9:84 \"user\" is utf8"],
        ),
        // Neither `events` nor what is made of it says when something happened.
        (
            "[streams.a]\nsql = \"SELECT * FROM events WHERE amount > 0\"\n[streams.b]\nfrom = \"a\"\nwindow = { length = \"1m\", on = \"at\" }",
            &["11:32 add a line such as timestamp = \"at\" to [sources.events]"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\nwindow = { length = \"2s\", slide = \"2s\" }\n[streams.b]\nfrom = \"a\"\nwindow = { length = \"1m\", on = \"at\" }",
            &["12:32 has one every 2000ms"],
        ),
        (
            "[streams.b]\nsql = \"SELECT user, at, coalesce(amount, 0.0) AS amount FROM visits\"\n[streams.a]\nfrom = \"b\"\nreduce = { by = [\"user\"], function = \"text.add\", inverse = \"text.add\", keep = \"true\", window = { length = \"1m\", on = \"at\" } }",
            &["11:50 nothing leaves a window over event time", "11:72 use a filter"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\naggregate = { by = [\"usr\"], n = \"count(*)\", window = { length = \"1m\", on = \"at\" } }",
            &["9:21 did you mean \"user\"?"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\naggregate = { t = \"sum(amuont)\", window = { length = \"1m\", on = \"at\" } }",
            &["9:24 amuont"],
        ),
        (
            "[streams.a]\nfrom = \"visits\"\naggregate = { t = \"count(*), 1\", window = { length = \"1m\", on = \"at\" } }",
            &["9:1 gives 3 columns instead of 2"],
        ),
        (
            "concurrent-batches = 2\n[streams.a]\nfrom = \"visits\"\nwindow = { length = \"1m\", on = \"at\" }",
            &["10:1 leave \"concurrent-batches\" at 1"],
        ),
    ];
    for (fragment, expected) in cases {
        let text = match fragment.strip_prefix("concurrent-batches = 2\n") {
            Some(rest) => format!("concurrent-batches = 2\n{TIMED}{rest}"),
            None => format!("{TIMED}{fragment}"),
        };
        check(&text, expected).await;
    }
}

#[tokio::test]
async fn columns_that_windows_have_themselves() {
    let minutes = "[streams.minutes]\nfrom = \"visits\"\nwindow = { length = \"1m\", on = \"at\" }\n[streams.a]\nfrom = \"minutes\"\n";
    let cases: &[(&str, &[&str])] = &[
        ("window = { length = \"1h\", on = \"at\" }", &["12:1 a column \"window_start\" of its own"]),
        (
            "aggregate = { by = [\"window_end\"], n = \"count(*)\", window = { length = \"1h\", on = \"at\" } }",
            &["12:21 a column \"window_end\" of its own"],
        ),
        (
            "aggregate = { window_start = \"count(*)\", window = { length = \"1h\", on = \"at\" } }",
            &["12:30 a column \"window_start\" of its own"],
        ),
        ("aggregate = { pane = \"count(*)\", window = { length = \"1h\", on = \"window_start\" } }", &[]),
    ];
    for (fragment, expected) in cases {
        check(&format!("{TIMED}{minutes}{fragment}"), expected).await;
    }
}

#[tokio::test]
async fn late_rows() {
    let window = "[streams.w]\nfrom = \"visits\"\nwindow = { length = \"1m\", on = \"at\" }\n";
    let cases: &[(&str, &[&str])] = &[
        ("[streams.a]\nfrom = \"w\"\nlate = true", &[]),
        ("[streams.a]\nfrom = \"w\"\nlate = false", &["12:8 \"late\" is true, or it is not there"]),
        ("[streams.a]\nfrom = \"w\"\nlate = 1", &["12:8 true or false"]),
        ("[streams.a]\nlate = true", &["10:10 lacks \"from\""]),
        ("[streams.a]\nfrom = [\"w\", \"visits\"]\nlate = true", &["11:8 takes one input"]),
        ("[streams.a]\nfrom = \"visits\"\nlate = true", &["12:1 nothing comes too late for \"visits\""]),
        (
            "[streams.b]\nfrom = \"visits\"\nwindow = { length = \"5s\" }\n[streams.a]\nfrom = \"b\"\nlate = true",
            &["15:1 nothing comes too late for \"b\""],
        ),
    ];
    for (fragment, expected) in cases {
        check(&format!("{TIMED}{window}{fragment}"), expected).await;
    }
}

#[tokio::test]
async fn windows_have_their_bounds_and_late_streams_the_columns_of_the_input() {
    let streams = r#"
name = "t"
batch-interval = "700ms"
[plugins.text]
component = "text.wasm"
[streams.all]
from = ["visits", "visits"]
[streams.minutes]
from = "visits"
window = { length = "1m", slide = "20s", on = "at" }
[streams.sums]
from = "all"
aggregate = { by = ["user"], total = "sum(amount)", window = { length = "1m", on = "at" } }
[streams.sure]
sql = "SELECT user, at, coalesce(amount, 0.0) AS amount FROM visits"
[streams.reduced]
from = "sure"
reduce = { by = ["user"], function = "text.add", window = { length = "1m", on = "at" } }
[streams.hours]
from = "sums"
aggregate = { total = "sum(sums.total)", window = { length = "1h", on = "window_start" } }
[streams.too-late]
from = "reduced"
late = true
[sinks.screen]
from = "hours"
type = "print"
"#;
    let checked = check_whole(&format!("{streams}{TIMED}")).await.unwrap();
    let columns = |stream: &str| {
        let schema = checked.relations.schema(stream).unwrap();
        schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(columns("minutes"), "window_start window_end user amount at n");
    assert_eq!(columns("sums"), "window_start window_end user total");
    assert_eq!(columns("reduced"), "window_start window_end user amount");
    assert_eq!(columns("hours"), "window_start window_end total");
    assert_eq!(columns("too-late"), "user at amount");
}

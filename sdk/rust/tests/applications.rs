//! The pipelines that applications make, as text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use millstream_sdk::application::{Named, pipeline, table};
use millstream_sdk::prelude::*;
use millstream_sdk::{GrantKind, function};

/// Splits.
#[flat_map(output = "word")]
fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ')
}

/// Says it louder.
#[map]
fn shout(word: &str) -> String {
    word.to_uppercase()
}

/// Adds.
#[reduce]
fn add(left: i64, right: i64) -> i64 {
    left + right
}

/// Subtracts.
#[inverse]
fn subtract(total: i64, leaving: i64) -> i64 {
    total - leaving
}

/// Counts.
#[update_state(version = 1)]
fn count(new: Rows<'_, ()>, state: &mut State<i64>, totals: &mut Output<i64>) {
    let total = state.get().copied().unwrap_or(0) + i64::try_from(new.len()).unwrap();
    state.set(total);
    totals.push(total);
}

/// Gives nothing.
struct Silence;

/// Waits for ever.
#[receiver(output = "line")]
impl Receiver for Silence {
    type Row = String;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn poll(&mut self, _: std::time::Duration, _: &mut Output<String>) -> Result<Poll<()>, Fault> {
        Ok(Poll::Ended(()))
    }
}

/// Forgets.
#[sink]
fn forget(word: Rows<'_, &str>) -> Result<(), Fault> {
    match word.len() {
        0 => Err(Fault::rejected("there is nothing to forget")),
        _ => Ok(()),
    }
}

#[derive(Row)]
struct Order {
    customer: String,
    amounts: Vec<f64>,
    at: Timestamp,
}

mod plugin {
    use super::*;

    millstream_sdk::export!(split, shout, add, subtract, count, Silence, forget; application: super::nothing);
}

#[application]
fn nothing(_: &Application) {}

fn text(build: impl FnOnce(&Application)) -> String {
    pipeline(&plugin::MILLSTREAM_PLUGIN, build).unwrap()
}

#[application]
fn all(app: &Application) {
    app.name("all").batch_interval("1s").checkpoint("checkpoint").key("attempts", 3);
    app.probation(50).max_failures(3).probation(100);
    app.grant(GrantKind::Http, ["api.example.com"]).config("depth", 2).config("names", ["a", "b"]);
    app.table("customers", "customers.csv").key("refresh", "5m");
    let words = app.socket("127.0.0.1:9999").flat_map(split).named("words").on_error("skip");
    words.count_by_value().print().named("screen").key("rows", 20);
    words.map(shout).columns(["word"]).keep_columns().sink(forget);
    let orders = app.files("in/*.json").json::<Order>().named("orders").key("timestamp", "at");
    orders.reduce(add).by(["customer"]).over(("1m", "10s")).inverse(subtract).keep("value <> 0");
    orders.aggregate([("n", "count(*)")]).by(["customer"]).over(Window::of("1m").on("at")).late();
    let silent = app.receiver(Silence).update_state(count).by(["line"]).timeout("1d").named("counts");
    silent.snapshot().join(orders, ["customer"]).kind("left");
    silent.union(words).repartition(4).by(["word"]);
    words.window("5s").operation("map", table([("function", "other.f")])).save("out", "json");
    app.sql("SELECT *\nFROM \"orders\"").named("queried");
}

#[test]
fn every_method_says_what_the_pipeline_file_has() {
    let expected = r#"name = "all"
batch-interval = "1s"
checkpoint = "checkpoint"
attempts = 3
upgrade = { probation = 100, max-failures = 3 }

[plugins.self]
grant = { http = ["api.example.com"] }
config = { depth = 2, names = ["a", "b"] }

[sources.socket-1]
type = "socket"
address = "127.0.0.1:9999"

[sources.orders]
type = "files"
path = "in/*.json"
format = "json"
schema = { customer = "utf8", amounts = "list<float64>", at = "timestamp" }
timestamp = "at"

[sources.receiver-1]
plugin = "self.silence"

[tables.customers]
path = "customers.csv"
refresh = "5m"

[streams.words]
from = "socket-1"
flat-map = "self.split"
on-error = "skip"

[streams.counts-1]
sql = "SELECT *, count(*) AS count FROM \"words\" GROUP BY ALL"

[streams.map-1]
from = "words"
map = { function = "self.shout", columns = ["word"], keep-columns = true }

[streams.reduce-1]
from = "orders"
reduce = { function = "self.add", by = ["customer"], window = { length = "1m", slide = "10s" }, inverse = "self.subtract", keep = "value <> 0" }

[streams.aggregate-1]
from = "orders"
aggregate = { n = "count(*)", by = ["customer"], window = { length = "1m", on = "at" } }

[streams.late-1]
from = "aggregate-1"
late = true

[streams.counts]
from = "receiver-1"
update-state = { function = "self.count", by = ["line"], timeout = "1d" }

[streams.snapshot-1]
from = "counts"
snapshot = true

[streams.join-1]
from = ["snapshot-1", "orders"]
join = { on = ["customer"], kind = "left" }

[streams.union-1]
from = ["counts", "words"]

[streams.repartition-1]
from = "union-1"
repartition = { partitions = 4, by = ["word"] }

[streams.window-1]
from = "words"
window = { length = "5s" }

[streams.stream-1]
from = "window-1"
map = "other.f"

[streams.queried]
sql = """
SELECT *
FROM \"orders\""""

[sinks.screen]
from = "counts-1"
type = "print"
rows = 20

[sinks.sink-1]
from = "map-1"
plugin = "self.forget"

[sinks.files-1]
from = "stream-1"
type = "files"
path = "out"
format = "json"
"#;
    let made = text(all);
    assert!(made == expected, "{made}");
}

#[test]
fn names_that_are_given_are_never_given_again() {
    let made = text(|app| {
        app.socket("a:1").named("socket-2");
        app.socket("a:2");
        app.socket("a:3");
    });
    let headers: Vec<_> = made.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(headers, ["[sources.socket-2]", "[sources.socket-1]", "[sources.socket-3]"]);
}

#[test]
fn text_alone_is_the_pipeline_and_the_package_names_one_without_a_name() {
    let alone = text(|app| {
        app.toml("name = \"a\"");
    });
    assert_eq!(alone, "name = \"a\"\n");
    let unnamed = text(|app| {
        app.batch_interval("1s");
    });
    assert!(unnamed.starts_with("name = \"millstream-sdk\"\n"), "{unnamed}");
}

#[test]
fn a_function_that_is_not_exported_is_told() {
    mod other {
        millstream_sdk::export!(super::shout);
    }
    let refused = pipeline(&other::MILLSTREAM_PLUGIN, |app| {
        app.socket("a:1").flat_map(Named::<split>::new()).map(Named::<shout>::new());
    });
    let reason = refused.unwrap_err();
    assert!(reason.contains("split") && !reason.contains("shout"), "{reason}");
    assert_eq!(function!(split).name, "split");
}

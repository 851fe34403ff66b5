use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_model::pipeline::{Format, Limit, SourceKind};

use super::{check, check_file, check_whole};
use crate::parse;

pub(super) const WORD_COUNT: &str = r#"
name = "word-count"
batch-interval = "500ms"
checkpoint = "./checkpoint"

[plugins.text]
component = "text.wasm"
grant = { network = ["127.0.0.1:9999"], http = ["api.example.com", "[::1]:8080"], read = ["dictionary"], environment = ["LANG"] }
limit = { memory = "64MiB", time = "1s", table = 500, answer = "8MiB", log = "1KiB", log-rate = "2KiB", http-body = "3KiB" }
config = { separator = " ", deep = { limits = [1, 2.5, true] } }

[sources.lines]
type = "socket"
listen = "127.0.0.1:0"
max-rate = 100_000

[streams.totals]
sql = "SELECT word, count(*) AS total, batch_time() AS at FROM words GROUP BY word"

[streams.words]
from = "lines"
flat-map = "text.split-words"

[sinks.screen]
from = "totals"
type = "print"

[[tests]]
name = "counts each batch"
given.lines = [[{ value = "a b a" }], []]
expect.totals = [[{ word = "a", total = 2 }, { word = "b", total = 1 }], [], []]
"#;

#[tokio::test]
async fn a_pipeline_keeps_what_its_file_says() {
    let checked = check_whole(WORD_COUNT).await.expect("it has no mistake");
    let pipeline = &checked.pipeline;
    assert_eq!(pipeline.checkpoint, Some(PathBuf::from("folder/./checkpoint")));
    assert_eq!(pipeline.plugins[0].grant.http, ["api.example.com", "[::1]:8080"]);
    let limit = Limit {
        memory_bytes: 64 << 20,
        time: Duration::from_secs(1),
        table_elements: 500,
        answer_bytes: 8 << 20,
        log_bytes: 1 << 10,
        log_bytes_per_second: 2 << 10,
        http_body_bytes: 3 << 10,
        compile_memory_bytes: 1 << 30,
        compile_time: Duration::from_secs(60),
    };
    assert_eq!(pipeline.plugins[0].limit, limit);
    assert_eq!(pipeline.plugins[0].config["deep"]["limits"][1], 2.5);
    assert!(matches!(pipeline.sources[0].kind, SourceKind::SocketListen { .. }));
    assert_eq!(pipeline.sources[0].format, Format::Lines);
    assert_eq!(pipeline.streams[0].name.value, "totals");
    assert_eq!(pipeline.tests[0].expect[0].1.len(), 3);
    let words = checked.relations.schema("words").expect("it is planned");
    assert_eq!(words.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["word"]);
    assert!(checked.components.contains_key("text"));
}

#[tokio::test]
async fn streams_without_mistakes_pass() {
    let fragments = [
        "[streams.a]\nfrom = \"lines\"\nmap = { function = \"text.shout\" }",
        "[streams.a]\nfrom = \"lines\"\nflat-map = { function = \"text.split-words\", columns = [\"value\"], keep-columns = true }",
        "[streams.a]\nfrom = \"lines\"\nfilter = \"text.is-long\"\n[streams.b]\nfrom = [\"a\", \"lines\"]",
        "[streams.a]\nfrom = \"lines\"\ntransform = \"text.sort\"",
        "[streams.a]\nsql = \"SELECT coalesce(amount, 0.0) AS amount FROM events\"\n[streams.b]\nfrom = \"a\"\nmap = \"text.scale\"",
        "[streams.a]\nfrom = \"events\"\naggregate = { by = [\"user\"], n = \"count(*)\", total = \"sum(amount)\" }",
        "[streams.a]\nfrom = \"events\"\naggregate = { n = \"count(*)\" }",
        "[streams.a-b]\nfrom = \"lines\"\nfilter = \"text.is-long\"\n[streams.c]\nsql = 'SELECT * FROM \"a-b\"'",
        "[sources.c]\ntype = \"files\"\npath = \"in\"\nformat = \"csv\"\nheader = true\nschema = { a = \"int64\" }",
        "[sinks.out]\nfrom = \"lines\"\ntype = \"files\"\npath = \"out\"\nformat = \"text\"",
    ];
    for fragment in fragments {
        check(fragment, &[]).await;
    }
}

#[tokio::test]
async fn a_pipeline_with_tests_needs_no_sink() {
    let text = WORD_COUNT.replace("[sinks.screen]\nfrom = \"totals\"\ntype = \"print\"", "");
    check_file(&text, &[]).await;
}

#[test]
fn parsing_alone_asks_for_no_component() {
    let pipeline = parse(Path::new("pipeline.toml"), WORD_COUNT).expect("its form is right");
    assert_eq!(pipeline.plugins[0].component.value, PathBuf::from("text.wasm"));
}

#[test]
fn a_hundred_mistakes_are_shown_and_the_rest_counted() {
    let unknown: String = (0..130).map(|i| format!("unknown-{i} = 1\n")).collect();
    let errors = parse(Path::new("p.toml"), &format!("{unknown}{WORD_COUNT}")).expect_err("it is wrong");
    let shown = errors.to_string();
    assert_eq!(shown.lines().count(), 101);
    assert!(shown.starts_with("p.toml:1:1: ") && shown.ends_with("and 30 more"), "{shown}");
}

#[test]
fn a_huge_file_is_refused() {
    let errors = parse(Path::new("p.toml"), &"#".repeat((1 << 20) + 1)).expect_err("it is wrong");
    assert!(errors.to_string().contains("at most 1048576 bytes"), "{errors}");
}

#[test]
fn checking_can_move_between_threads() {
    fn assert_send(_: impl Send) {}
    assert_send(check_whole(WORD_COUNT));
}

#[tokio::test]
async fn settings_of_receiving_and_scheduling_pass() {
    let fragments = [
        "backpressure = true\n",
        "backpressure = { proportional = 1, integral = 0.5, derivative = 0.0, min-rate = 10 }\n",
        "[upgrade]\nprobation = 0\nmax-failures = 5\n",
        "block-interval = \"50ms\"\nreceive-disk = \"1GiB\"\nhistory = \"64MiB\"\n",
        "concurrent-batches = 4\nattempts = 3\non-failure = \"continue\"\ncatch-up = \"every-batch\"\n",
        "[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nparallelism = 3\n",
        "checkpoint = \"c\"\n[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nresume = true\nstorage = \"memory-and-disk\"\n",
    ];
    for fragment in fragments {
        check(fragment, &[]).await;
    }
}

#[test]
fn the_block_interval_follows_the_batch_interval() {
    let interval = |keys: &str| {
        let text = format!(
            "name = \"p\"\n{keys}\n[sources.s]\ntype = \"files\"\npath = \"in\"\n[sinks.p]\nfrom = \"s\"\ntype = \"print\"\n"
        );
        parse(Path::new("pipeline.toml"), &text).unwrap().block_interval.as_millis()
    };
    assert_eq!(interval("batch-interval = \"10s\""), 200);
    assert_eq!(interval("batch-interval = \"100ms\""), 20);
    assert_eq!(interval("batch-interval = \"100ms\"\nblock-interval = \"70ms\""), 70);
}

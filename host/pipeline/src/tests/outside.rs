//! Receivers and sinks of plugins.

use millstream_model::pipeline::{Format, SinkKind};

use super::{AFTER, BEFORE, check, check_whole};

#[tokio::test]
async fn receivers() {
    let source = |rest: &str| format!("[sources.s]\nplugin = {rest}");
    let cases: &[(&str, &[&str])] = &[
        ("\"tail\"", &["2:10 is no function; write \"plugin.function\""]),
        ("5", &["2:10 expected a function"]),
        ("\"txt.tail\"", &["2:10 plugin \"txt\", which does not exist; did you mean \"text\"?"]),
        ("\"text.tial\"", &["2:10 no function \"tial\"; did you mean \"tail\"?"]),
        ("\"text.shout\"", &["2:10 of the kind map and not receiver; write map = \"text.shout\""]),
        ("\"text.post\"", &["2:10 of the kind sink and not receiver"]),
        ("\"text.picky\"", &["2:10 of the kind sink and not receiver"]),
        ("\"text.picky-tail\"", &["2:10 as \"text\" is configured: there is no `url`"]),
        ("\"text.tail\"\ntype = \"files\"", &["3:1 takes no \"type\""]),
        ("\"text.tail\"\nformat = \"json\"", &["3:1 takes no \"format\""]),
        ("\"text.tail\"\nschema = { a = \"utf8\" }", &["3:1 takes no \"schema\""]),
        ("\"text.tail\"\naddress = \"a:1\"", &["3:1 takes no \"address\""]),
        ("\"text.tail\"\nparallelism = 2", &["3:1 takes no \"parallelism\""]),
        ("\"text.tail\"\nresume = true", &["3:1 takes no \"resume\""]),
        ("\"text.tail\"\nstorage = \"disk\"", &["3:11 checkpoint"]),
        ("\"text.tail\"\ntimestamp = \"line\"", &["3:13 \"line\""]),
        ("\"text.tail\"\nmax-rat = 5", &["3:1 did you mean \"max-rate\"?"]),
        ("\"text.tail\"\nmax-rate = 5\ntimestamp = \"at\"\nwatermark-delay = \"1s\"", &[]),
    ];
    for (rest, expected) in cases {
        check(&source(rest), expected).await;
    }
    check(
        "[streams.a]\nfrom = \"lines\"\nmap = \"text.tail\"",
        &["3:7 give a source plugin = \"text.tail\""],
    )
    .await;
}

#[tokio::test]
async fn sinks() {
    let sink = |from: &str, rest: &str| format!("[sinks.s]\nfrom = \"{from}\"\nplugin = {rest}");
    let cases: &[(&str, &str, &[&str])] = &[
        ("events", "\"text.pots\"", &["3:10 no function \"pots\"; did you mean \"post\"?"]),
        ("events", "\"text.tail\"", &["3:10 of the kind receiver and not sink; it brings rows in"]),
        ("events", "\"text.post\"\ntype = \"print\"", &["4:1 takes no \"type\""]),
        ("events", "\"text.post\"\npath = \"out\"", &["4:1 takes no \"path\""]),
        ("events", "\"text.post\"\nrows = 3", &["4:1 takes no \"rows\""]),
        ("lines", "\"text.post\"", &["3:10 has no column \"amount\"", "3:10 has no column \"user\""]),
        ("events", "\"text.post\"\ncolumns = [\"user\"]", &["4:12 given 1 columns"]),
        ("events", "\"text.post\"\ncolumns = [\"user\", \"at\"]", &["4:20 cannot take column \"at\""]),
        ("lines", "\"text.picky\"", &["3:10 sink \"s\" cannot use \"text.picky\""]),
        ("events", "\"text.post\"", &[]),
        ("events", "\"text.post\"\ncolumns = [\"user\", \"amount\"]", &[]),
    ];
    for (from, rest, expected) in cases {
        check(&sink(from, rest), expected).await;
    }
    check("[streams.a]\nfrom = \"lines\"\nmap = \"text.post\"", &["3:7 give a sink plugin = \"text.post\""])
        .await;
    check(
        "[sinks.s]\nfrom = \"lines\"\ntype = \"print\"\ncolumns = [\"value\"]",
        &["4:1 takes no \"columns\""],
    )
    .await;
}

#[tokio::test]
async fn what_plugins_say_of_columns_is_in_the_checked_pipeline() {
    let fragment = r#"
[sources.tail]
plugin = "text.tail"
[streams.long]
sql = "SELECT line AS other, 1.5 AS n FROM tail WHERE at IS NOT NULL"
[sinks.post]
from = "long"
plugin = "text.post"
columns = ["other", "n"]
"#;
    let checked = check_whole(&format!("{BEFORE}{fragment}{AFTER}")).await.unwrap();
    let source = checked.pipeline.sources.iter().find(|source| source.name.value == "tail").unwrap();
    let Format::Rows(schema) = &source.format else { panic!("{source:?}") };
    assert_eq!(schema.to_string(), "{ line: utf8, at: timestamp }");
    let sink = checked.pipeline.sinks.iter().find(|sink| sink.name.value == "post").unwrap();
    let SinkKind::Plugin(call) = &sink.kind else { panic!("{sink:?}") };
    let columns: Vec<_> = call.columns.iter().flatten().map(|column| column.value.as_str()).collect();
    assert_eq!(columns, ["other", "n"]);
}

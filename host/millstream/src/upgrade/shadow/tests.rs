use clap::Parser;
use millstream_engine::{DifferingRow, ShadowReport, Side, SinkDifferences};
use millstream_model::BatchTime;
use serde_json::json;

use super::super::{Options, Report, as_text};
use super::{ShadowRequest, Shadowed};

fn batches(batches: u64, rows: u64) -> ShadowReport {
    let [first, last] = [0, 99].map(|batch| Some(BatchTime::from_ms(1_700_000_012_000 + batch * 1_000)));
    let (before_ms, after_ms) = (11.8 * batches as f64, 12.1 * batches as f64);
    ShadowReport { batches, first, last, rows, before_ms, after_ms, ..ShadowReport::default() }
}

fn row(side: Side, row: &str) -> DifferingRow {
    DifferingRow { batch: BatchTime::from_ms(1_700_000_047_000), side, row: row.to_owned() }
}

/// A hundred batches, in which one row of a sink changed.
fn one_changed() -> ShadowReport {
    let before = row(Side::Before, r#"{"word":"a","count":3}"#);
    let after = row(Side::After, r#"{"word":"a","count":4}"#);
    let samples = vec![before, after];
    let sink = SinkDifferences { differing: 1, only_before: 1, only_after: 1, samples, columns: None };
    ShadowReport { sinks: [("counts".to_owned(), sink)].into(), ..batches(100, 1_000_000) }
}

/// What is told where an upgrade with that request found `found`: what is printed, and why it is rejected.
fn told(asked: ShadowRequest, found: ShadowReport) -> (String, Option<String>) {
    let accepted = asked.accepts(&found);
    let rejection = (!accepted).then(|| asked.rejection("counts", &found));
    let shadow = Some(Shadowed { accepted, promoted: accepted && asked.promote, report: found });
    let changes = vec!["plugin text: 3f1c9a0b22de to 81d0c4e7af35".to_owned()];
    let report =
        Report { changes, after: Some(1_700_000_112_000), reassigned: 0, shadow, migrated: Vec::new() };
    (as_text("counts", &report), rejection)
}

fn asked(promote: bool, differences_max: u64) -> ShadowRequest {
    ShadowRequest { batches: 100, promote, differences_max }
}

#[test]
fn a_version_that_changes_a_row_is_rejected_with_the_row() {
    let (text, rejection) = told(asked(true, 0), one_changed());
    let expected = r#"plugin text: 3f1c9a0b22de to 81d0c4e7af35
shadowed 100 batches, 1700000012000 to 1700000111000: 1,000,000 rows compared, 1 differs
  sink "counts": 1 row only before, 1 only after
    1700000047000  - {"word":"a","count":3}
    1700000047000  + {"word":"a","count":4}
took 12.1 ms a batch, before 11.8 ms
"#;
    assert_eq!(text, expected);
    let expected = "rejected: 1 row differs and 0 may (--allow-diff); counts goes on as it was";
    assert_eq!(rejection.as_deref(), Some(expected));
}

#[test]
fn an_accepted_version_is_promoted_only_where_that_was_asked_for() {
    let same = || batches(100, 1);
    let cases = [
        (asked(true, 0), same(), "counts goes on with this after batch 1700000112000\n"),
        (asked(false, 0), same(), "counts goes on as it was\n"),
        (asked(true, 1), one_changed(), "counts goes on with this after batch 1700000112000\n"),
    ];
    for (asked, found, last) in cases {
        let (text, rejection) = told(asked, found);
        assert!(rejection.is_none() && text.ends_with(last), "{text}");
    }
    assert!(told(asked(false, 0), same()).0.contains(": 1 row compared, none differs\n"));
}

#[test]
fn a_rejection_names_what_is_in_the_way() {
    let mut failed = batches(100, 1);
    (0..30).for_each(|_| failed.fail("batch 1: it traps"));
    let mut other_columns = one_changed();
    other_columns.sinks.get_mut("counts").unwrap().columns = Some("{ a: utf8 } before, { } after".to_owned());
    let mut many = one_changed();
    many.sinks.get_mut("counts").unwrap().differing = 12_345;
    let cases = [
        (failed, "the new version failed 30 times"),
        (other_columns, "the columns of sink \"counts\" differ"),
        (many, "12,345 rows differ and 1,000 may"),
        (ShadowReport::default(), "no batch was compared"),
    ];
    for (found, expected) in cases {
        let rejection = told(asked(true, 1_000), found.clone()).1.unwrap();
        assert!(rejection.starts_with("rejected: ") && rejection.contains(expected), "{rejection}");
        let unasked = told(asked(false, 1_000), found).1.unwrap();
        assert!(unasked.starts_with(expected), "{unasked}");
    }
}

#[test]
fn a_report_tells_what_it_leaves_out_and_what_failed() {
    let mut report = one_changed();
    let sink = report.sinks.get_mut("counts").unwrap();
    (sink.only_before, sink.only_after) = (2_000, 1);
    sink.columns = Some("{ a: utf8 } before, { a: int64 } after".to_owned());
    report.by_digest.insert("large".to_owned(), 1);
    (0..21).for_each(|_| report.fail("batch 1:\n\u{1b}[31mtrap"));
    let text = told(asked(false, 0), report).0;
    let lines: Vec<&str> = text.lines().collect();
    for told in [
        "  sink \"counts\": 2,000 rows only before, 1 only after; its columns differ: { a: utf8 } before, { a: int64 } after",
        "    …",
        "  failed: batch 1: \u{fffd}[31mtrap",
        "  failed 1 time more",
    ] {
        assert!(lines.contains(&told), "{told}\n\nis not in\n\n{text}");
    }
    assert!(lines.iter().any(|line| line.contains("\"large\"") && line.contains("in 1 batch")), "{text}");
}

#[test]
fn a_program_reads_the_report_and_what_became_of_the_version() {
    let shadowed = Shadowed { accepted: false, promoted: false, report: one_changed() };
    let object = serde_json::to_value(&shadowed).unwrap();
    assert_eq!(object["accepted"], json!(false));
    assert_eq!(object["batches"], json!(100));
    assert_eq!(object["sinks"]["counts"]["samples"][0]["side"], json!("before"));
    assert_eq!(serde_json::from_value::<Shadowed>(object).unwrap(), shadowed);
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    upgrade: Options,
}

#[test]
fn what_belongs_to_a_shadow_run_is_asked_with_one() {
    let parse = |arguments: &str| {
        let parsed = Arguments::try_parse_from(
            ["upgrade", "pipeline.toml", "text=text.wasm"].into_iter().chain(arguments.split_whitespace()),
        );
        parsed.map(|arguments| arguments.upgrade.shadow.request()).map_err(|error| error.kind())
    };
    let request = ShadowRequest { batches: 3, promote: true, differences_max: 7 };
    assert_eq!(parse("--shadow 3 --promote --allow-diff 7"), Ok(Some(request)));
    let request = ShadowRequest { batches: 10_000, promote: false, differences_max: 0 };
    assert_eq!(parse("--shadow 10000"), Ok(Some(request)));
    assert_eq!(parse(""), Ok(None));
    for refused in ["--promote", "--allow-diff 7", "--shadow 0", "--shadow 10001", "--shadow"] {
        assert!(parse(refused).is_err(), "{refused}");
    }
}

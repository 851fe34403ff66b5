//! What is added up over batches.

use super::{captured, compare, counts, time};
use crate::ShadowReport;

#[test]
fn batches_and_sinks_are_added_up() {
    let mut report = ShadowReport::default();
    let rows = counts(&[("a", 1), ("b", 2)]);
    let other = counts(&[("a", 1), ("b", 3)]);
    let given = |out, more| captured(&[("out", out), ("more", more)]);
    let before = given(rows.clone(), rows.clone());
    compare(time(1), &before, &before.clone(), &mut report);
    assert!(report.is_equal());
    compare(time(2), &before, &given(other.clone(), rows.clone()), &mut report);
    compare(time(3), &before, &given(other, rows), &mut report);
    let times = (report.batches, report.first, report.last);
    assert_eq!(times, (3, Some(time(1)), Some(time(3))));
    assert_eq!((report.rows, report.before_ms, report.after_ms), (12, 6.0, 9.0));
    assert_eq!(report.sinks.keys().collect::<Vec<_>>(), ["out"]);
    let sink = &report.sinks["out"];
    assert_eq!((sink.differing, sink.only_before, sink.only_after), (2, 2, 2));
    let batches: Vec<_> = sink.samples.iter().map(|sample| sample.batch.as_ms()).collect();
    assert_eq!(batches, [2, 2, 3, 3]);
    assert!(report.is_within(2) && !report.is_within(1));
}

#[test]
fn a_row_that_comes_a_batch_later_differs_in_both() {
    let (one, none) = (captured(&[("out", counts(&[("a", 1)]))]), captured(&[]));
    let mut report = ShadowReport::default();
    compare(time(1), &one, &none, &mut report);
    compare(time(2), &none, &one, &mut report);
    assert_eq!(report.differing_rows(), 2);
}

#[test]
fn a_sink_that_one_version_lacks_differs_in_all_its_rows() {
    let rows = counts(&[("a", 1), ("b", 2)]);
    let (one, both) = (captured(&[("a", rows.clone())]), captured(&[("a", rows.clone()), ("b", rows)]));
    for (before, after, expected) in [(&both, &one, (2, 0)), (&one, &both, (0, 2))] {
        let mut report = ShadowReport::default();
        compare(time(1), before, after, &mut report);
        let sink = &report.sinks["b"];
        assert_eq!((sink.only_before, sink.only_after), expected);
        assert_eq!(report.sinks.len(), 1);
    }
}

#[test]
fn no_more_is_shown_however_many_batches_differ() {
    let mut report = ShadowReport::default();
    let (before, after) =
        (captured(&[("out", counts(&[("a", 1)]))]), captured(&[("out", counts(&[("a", 2)]))]));
    for ms in 1..=100 {
        compare(time(ms), &before, &after, &mut report);
        report.fail(&"x".repeat(1 << 20));
    }
    assert_eq!((report.differing_rows(), report.sinks["out"].samples.len()), (100, 10));
    let failures = report.failures.len() as u64;
    assert_eq!(failures + report.more_failures, 100);
    assert!(serde_json::to_string(&report).unwrap().len() < 200_000);
}

#[test]
fn a_version_that_fails_on_its_own_is_within_no_bound() {
    let mut report = ShadowReport::default();
    let none = captured(&[]);
    assert!(!report.is_within(u64::MAX), "nothing was compared");
    compare(time(1), &none, &none, &mut report);
    assert!(report.is_within(0));
    report.fail("batch 1000: the function traps");
    assert!(!report.is_equal() && !report.is_within(u64::MAX));
}

#[test]
fn a_report_is_the_same_after_a_way_as_json() {
    let mut report = ShadowReport { before_ms: 1.5, ..ShadowReport::default() };
    let (before, after) = (captured(&[("out", counts(&[("a", 1)]))]), captured(&[]));
    compare(time(1), &before, &after, &mut report);
    report.fail("no");
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains("\"only-before\":1") && text.contains("\"side\":\"before\""), "{text}");
    assert_eq!(serde_json::from_str::<ShadowReport>(&text).unwrap(), report);
}

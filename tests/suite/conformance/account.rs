//! `docs/conformance.md`: what it says is there is there, and nothing is left out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Group;
use super::case::cases;
use crate::support::root;

/// The cases that `processes` runs, one test each.
const PROCESSES: &[&str] = &[
    "py-slice",
    "basic-slice-uninitialized",
    "socket-lines",
    "py-ctx-textFileStream",
    "py-ctx-binaryRecords",
    "py-rkw-invalid-window",
];

fn document() -> String {
    std::fs::read_to_string(root().join("docs/conformance.md")).unwrap()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_case_is_run_or_named_with_the_reason() {
    let document = document();
    let (_, rest) = document.split_once("### Not run\n").expect("there is a chapter of what is not run");
    let not_run: BTreeSet<&str> = rest.split("\n## ").next().into_iter().flat_map(quoted).collect();
    let cases = cases();
    assert_eq!(cases.len(), 83);
    for case in &cases {
        let id = case.id.as_str();
        let ways = [Group::of(case).is_some(), PROCESSES.contains(&id), not_run.contains(id)];
        assert_eq!(
            ways.iter().filter(|way| **way).count(),
            1,
            "{id}: in a group, in a process, not run: {ways:?}"
        );
    }
}

#[test]
fn every_setting_that_millstream_lacks_is_named_as_a_difference() {
    let document = document();
    let (_, rest) = document.split_once("### Where Millstream differs\n").expect("there is a chapter of it");
    let named: BTreeSet<&str> = rest.split("\n##").next().into_iter().flat_map(quoted).collect();
    let lacking: Vec<_> = cases().into_iter().filter(|case| !case.without_counterpart().is_empty()).collect();
    assert_eq!(lacking.len(), 4);
    for case in &lacking {
        let id = case.id.as_str();
        assert!(named.contains(id), "{id}: {:?}", case.without_counterpart());
    }
}

/// What the cases of queues observe: each table that was pushed is a batch, in order.
#[test]
fn what_a_queue_gives_one_at_a_time_is_a_table_for_each_batch() {
    let queues: Vec<_> = cases().into_iter().filter(|case| !case.queue_pushes.is_empty()).collect();
    assert!(!queues.is_empty());
    for case in &queues {
        assert!(case.one_at_a_time, "{}: a batch of several tables has no translation", case.id);
        let [input] = &case.streams[..] else { panic!("{}: one queue", case.id) };
        let batches: Vec<_> = input.batches.iter().flatten().collect();
        assert_eq!(batches, case.queue_pushes.iter().flatten().collect::<Vec<_>>(), "{}", case.id);
    }
}

#[test]
fn every_table_has_its_line() {
    let text = std::fs::read(root().join("tests/vectors/unit_tables.json")).unwrap();
    let tables: Value = serde_json::from_slice(&text).unwrap();
    let document = document();
    let lacks = |name: &&String| !document.contains(&format!("\n| `{name}` |"));
    let names = tables.as_object().unwrap().keys().filter(|name| *name != "about");
    let missing: Vec<_> = names.filter(lacks).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_test_that_is_named_exists() {
    let document = document();
    let named: Vec<_> = quoted(&document).filter_map(|text| text.split_once(".rs: ")).collect();
    assert!(named.len() > 100, "{}", named.len());
    let is_there = |(path, test): &(&str, &str)| {
        let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
        source.contains(&format!("fn {test}("))
    };
    let missing: Vec<_> = named.iter().filter(|named| !is_there(named)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

//! Spark's own test tables, run by Millstream.
//!
//! `tests/vectors/vectors.json` holds the inputs and outputs that Spark's suites assert. Each case is made into streams and a
//! test of a pipeline file, many cases to a file, and `millstream test` runs them. The few that speak of sockets, of files, or
//! of what comes before the first batch are run by `millstream run` and its like, in `processes`. What of a case is not
//! known here fails; nothing is passed over.
//!
//! How a case is said in Millstream:
//!
//! - A number or a text is a row with the column `value`. A pair is a row with the columns `k` and `v`, and where a join puts
//!   two values behind a key, they are `v` and `w`. An `Option` is a column with nulls, a `Vec` a list, and a key that is now
//!   a text and now a number is a text.
//! - A queue of tables is what a test gives to a source. Where Spark's input has no table at all for a batch (`null`), a
//!   source of Millstream has an empty one: there Spark fails, and here nothing comes in.
//! - Functions are those of the plugin `tests/plugins/conformance`. What `union`, `join`, `sortByKey` and `cartesian` do inside
//!   a `transform` is said by the operation of that name, or in SQL.
//! - `mapWithState` calls its function for each pair. An update-state sees a key once a batch, with all its rows; the function
//!   walks over them and gives a row for each. Its stream has the key's column as well, which Spark's has not.
//! - `updateStateByKey` visits every key in every batch: `every-key = true`.
//! - A `combineByKey` whose parts are the same function is a reduce.
//! - `countByWindow` and `countByValueAndWindow` are aggregates over windows.
//! - In how many partitions the input comes, and by which partitioner, is the engine's own business.
//! - Rows are compared as a list where the case says `ordered`, else as a multiset. The values of a group that has no order are
//!   sorted on both sides. Between the batches in which outputs are expected, none may come.
//! - What is said of all batches together is shown by a window of all of them, which has a table in the last.

mod account;
mod case;
mod draft;
mod functions;
mod processes;
mod translation;
mod types;
mod units;

use std::collections::{BTreeMap, BTreeSet};

use case::{Case, cases};
use draft::Draft;
use serde_json::Value;

use crate::support::{Project, stderr, stdout};

/// Which cases of those that `millstream test` runs stand in a file together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// A batch that fails, or that has no table.
    Failures,
    Restarts,
    /// States that begin with those of a table.
    InitialStates,
    States,
    Windows,
    /// What becomes of a single batch, by Spark's suites for Scala, Java and Python.
    Scala,
    Java,
    Python,
}

impl Group {
    /// The group of a case; none, where the case needs a process of its own.
    fn of(case: &Case) -> Option<Self> {
        let has = |wanted: fn(&case::Node) -> bool| case.nodes.iter().any(wanted);
        if case.needs_a_process() {
            return None;
        }
        Some(match case.id.split('-').next() {
            _ if case.error.is_some() => Self::Failures,
            _ if case.restart_after_batch.is_some() => Self::Restarts,
            _ if has(|node| !node.initial.is_empty()) => Self::InitialStates,
            _ if has(|node| matches!(node.op.as_str(), "updateStateByKey" | "mapWithState")) => Self::States,
            _ if has(|node| node.window.is_some()) => Self::Windows,
            Some("java") => Self::Java,
            Some("py") => Self::Python,
            _ => Self::Scala,
        })
    }
}

#[test]
fn a_batch_that_spark_fails_fails_or_gives_no_rows() {
    check(Group::Failures);
}

#[test]
fn a_pipeline_that_is_killed_goes_on_as_spark_does() {
    check(Group::Restarts);
}

#[test]
fn states_that_begin_with_a_table_become_what_they_become_in_spark() {
    check(Group::InitialStates);
}

#[test]
fn states_become_what_they_become_in_spark() {
    check(Group::States);
}

#[test]
fn windows_have_what_they_have_in_spark() {
    check(Group::Windows);
}

#[test]
fn batches_become_what_spark_s_suites_for_scala_say() {
    check(Group::Scala);
}

#[test]
fn batches_become_what_spark_s_suites_for_java_say() {
    check(Group::Java);
}

#[test]
fn batches_become_what_spark_s_suites_for_python_say() {
    check(Group::Python);
}

/// Runs the cases of a group, those of each batch interval together, and tells all that fail.
fn check(group: Group) {
    let cases: Vec<_> = cases().into_iter().filter(|case| Group::of(case) == Some(group)).collect();
    let intervals: BTreeSet<_> = cases.iter().map(|case| case.batch_ms).collect();
    let of = |interval: u64| cases.iter().filter(move |case| case.batch_ms == interval);
    // The folders are kept where the test fails, and so must be there until it does.
    let (faults, _folders): (Vec<_>, Vec<_>) =
        intervals.into_iter().map(|interval| run(interval, of(interval))).unzip();
    let faults = faults.concat();
    assert!(faults.is_empty(), "{} failures:\n{}", faults.len(), faults.join("\n"));
}

/// Runs cases in one pipeline file, and gives what is wrong with each, and the file's folder.
fn run<'c>(interval_ms: u64, cases: impl Iterator<Item = &'c Case> + Clone) -> (Vec<String>, Project) {
    let mut draft = Draft::new(interval_ms);
    let mut faults: Vec<_> = cases
        .clone()
        .filter_map(|case| draft.add(case).err().map(|reason| format!("{}: {reason}", case.id)))
        .collect();
    let project = Project::new(&draft.text());
    draft.files.iter().for_each(|(name, content)| project.write(name, content));
    let tested = project.run("test", &["--json"]);
    let outcomes = outcomes(&stdout(&tested));
    faults.extend(cases.filter_map(|case| match outcomes.get(&case.id) {
        None => Some(format!("{}: did not run", case.id)),
        Some(differences) if differences.is_empty() => None,
        Some(differences) => Some(format!("{}:\n    {}", case.id, differences.join("\n    "))),
    }));
    if !faults.is_empty() {
        faults.push(stderr(&tested));
    }
    (faults, project)
}

/// What differs in each test, by its name.
fn outcomes(lines: &str) -> BTreeMap<String, Vec<String>> {
    let outcome = |line: &str| {
        let outcome: Value = serde_json::from_str(line).unwrap();
        let texts = outcome["differences"].as_array().unwrap().iter();
        let mut differences: Vec<_> = texts.map(|text| text.as_str().unwrap().to_owned()).collect();
        if outcome["passed"] != true && differences.is_empty() {
            differences.push("failed, and nothing is said about it".to_owned());
        }
        (outcome["test"].as_str().unwrap().to_owned(), differences)
    };
    lines.lines().map(outcome).collect()
}

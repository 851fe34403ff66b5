//! The pipeline file of some cases, as it is written.

use std::fmt::Write as _;

use serde_json::Value;

use super::case::{Case, Feed, Input};
use super::translation::translate;
use super::types::Type;
use crate::support::component;

/// A pipeline file, and the files that it names.
pub(super) struct Draft {
    interval_ms: u64,
    sections: String,
    tests: String,
    /// Where connections are made to.
    address: Option<String>,
    /// Names and contents.
    pub(super) files: Vec<(String, String)>,
}

impl Draft {
    /// A pipeline without cases.
    pub(super) fn new(interval_ms: u64) -> Self {
        Self { interval_ms, sections: String::new(), tests: String::new(), address: None, files: Vec::new() }
    }

    /// The whole file.
    pub(super) fn text(&self) -> String {
        let component = component("conformance");
        format!(
            "name = \"conformance\"\nbatch-interval = \"{}ms\"\ncheckpoint = \"checkpoint\"\nattempts = 1\n\
             [plugins.conformance]\ncomponent = {component:?}\n{}{}",
            self.interval_ms, self.sections, self.tests
        )
    }

    /// Adds a case, or says what of it has no translation.
    pub(super) fn add(&mut self, case: &Case) -> Result<(), String> {
        case.streams.iter().for_each(|input| self.source(case, input));
        case.nodes.iter().try_for_each(|node| translate(self, case, node))?;
        self.test(case);
        Ok(())
    }

    /// Adds a case that a process of its own runs: what is observed goes to the folder `out`, and a stream that is fed by a
    /// connection gets it from `address`.
    pub(super) fn add_to_run(
        &mut self,
        case: &Case,
        out: &str,
        address: Option<String>,
    ) -> Result<(), String> {
        self.address = address;
        case.streams.iter().for_each(|input| self.source(case, input));
        case.nodes.iter().try_for_each(|node| translate(self, case, node))?;
        let observed = relation(case, &case.observe);
        self.section("sinks", "out", &format!("from = \"{observed}\"\ntype = \"files\"\npath = \"{out}\""));
        Ok(())
    }

    /// A section of the file.
    pub(super) fn section(&mut self, kind: &str, name: &str, body: &str) {
        writeln!(self.sections, "[{kind}.{name}]\n{body}").unwrap();
    }

    /// A stream with `key = value` as its operation.
    pub(super) fn stream(&mut self, name: &str, from: &str, key: &str, value: &str) {
        self.section("streams", name, &format!("from = \"{from}\"\n{key} = {value}"));
    }

    pub(super) fn sql(&mut self, name: &str, query: &str) {
        self.section("streams", name, &format!("sql = '''{query}'''"));
    }

    /// A source, and where its columns may hold nulls, a stream of the same rows whose columns do not.
    fn source(&mut self, case: &Case, input: &Input) {
        let name = relation(case, &input.name);
        let source = source(case, input);
        if let (Feed::Socket, Some(address)) = (input.by, &self.address) {
            let body = format!("type = \"socket\"\naddress = \"{address}\"");
            return self.section("sources", &source, &body);
        }
        if let Some(length) = case.record_length {
            let format = format!("format = \"records\"\nrecord-length = {length}");
            let body = format!("type = \"files\"\npath = \"in/{source}\"\n{format}");
            return self.section("sources", &source, &body);
        }
        if input.kind == Type::Text {
            return self.section("sources", &source, &format!("type = \"files\"\npath = \"in/{source}\""));
        }
        let columns = input.kind.columns();
        let schema: Vec<_> =
            columns.iter().map(|(name, kind)| format!("{name} = \"{}\"", column(kind))).collect();
        let schema = schema.join(", ");
        let body =
            format!("type = \"files\"\npath = \"in/{source}\"\nformat = \"json\"\nschema = {{ {schema} }}");
        self.section("sources", &source, &body);
        let without_nulls = columns.iter().map(|(name, kind)| match kind {
            Type::Text => format!("coalesce({name}, '') AS {name}"),
            _ => format!("coalesce({name}, 0) AS {name}"),
        });
        let without_nulls = without_nulls.collect::<Vec<_>>().join(", ");
        self.sql(&name, &format!("SELECT {without_nulls} FROM \"{source}\""));
    }

    fn test(&mut self, case: &Case) {
        let mut test = format!("[[tests]]\nname = \"{}\"\nordered = {}\n", case.id, case.ordered);
        for input in &case.streams {
            let batches: Vec<_> = input
                .batches
                .iter()
                .take(case.run_batches)
                .map(|batch| {
                    let rows: Vec<_> = batch.iter().flatten().map(|row| input.kind.row(row, false)).collect();
                    rows
                })
                .collect();
            test += &rows("given", &source(case, input), &batches);
        }
        if let Some(batch) = case.restart_after_batch {
            writeln!(test, "restart-after = [{batch}]").unwrap();
        }
        test += &self.expectation(case);
        self.tests += &test;
    }

    fn expectation(&mut self, case: &Case) -> String {
        let observed = relation(case, &case.observe);
        let mut text = String::new();
        if let Some(expected) = &case.expected {
            text += &rows("expect", &observed, &spread(case, expected, &case.expected_at_batch));
        }
        if let Some(partitions) = case.expect_partitions {
            text += &self.partitions(case, &observed, partitions);
        }
        if let Some(snapshots) = &case.expected_snapshots {
            let row = |pair: &Value| pair_type().row(pair, false);
            let batches: Vec<Vec<_>> = snapshots.iter().map(|rows| rows.iter().map(row).collect()).collect();
            text += &rows("expect", &format!("{observed}--states"), &batches);
        }
        if let Some(foreach) = &case.foreach {
            self.at_the_end(case, &format!("{observed}--all"), &observed, case.run_batches);
            let seen = format!("{observed}--seen");
            self.sql(&seen, &format!("SELECT count(*) AS k, sum(value) AS v FROM \"{observed}--all\""));
            let row = format!("{{ k = {}, v = {} }}", foreach.calls, foreach.elements);
            text += &rows("expect", &seen, &last(case.run_batches, vec![row]));
        }
        if case.property.is_some() {
            text += &self.property(case, &observed);
        }
        if let Some(error) = &case.error {
            text += &self.failure(case, &observed, error.at_batch);
        }
        text
    }

    /// The batch in which Spark fails: Millstream does too where a function does, and where only a table is missing, it has
    /// an empty one.
    fn failure(&mut self, case: &Case, observed: &str, batch: usize) -> String {
        if !case.lacks_a_table() {
            let failure = format!("expect-failure = {{ batch = {batch}, error = \"there is no table\" }}\n");
            return rows("expect", observed, &vec![Vec::new(); batch]) + &failure;
        }
        let then = format!("{observed}--then");
        self.at_the_batch(case, &then, observed, batch);
        let counted = format!("{observed}--counted");
        self.stream(&counted, &then, "aggregate", "{ value = \"count(*)\" }");
        rows("expect", &counted, &last(batch, vec!["{ value = 0 }".to_owned()]))
    }

    /// A row for each partition, and their number.
    fn partitions(&mut self, case: &Case, observed: &str, partitions: i64) -> String {
        let each = format!("{observed}--partitions");
        self.stream(&each, observed, "transform", "\"conformance.rows-of-partition\"");
        let counted = format!("{observed}--counted");
        self.stream(&counted, &each, "aggregate", "{ value = \"count(*)\" }");
        let batches = vec![vec![format!("{{ value = {partitions} }}")]; case.run_batches];
        rows("expect", &counted, &batches)
    }

    /// What holds of all batches together, seen in the last one.
    fn property(&mut self, case: &Case, observed: &str) -> String {
        let property = case.property.as_ref().expect("it was asked for");
        let batches = case.run_batches;
        let [outputs, lists, all_lists, found] =
            ["outputs", "lists", "all-lists", "found"].map(|name| format!("{observed}--{name}"));
        self.at_the_end(case, &outputs, observed, batches);
        let list = "array_agg(k ORDER BY k) AS k, array_agg(v ORDER BY k) AS v";
        self.sql(&lists, &format!("SELECT {list} FROM \"{observed}--states\""));
        self.at_the_end(case, &all_lists, &lists, batches);
        let values = |at: usize| {
            let values = property.some_snapshot_equals.iter().map(|pair| pair[at].to_string());
            values.collect::<Vec<_>>().join(", ").replace('"', "'")
        };
        let equal = format!("k = make_array({}) AND v = make_array({})", values(0), values(1));
        self.sql(&found, &format!("SELECT count(*) > 0 AS value FROM \"{all_lists}\" WHERE {equal}"));
        let all = property.all_outputs_sorted.iter().map(|row| case.out_type.row(row, false)).collect();
        let is_found = vec!["{ value = true }".to_owned()];
        let state = |pair: &Value| format!("{{ k = {}, state = {} }}", pair[0], pair[1]);
        let states: Vec<_> = property.last_snapshot.iter().map(state).collect();
        rows("expect", &outputs, &last(batches, all))
            + &rows("expect", &found, &last(batches, is_found))
            + &format!("expect-state.{observed}--keyed = [{}]\n", states.join(", "))
    }

    /// All rows of the first `batches` batches, in the last of them.
    fn at_the_end(&mut self, case: &Case, name: &str, from: &str, batches: usize) {
        let all = case.batch_ms * batches as u64;
        self.stream(name, from, "window", &format!("{{ length = \"{all}ms\", slide = \"{all}ms\" }}"));
    }

    /// The rows of the batch of that number, in no other.
    fn at_the_batch(&mut self, case: &Case, name: &str, from: &str, batch: usize) {
        let (length, slide) = (case.batch_ms, case.batch_ms * batch as u64);
        self.stream(name, from, "window", &format!("{{ length = \"{length}ms\", slide = \"{slide}ms\" }}"));
    }
}

/// The name of a case's stream.
pub(super) fn relation(case: &Case, name: &str) -> String {
    format!("{}--{name}", case.id)
}

/// The name of the source of a stream that is fed.
fn source(case: &Case, input: &Input) -> String {
    match input.kind {
        Type::Text | Type::Bytes => relation(case, &input.name),
        _ => format!("{}--{}-rows", case.id, input.name),
    }
}

/// A text and a number.
fn pair_type() -> Type {
    Type::Tuple(vec![Type::Text, Type::Number])
}

/// The type of a column.
fn column(kind: &Type) -> &'static str {
    match kind {
        Type::Text => "utf8",
        Type::Number => "int64",
        other => panic!("no source of the cases has {other:?}"),
    }
}

/// The rows of each output in the batch that they belong to, and none in the batches between.
fn spread(case: &Case, expected: &[Vec<Value>], at: &[usize]) -> Vec<Vec<String>> {
    assert_eq!(expected.len(), at.len(), "{}", case.id);
    let grouped = case.nodes.iter().any(|node| node.op.starts_with("groupByKey"));
    let sorted = grouped && !case.values_ordered;
    let mut batches = vec![Vec::new(); case.run_batches];
    for (rows, batch) in expected.iter().zip(at) {
        batches[batch - 1] = rows.iter().map(|row| case.out_type.row(row, sorted)).collect();
    }
    batches
}

/// No rows, and `rows` in the last of `batches` batches.
fn last(batches: usize, rows: Vec<String>) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); batches];
    all[batches - 1] = rows;
    all
}

fn rows(what: &str, relation: &str, batches: &[Vec<String>]) -> String {
    let batches: String = batches.iter().map(|rows| format!("    [{}],\n", rows.join(", "))).collect();
    format!("{what}.{relation} = [\n{batches}]\n")
}

//! Tests: whether their names exist and their rows fit the columns.

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use millstream_model::pipeline::{Batches, ExpectedLetter, Format, Located, SourceSpec};
use serde_json::Value;
use toml::value::Datetime;

use super::Meaning;
use super::columns::{absent, type_name};
use crate::diagnostic::Diagnostic;
use crate::form::{CaseDraft, GivenDraft, RowDraft};
use crate::nearest;

impl Meaning<'_> {
    pub(super) fn check_cases(&mut self, cases: &[CaseDraft]) {
        for case in cases {
            case.given.iter().for_each(|(source, batches)| self.check_given(source, batches));
            let use_of = format!("test \"{}\" expects rows of", case.spec.name);
            case.expect.iter().for_each(|(stream, batches)| self.check_expected(&use_of, stream, batches));
            let use_of = format!("test \"{}\" expects states of", case.spec.name);
            case.states.iter().for_each(|(stream, rows)| self.check_expected_states(&use_of, stream, rows));
            case.spec.dead_letters.iter().for_each(|letter| self.check_letter(letter));
            self.check_batch_numbers(case);
        }
    }

    fn check_expected(&mut self, use_of: &str, stream: &Located<String>, batches: &Batches<RowDraft>) {
        if !self.flows(use_of, stream) {
            return;
        }
        let Some(schema) = self.relations.schema(&stream.value) else { return };
        let faults = batches.iter().flatten().flat_map(|row| cells(row, &stream.value, &schema));
        self.diagnostics.extend(faults);
    }

    fn check_expected_states(&mut self, use_of: &str, stream: &Located<String>, rows: &[RowDraft]) {
        if !self.usable(use_of, stream) {
            return;
        }
        let Some(update) = self.updates.get(&stream.value) else {
            let message =
                format!("\"{stream}\" keeps no states; those of a stream with update-state can be expected");
            return self.report(stream.place, message);
        };
        let schema = update.state_columns();
        self.diagnostics.extend(rows.iter().flat_map(|row| cells(row, &stream.value, &schema)));
    }

    fn check_given(&mut self, source: &Located<String>, batches: &Batches<GivenDraft>) {
        let is_table = self.is_table(&source.value);
        let takes_records = match self.source(source) {
            Some(spec) => {
                !matches!(spec.format, Format::Parquet(_) | Format::Records { .. } | Format::Rows(_))
            }
            None if is_table => false,
            None => return,
        };
        let Some(schema) = self.relations.schema(&source.value) else { return };
        let faults = batches.iter().flatten().flat_map(|given| match given {
            GivenDraft::Row(row) => {
                let mut faults = cells(row, &source.value, &schema);
                faults.extend(lacks(row, &source.value, &schema));
                faults
            }
            GivenDraft::Record(record) => record_fault(record, takes_records).into_iter().collect(),
        });
        self.diagnostics.extend(faults);
    }

    fn check_letter(&mut self, letter: &ExpectedLetter) {
        if let Some(source) = &letter.source {
            self.source(source);
        }
        if let Some(stream) = &letter.stream {
            self.caller(stream);
        }
    }

    /// Reports the name of what is no stream that calls a function.
    fn caller(&mut self, name: &Located<String>) {
        let streams = &self.pipeline.streams;
        let found = streams.iter().find(|stream| stream.name.value == name.value);
        let message = match found {
            Some(stream) if stream.operation.value.calls() => return,
            Some(_) => format!("\"{name}\" calls no function, so no row of it can be rejected"),
            None => {
                let hint =
                    nearest::hint(&name.value, "streams", streams.iter().map(|s| s.name.value.as_str()));
                format!("there is no stream \"{name}\"{hint}")
            }
        };
        if found.is_some() || (self.complete && !self.names.contains(&name.value)) {
            self.report(name.place, message);
        }
    }

    /// The source of that name; reports it where there is none.
    fn source(&mut self, name: &Located<String>) -> Option<&SourceSpec> {
        let pipeline = self.pipeline;
        let sources = || pipeline.sources.iter();
        if let Some(found) = sources().find(|source| source.name.value == name.value) {
            return Some(found);
        }
        let is_stream = pipeline.streams.iter().any(|stream| stream.name.value == name.value);
        let message = if is_stream {
            format!("\"{name}\" is a stream; rows are given to sources")
        } else {
            let hint =
                nearest::hint(&name.value, "sources", sources().map(|source| source.name.value.as_str()));
            format!("there is no source \"{name}\"{hint}")
        };
        if self.complete && (is_stream || !self.names.contains(&name.value)) {
            self.report(name.place, message);
        }
        None
    }

    /// Batches that a test names have to be among those that it runs.
    fn check_batch_numbers(&mut self, case: &CaseDraft) {
        let (spec, batches) = (&case.spec, case.spec.batches());
        let failure = spec.failure.iter().map(|failure| &failure.batch);
        for batch in spec.restart_after.iter().chain(failure).filter(|batch| batch.value > batches) {
            self.report(
                batch.place,
                format!("the test has no batch {batch}; it gives and expects {batches}"),
            );
        }
        if let (Some(place), None) = (case.restart_place, &self.pipeline.checkpoint) {
            let remedy = "add a line such as checkpoint = \"checkpoint\"";
            self.report(place, format!("a pipeline goes on after a restart with a checkpoint; {remedy}"));
        }
    }
}

/// What is wrong with a record that is given as it comes in.
fn record_fault(record: &Located<String>, takes_records: bool) -> Option<Diagnostic> {
    let fault = match takes_records {
        false => "rows are given here, such as { word = \"a\" }",
        true if record.value.contains('\n') => "a record ends with its line; give each as a text of its own",
        true => return None,
    };
    Some(Diagnostic::new(record.place, fault))
}

/// What is wrong with the cells that a row has.
fn cells(row: &RowDraft, relation: &str, schema: &ArrowSchema) -> Vec<Diagnostic> {
    let fault = |(name, value): &(Located<String>, Located<Value>)| {
        let Ok(field) = schema.field_with_name(&name.value) else {
            return Some(Diagnostic::new(name.place, absent(&name.value, relation, schema)));
        };
        let expected = type_name(field.data_type());
        let message =
            format!("column \"{name}\" of \"{relation}\" is {expected}, and {} is not", value.value);
        (!fits(&value.value, field.data_type())).then(|| Diagnostic::new(value.place, message))
    };
    row.cells.iter().filter_map(fault).collect()
}

/// The columns without nulls that a row has no cell for.
fn lacks(row: &RowDraft, relation: &str, schema: &ArrowSchema) -> Vec<Diagnostic> {
    let given = |field: &ArrowField| row.cells.iter().any(|(name, _)| name.value == *field.name());
    let lacking = schema.fields().iter().filter(|field| !field.is_nullable() && !given(field));
    let fault = |field: &std::sync::Arc<ArrowField>| {
        let message =
            format!("the row lacks column \"{}\" of \"{relation}\", which holds no nulls", field.name());
        Diagnostic::new(row.place, message)
    };
    lacking.map(fault).collect()
}

/// Whether a value of the file can stand in a column of that type.
fn fits(value: &Value, data_type: &ArrowType) -> bool {
    use ArrowType as A;
    match data_type {
        A::Boolean => value.is_boolean(),
        kind if kind.is_integer() => value.is_i64() || value.is_u64(),
        kind if kind.is_floating() || kind.is_decimal() => value.is_number(),
        A::Timestamp(..) | A::Date32 | A::Date64 => {
            value.as_str().is_some_and(|text| text.parse::<Datetime>().is_ok_and(|time| time.date.is_some()))
        }
        A::Utf8 | A::LargeUtf8 | A::Utf8View => value.is_string(),
        A::Binary | A::LargeBinary | A::BinaryView => value.as_str().is_some_and(is_hexadecimal),
        A::List(item) | A::LargeList(item) => {
            value.as_array().is_some_and(|values| values.iter().all(|value| fits(value, item.data_type())))
        }
        _ => true,
    }
}

/// Whether a text is bytes, two digits each.
fn is_hexadecimal(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

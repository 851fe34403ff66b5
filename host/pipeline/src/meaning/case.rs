//! Tests: whether their names exist and their rows fit the columns.

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use millstream_model::pipeline::Located;
use serde_json::Value;
use toml::value::Datetime;

use super::Meaning;
use super::columns::{absent, type_name};
use crate::diagnostic::Diagnostic;
use crate::form::{Batches, CaseDraft, RowDraft};
use crate::nearest;

impl Meaning<'_> {
    pub(super) fn check_cases(&mut self, cases: &[CaseDraft]) {
        for case in cases {
            case.given.iter().for_each(|(source, batches)| self.check_given(source, batches));
            let use_of = format!("test \"{}\" expects rows of", case.name);
            case.expect.iter().for_each(|(stream, batches)| self.check_expected(&use_of, stream, batches));
        }
    }

    fn check_expected(&mut self, use_of: &str, stream: &Located<String>, batches: &Batches) {
        if self.flows(use_of, stream) {
            self.check_rows(stream, batches, |row, schema| cells(row, &stream.value, schema));
        }
    }

    fn check_given(&mut self, source: &Located<String>, batches: &Batches) {
        let sources = || self.pipeline.sources.iter().map(|source| source.name.value.as_str());
        if sources().any(|name| name == source.value) {
            let check = |row: &RowDraft, schema: &ArrowSchema| {
                let mut faults = cells(row, &source.value, schema);
                faults.extend(lacks(row, &source.value, schema));
                faults
            };
            return self.check_rows(source, batches, check);
        }
        let is_stream = self.pipeline.streams.iter().any(|stream| stream.name.value == source.value);
        let is_table = self.is_table(&source.value);
        let message = if is_stream {
            format!("\"{source}\" is a stream; rows are given to sources")
        } else if is_table {
            format!("\"{source}\" is a table, whose rows are read from its file; rows are given to sources")
        } else {
            let hint = nearest::hint(&source.value, "sources", sources());
            format!("there is no source \"{source}\"{hint}")
        };
        if self.complete && (is_stream || is_table || !self.names.contains(&source.value)) {
            self.report(source.place, message);
        }
    }

    fn check_rows(
        &mut self,
        relation: &Located<String>,
        batches: &Batches,
        check: impl Fn(&RowDraft, &ArrowSchema) -> Vec<Diagnostic>,
    ) {
        let Some(schema) = self.relations.schema(&relation.value) else {
            return;
        };
        let faults = batches.iter().flatten().flat_map(|row| check(row, &schema));
        self.diagnostics.extend(faults);
    }
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
        A::Utf8 | A::LargeUtf8 | A::Utf8View | A::Binary | A::LargeBinary | A::BinaryView => {
            value.is_string()
        }
        A::List(item) | A::LargeList(item) => {
            value.as_array().is_some_and(|values| values.iter().all(|value| fits(value, item.data_type())))
        }
        _ => true,
    }
}

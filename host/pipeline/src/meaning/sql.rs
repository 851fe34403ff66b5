//! SQL: the places of what is wrong with it, and the SQL of an aggregate.

use std::collections::BTreeSet;

use arrow::datatypes::Schema as ArrowSchema;
use millstream_model::pipeline::{AggregateSpec, Located, Place};
use millstream_query::QueryError;

use super::Faults;
use super::columns::absent;
use crate::diagnostic::Diagnostic;
use crate::place::Lines;

/// What is wrong with the query `text`, at its place in the file.
pub(super) fn fault(
    lines: &Lines<'_>,
    text: &Located<String>,
    error: &QueryError,
    names: &BTreeSet<String>,
) -> Diagnostic {
    let hint = quoting_hint(&text.value, names);
    Diagnostic::new(place_in(lines, text, place_of(error)), format!("the SQL is wrong: {error}{hint}"))
}

fn place_of(error: &QueryError) -> Option<Place> {
    match error {
        QueryError::Sql { place: Some((line, column)), .. } => Some(Place { line: *line, column: *column }),
        _ => None,
    }
}

fn place_in(lines: &Lines<'_>, text: &Located<String>, inner: Option<Place>) -> Place {
    inner.map_or(text.place, |inner| lines.inside(text, inner))
}

/// What to say where the query may name a stream in a way that SQL takes for something else.
fn quoting_hint(sql: &str, names: &BTreeSet<String>) -> String {
    let odd = |name: &&String| name.contains('-') || name.starts_with(|c: char| c.is_ascii_digit());
    let unquoted = |name: &&String| words(sql, name).any(|offset| !sql[..offset].ends_with('"'));
    match names.iter().filter(odd).find(unquoted) {
        Some(name) => {
            format!("; names with \"-\" or a digit in front are quoted in SQL: \"{name}\"")
        }
        None => String::new(),
    }
}

/// The names that a query reads, with their places in the file.
pub(super) fn located(lines: &Lines<'_>, text: &Located<String>, names: Vec<String>) -> Vec<Located<String>> {
    let locate = |name: String| {
        let place = place_in(lines, text, mention(&text.value, &name));
        Located { value: name, place }
    };
    names.into_iter().map(locate).collect()
}

/// Where a query names a relation: behind FROM or JOIN if it is found there, else at the first word like it.
fn mention(sql: &str, name: &str) -> Option<Place> {
    let behind_from = |offset: &usize| {
        let before = sql[..*offset].trim_end_matches('"').trim_end().to_lowercase();
        before.ends_with("from") || before.ends_with("join")
    };
    let offset = words(sql, name).find(behind_from).or_else(|| words(sql, name).next())?;
    Some(Lines::new(sql).place(offset))
}

/// The offsets at which `word` stands in `sql` as a word.
fn words<'s>(sql: &'s str, word: &'s str) -> impl Iterator<Item = usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let whole = move |offset: &usize| {
        !sql[..*offset].ends_with(part) && !sql[offset + word.len()..].starts_with(part)
    };
    sql.match_indices(word).map(|(offset, _)| offset).filter(whole)
}

/// The query that an aggregate stands for.
///
/// Every column and every expression begins a line of it, so that lines lead back to the file.
pub(super) struct Aggregate<'a> {
    pub(super) text: String,
    operation: Place,
    outputs: &'a [(String, Located<String>)],
    /// How many columns come before the outputs.
    key_columns: usize,
    /// The first line of each expression.
    starts: Vec<usize>,
}

/// A relation of rows with panes, whose key they begin.
pub(super) struct Panes<'a> {
    pub(super) relation: &'a str,
    pub(super) column: &'a str,
}

impl<'a> Aggregate<'a> {
    /// The query of `spec` over the relation `from`, whose columns are those of `input`.
    pub(super) fn new(
        operation: Place,
        spec: &'a AggregateSpec,
        from: &str,
        input: &ArrowSchema,
    ) -> Result<Self, Faults> {
        check_key(spec, from, input)?;
        Ok(Self::of(operation, spec, Vec::new(), &quoted(from)))
    }

    /// The same of each pane: over `panes` in place of `from`.
    pub(super) fn of_panes(
        operation: Place,
        spec: &'a AggregateSpec,
        from: &str,
        input: &ArrowSchema,
        panes: &Panes<'_>,
    ) -> Result<Self, Faults> {
        check_key(spec, from, input)?;
        let relation = format!("{} AS {}", quoted(panes.relation), quoted(from));
        Ok(Self::of(operation, spec, vec![quoted(panes.column)], &relation))
    }

    fn of(operation: Place, spec: &'a AggregateSpec, mut keys: Vec<String>, relation: &str) -> Self {
        keys.extend(spec.by.iter().map(|column| quoted(&column.value)));
        let (key_columns, keys) = (keys.len(), keys.join(", "));
        let mut text = format!("SELECT {keys}");
        let mut starts = Vec::new();
        for (name, expression) in &spec.outputs {
            let comma = if text == "SELECT " { "" } else { "," };
            text.push_str(comma);
            starts.push(text.lines().count() + 1);
            text.push_str(&format!("\n{expression}\nAS {}", quoted(name)));
        }
        text.push_str(&format!("\nFROM {relation}"));
        if key_columns > 0 {
            text.push_str(&format!("\nGROUP BY {keys}"));
        }
        Self { text, operation, outputs: &spec.outputs, key_columns, starts }
    }

    /// What is wrong with the query, at the expression that is wrong.
    pub(super) fn fault(&self, lines: &Lines<'_>, error: &QueryError) -> Diagnostic {
        let place = place_of(error).and_then(|place| self.place(lines, place));
        Diagnostic::new(place.unwrap_or(self.operation), format!("the aggregate is wrong: {error}"))
    }

    fn place(&self, lines: &Lines<'_>, place: Place) -> Option<Place> {
        let index = self.starts.iter().rposition(|start| *start <= place.line)?;
        let (_, expression) = &self.outputs[index];
        let line = place.line - self.starts[index] + 1;
        Some(lines.inside(expression, Place { line, column: place.column }))
    }

    /// Refuses an output that is more than one expression.
    pub(super) fn check_width(&self, schema: &ArrowSchema) -> Result<(), Faults> {
        let expected = self.key_columns + self.outputs.len();
        if schema.fields().len() == expected {
            return Ok(());
        }
        let message = format!(
            "the aggregate gives {} columns instead of {expected}; each output is one SQL expression",
            schema.fields().len()
        );
        Err(vec![Diagnostic::new(self.operation, message)])
    }
}

/// Refuses columns of the key that are not there.
fn check_key(spec: &AggregateSpec, from: &str, input: &ArrowSchema) -> Result<(), Faults> {
    let absent = |column: &Located<String>| {
        let known = input.field_with_name(&column.value).is_ok();
        (!known).then(|| Diagnostic::new(column.place, absent(&column.value, from, input)))
    };
    let faults: Vec<_> = spec.by.iter().filter_map(absent).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

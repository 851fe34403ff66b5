//! Rows as a test's author writes them, as the engine holds them, and what differs between two sets of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::writer::{JsonArray, WriterBuilder};
use millstream_model::pipeline::Row;
use serde_json::{Map, Value};

/// Rows in the one form in which they are compared: every column, nulls included.
pub(super) type Table = Vec<Map<String, Value>>;

/// Of more differences in one place, the rest is counted.
const SHOWN_MAX: usize = 20;

/// How rows are compared.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    /// Whether their order counts.
    pub(super) ordered: bool,
    /// Floating-point numbers are the same that differ by less than this part of the larger one.
    pub(super) tolerance: f64,
}

/// Rows as columns of `schema`; columns that a row lacks are null.
pub(crate) fn from_rows(rows: &[Row], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut decoder =
        ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}

/// `schema` with nulls allowed everywhere.
pub(super) fn nullable(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

pub(super) fn to_rows(batches: &[RecordBatch]) -> Result<Table> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let text = writer.into_inner();
    match text.is_empty() {
        true => Ok(Table::new()),
        false => serde_json::from_slice(&text).context("reading rows back"),
    }
}

impl Comparison {
    /// What is missing and what is too much, or in ordered rows, what stands where something else is expected.
    pub(super) fn differences(self, expected: &Table, actual: &Table) -> Vec<String> {
        let mut lines = match self.ordered {
            true => self.ordered_differences(expected, actual),
            false => self.unordered_differences(expected, actual),
        };
        if let Some(more) = lines.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            lines.truncate(SHOWN_MAX);
            lines.push(format!("... and {more} more"));
        }
        lines
    }

    fn ordered_differences(self, expected: &Table, actual: &Table) -> Vec<String> {
        let mut lines = Vec::new();
        for row in 0..expected.len().max(actual.len()) {
            let (wanted, given) = (expected.get(row), actual.get(row));
            if wanted.zip(given).is_some_and(|(wanted, given)| self.same_row(wanted, given)) {
                continue;
            }
            lines.extend(wanted.map(|wanted| format!("row {}: expected {}", row + 1, show(wanted))));
            lines.extend(given.map(|given| format!("row {}: got      {}", row + 1, show(given))));
        }
        lines
    }

    fn unordered_differences(self, expected: &Table, actual: &Table) -> Vec<String> {
        let mut unmatched: Vec<&Map<String, Value>> = actual.iter().collect();
        let mut lines = Vec::new();
        for wanted in expected {
            match unmatched.iter().position(|given| self.same_row(wanted, given)) {
                Some(index) => drop(unmatched.remove(index)),
                None => lines.push(format!("missing    {}", show(wanted))),
            }
        }
        lines.extend(unmatched.into_iter().map(|given| format!("unexpected {}", show(given))));
        lines
    }

    fn same_row(self, left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
        left.len() == right.len()
            && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| self.same(value, other)))
    }

    fn same(self, left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
                (Some(a), Some(b), _, _) => a == b,
                (_, _, Some(a), Some(b)) => a == b || (a - b).abs() <= self.tolerance * a.abs().max(b.abs()),
                _ => a == b,
            },
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b))
            }
            (Value::Object(a), Value::Object(b)) => self.same_row(a, b),
            _ => left == right,
        }
    }
}

/// A row as the pipeline file would write it.
fn show(row: &Map<String, Value>) -> String {
    let columns = row.iter().map(|(name, value)| format!("{name} = {value}"));
    format!("{{ {} }}", columns.collect::<Vec<_>>().join(", "))
}

//! One test: its batches run one after the other, and what comes out compared with what is expected.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::SchemaRef;
use millstream_model::pipeline::{ExpectedLetter, Format, Given, Row, SourceSpec, TestSpec};
use millstream_model::{Block, Payload, Position};
use millstream_pipeline::Checked;
use serde_json::Value;

use super::rows::{Comparison, Table, from_rows, nullable, to_rows};
use super::world::World;
use crate::load::Subject;

/// What differs from what is expected, line by line; nothing in a test that passed.
#[derive(Debug, Default)]
pub(crate) struct Outcome(pub(crate) Vec<String>);

impl Outcome {
    pub(crate) fn passed(&self) -> bool {
        self.0.is_empty()
    }

    /// Lines under a heading, if there are any.
    fn add(&mut self, heading: String, lines: Vec<String>) {
        if !lines.is_empty() {
            self.0.push(heading);
            self.0.extend(lines.into_iter().map(|line| format!("  {line}")));
        }
    }
}

/// Runs a test of a pipeline, through the engine that `run` uses.
pub(crate) async fn run(subject: &Subject, checked: &Checked, test: &TestSpec) -> Result<Outcome> {
    let mut world = World::new(subject, test, checked.pipeline.batch_interval);
    let mut case = Case { checked, test, outcome: Outcome::default() };
    let mut life = world.start().await?;
    for batch in 1..=test.batches() {
        let failure = world.run_batch(&mut life, case.given(batch)?).await?;
        let goes_on = failure.is_none() || checked.pipeline.continue_on_failure;
        case.compare_failure(batch, failure);
        if !goes_on {
            break;
        }
        case.compare_rows(&world, batch)?;
        if test.restart_after.iter().any(|restart| restart.value == batch) {
            world.kill(life).await;
            life = world.start().await?;
        }
    }
    world.kill(life).await;
    case.compare_letters(world.dead_letters().await?);
    case.compare_states(&world).await?;
    Ok(case.outcome)
}

struct Case<'t> {
    checked: &'t Checked,
    test: &'t TestSpec,
    outcome: Outcome,
}

impl Case<'_> {
    /// What a batch is given: for a source that the test does not name, or no more, nothing.
    fn given(&self, batch: usize) -> Result<Vec<(&str, Vec<Block>)>> {
        let mut all = Vec::new();
        let is_table = |name: &str| self.checked.pipeline.tables.iter().any(|table| table.name.value == name);
        let given = self.test.given.iter().filter(|(name, _)| !is_table(&name.value));
        for (source, batches) in given {
            let before = batches.iter().take(batch - 1).map(Vec::len).sum();
            let given = batches.get(batch - 1).map_or(&[][..], Vec::as_slice);
            let spec = self.checked.pipeline.sources.iter().find(|spec| spec.name.value == source.value);
            let spec = spec.with_context(|| format!("there is no source \"{source}\""))?;
            let read = blocks(spec, &self.schema(&source.value)?, before, given);
            all.push((
                source.value.as_str(),
                read.with_context(|| format!("reading what \"{source}\" is given"))?,
            ));
        }
        Ok(all)
    }

    fn schema(&self, relation: &str) -> Result<SchemaRef> {
        self.checked.relations.schema(relation).with_context(|| format!("\"{relation}\" is not defined"))
    }

    fn compare_failure(&mut self, batch: usize, failure: Option<String>) {
        let expected = self.test.failure.as_ref().filter(|expected| expected.batch.value == batch);
        let line = match (expected, failure) {
            (None, None) => return,
            (Some(expected), Some(why)) if why.contains(&expected.error) => return,
            (None, Some(why)) => format!("batch {batch} failed: {why}"),
            (Some(expected), Some(why)) => {
                format!("batch {batch} failed, and not with \"{}\": {why}", expected.error)
            }
            (Some(expected), None) => {
                format!("batch {batch} did not fail; \"{}\" was expected", expected.error)
            }
        };
        self.outcome.0.push(line);
    }

    fn compare_rows(&mut self, world: &World<'_>, batch: usize) -> Result<()> {
        for (stream, batches) in &self.test.expect {
            let Some(expected) = batches.get(batch - 1) else { continue };
            let expected = expected_rows(expected, &self.schema(&stream.value)?);
            let expected = expected.with_context(|| format!("reading the rows expected of \"{stream}\""))?;
            let actual = to_rows(&world.collected.rows(&stream.value, world.time(batch)))?;
            let lines = self.comparison(self.test.ordered).differences(&expected, &actual);
            self.outcome.add(format!("batch {batch}, stream \"{stream}\":"), lines);
        }
        Ok(())
    }

    fn comparison(&self, ordered: bool) -> Comparison {
        Comparison { ordered, tolerance: self.test.tolerance }
    }

    async fn compare_states(&mut self, world: &World<'_>) -> Result<()> {
        if self.test.states.is_empty() {
            return Ok(());
        }
        let states = world.states().await?;
        for (stream, expected) in &self.test.states {
            let table = states.find_keyed(&stream.value);
            let actual = match &table {
                Some(table) => to_rows(&table.scan().collect::<Result<Vec<_>, _>>()?)?,
                None => Table::new(),
            };
            let expected = match &table {
                Some(table) => expected_rows(expected, table.schema())
                    .with_context(|| format!("reading the states expected of \"{stream}\""))?,
                None => expected.iter().map(|row| row.clone().into_iter().collect()).collect(),
            };
            let lines = self.comparison(false).differences(&expected, &actual);
            self.outcome.add(format!("states of \"{stream}\" at the end:"), lines);
        }
        Ok(())
    }

    fn compare_letters(&mut self, mut letters: Vec<Value>) {
        let mut lines = Vec::new();
        for expected in &self.test.dead_letters {
            match letters.iter().position(|letter| is_like(letter, expected)) {
                Some(found) => drop(letters.swap_remove(found)),
                None => lines.push(format!("missing    {}", show_expected(expected))),
            }
        }
        lines.extend(letters.iter().map(|letter| format!("unexpected {letter}")));
        self.outcome.add("dead letters:".to_owned(), lines);
    }
}

fn expected_rows(rows: &[Row], schema: &SchemaRef) -> Result<Table> {
    to_rows(&[from_rows(rows, &nullable(schema))?])
}

/// What a source is given, `before` records into it: its rows and records in their order.
fn blocks(spec: &SourceSpec, schema: &SchemaRef, before: usize, given: &[Given]) -> Result<Vec<Block>> {
    // The first line of a file with a header is no record.
    let header = usize::from(matches!(spec.format, Format::Csv { header: true, .. }));
    let mut blocks: Vec<Block> = Vec::new();
    let mut rest = given;
    while let Some(first) = rest.first() {
        let is_row = |given: &Given| matches!(given, Given::Row(_));
        let alike = rest.iter().take_while(|given| is_row(given) == is_row(first)).count();
        let (part, others) = rest.split_at(alike);
        let record = (header + before + given.len() - rest.len()) as u64;
        let position = Position { origin: "given".into(), record };
        blocks.push(Block { payload: payload(part, schema)?, rows: part.len(), position, resume: None });
        rest = others;
    }
    Ok(blocks)
}

/// Either rows or records.
fn payload(given: &[Given], schema: &SchemaRef) -> Result<Payload> {
    let (mut rows, mut records) = (Vec::new(), String::new());
    for one in given {
        match one {
            Given::Row(row) => rows.push(row.clone()),
            Given::Record(record) => {
                records.push_str(record);
                records.push('\n');
            }
        }
    }
    match rows.is_empty() {
        true => Ok(Payload::Lines(records.into())),
        false => Ok(Payload::Rows(from_rows(&rows, &Arc::clone(schema))?)),
    }
}

fn is_like(letter: &Value, expected: &ExpectedLetter) -> bool {
    let text = |key: &str| letter.get(key).and_then(Value::as_str).unwrap_or_default();
    let record = letter.get("record").and_then(Value::as_u64);
    expected.source.as_ref().is_none_or(|source| text("source") == source.value)
        && expected.stream.as_ref().is_none_or(|stream| text("stream") == stream.value)
        && expected.record.is_none_or(|expected| record == Some(expected))
        && expected.error.as_ref().is_none_or(|error| text("error").contains(error.as_str()))
        && expected.bytes.as_ref().is_none_or(|bytes| text("bytes") == bytes)
}

fn show_expected(expected: &ExpectedLetter) -> String {
    let text = |text: &String| Value::from(text.as_str());
    let source = expected.source.as_ref().map(|source| ("source", text(&source.value)));
    let stream = expected.stream.as_ref().map(|stream| ("stream", text(&stream.value)));
    let record = expected.record.map(|record| ("record", Value::from(record)));
    let error = expected.error.as_ref().map(|error| ("error", text(error)));
    let bytes = expected.bytes.as_ref().map(|bytes| ("bytes", text(bytes)));
    let said = [source, stream, record, error, bytes].into_iter().flatten();
    let said: Vec<_> = said.map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", said.join(", "))
}

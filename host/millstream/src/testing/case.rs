//! One test: its batches run one after the other, and what comes out compared with what is expected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_model::pipeline::{Row, TestSpec};
use millstream_pipeline::Checked;
use millstream_query::{Chunks, Output, Program, Rows};
use millstream_state::{Limits, Store, Tables};

use super::rows::{Table, differences, from_rows, to_rows};

/// What differs from what is expected, line by line; nothing in a test that passed.
#[derive(Debug, Default)]
pub(crate) struct Outcome(pub(crate) Vec<String>);

impl Outcome {
    pub(crate) fn passed(&self) -> bool {
        self.0.is_empty()
    }
}

/// Runs a test of a pipeline. Its first batch has the time of one interval after 1970-01-01T00:00:00Z.
pub(crate) async fn run(checked: &Checked, test: &TestSpec) -> Result<Outcome> {
    let wanted: Vec<&str> = test.expect.iter().map(|(stream, _)| stream.value.as_str()).collect();
    let mut program =
        Program::compile(&checked.relations, &wanted, 1).await.context("compiling the pipeline")?;
    let interval = checked.pipeline.batch_interval;
    let tables = Arc::new(Tables::new(Store::in_memory(Limits::default()), None));
    checked.states.bind(&tables).context("making the tables of states")?;
    let read: Vec<String> = program.inputs().map(str::to_owned).collect();
    let reference = crate::wire::tables(&checked.pipeline, &read);
    reference.open(BatchTime::from_ms(0)).await?;
    let mut outcome = Outcome::default();
    for batch in 0..batches(test) {
        let mut inputs = inputs(checked, test, &program, batch)?;
        inputs.extend(reference.at(time(interval, batch)).await.inputs);
        let output = Arc::new(Collected::default());
        checked.states.begin(time(interval, batch));
        let ran = program.run(time(interval, batch), inputs, Arc::clone(&output) as Arc<dyn Output>).await;
        if let Err(error) = ran {
            outcome.0.push(format!("batch {}: {error}", batch + 1));
            break;
        }
        if let Some(change) = checked.states.take().filter(|_| !checked.states.is_empty()) {
            tables.write(&change).await?;
            tables.apply(change);
        }
        compare(checked, test, batch, &output, &mut outcome)?;
    }
    Ok(outcome)
}

fn batches(test: &TestSpec) -> usize {
    let of = |rows: &[(_, Vec<Vec<Row>>)]| rows.iter().map(|(_, batches)| batches.len()).max().unwrap_or(0);
    of(&test.given).max(of(&test.expect))
}

fn time(interval: Duration, batch: usize) -> BatchTime {
    (0..=batch).fold(BatchTime::from_ms(0), |time, _| time.next(interval))
}

/// What a batch is given: for a source that the test does not name, or no more, no rows.
fn inputs(
    checked: &Checked,
    test: &TestSpec,
    program: &Program,
    batch: usize,
) -> Result<Vec<(String, Arc<dyn Chunks>)>> {
    let input = |name: &str| {
        let schema = schema(checked, name)?;
        let given = test.given.iter().find(|(source, _)| source.value == name);
        let rows = given.and_then(|(_, batches)| batches.get(batch)).map_or(&[][..], Vec::as_slice);
        let rows =
            from_rows(rows, &schema).with_context(|| format!("reading the rows given to \"{name}\""))?;
        Ok((name.to_owned(), Arc::new(Rows(vec![rows])) as Arc<dyn Chunks>))
    };
    let is_table = |name: &&str| checked.pipeline.tables.iter().any(|table| table.name.value == **name);
    program.inputs().filter(|name| !is_table(name)).map(input).collect()
}

fn schema(checked: &Checked, relation: &str) -> Result<SchemaRef> {
    checked.relations.schema(relation).with_context(|| format!("\"{relation}\" is not defined"))
}

/// Compares what every expected stream gave in a batch.
fn compare(
    checked: &Checked,
    test: &TestSpec,
    batch: usize,
    output: &Collected,
    outcome: &mut Outcome,
) -> Result<()> {
    for (stream, batches) in &test.expect {
        let Some(expected) = batches.get(batch) else { continue };
        let schema = schema(checked, &stream.value)?;
        let expected = from_rows(expected, &super::rows::nullable(&schema));
        let expected = expected.with_context(|| format!("reading the rows expected of \"{stream}\""))?;
        let (expected, actual) = (to_rows(&[expected])?, output.rows(&stream.value)?);
        let different = differences(&expected, &actual, test.ordered);
        if !different.is_empty() {
            outcome.0.push(format!("batch {}, stream \"{stream}\":", batch + 1));
            outcome.0.extend(different.into_iter().map(|line| format!("  {line}")));
        }
    }
    Ok(())
}

/// The rows that a batch gave, by stream.
#[derive(Default)]
struct Collected(Mutex<BTreeMap<String, Vec<RecordBatch>>>);

impl Collected {
    fn rows(&self, stream: &str) -> Result<Table> {
        let collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to_rows(collected.get(stream).map_or(&[][..], Vec::as_slice))
    }
}

#[async_trait]
impl Output for Collected {
    async fn write(&self, relation: &str, _partition: usize, rows: RecordBatch) -> Result<(), String> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        collected.entry(relation.to_owned()).or_default().push(rows);
        Ok(())
    }
}

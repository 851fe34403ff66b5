//! Aggregates in states: whatever is merged in whatever way, the rows are those of the aggregate over all rows.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use millstream_model::BatchTime;

use crate::{
    Aggregation, Operator, OperatorContext, OperatorInput, Output, Partitions, Program, QueryError,
    Relations, Rows,
};

fn schema() -> SchemaRef {
    let word = Field::new("word", DataType::Utf8View, false);
    Arc::new(Schema::new(vec![word, Field::new("amount", DataType::Int64, true)]))
}

fn rows(rows: &[(&str, Option<i64>)]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.0)));
    let amounts: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)));
    RecordBatch::try_new(schema(), vec![words, amounts]).unwrap()
}

/// Keeps all states that come, and gives the aggregate of all so far.
struct SoFar {
    aggregation: Aggregation,
    states: Mutex<Vec<RecordBatch>>,
}

#[async_trait]
impl Operator for SoFar {
    fn schema(&self) -> SchemaRef {
        self.aggregation.schema()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let before = std::mem::take(&mut *self.states.lock().unwrap());
        let all = before.into_iter().chain(rows.concat()).collect();
        let merged = self.aggregation.merge(all).await?;
        *self.states.lock().unwrap() = merged.clone();
        Ok(Some(vec![self.aggregation.finish(context.time(), merged).await?]))
    }
}

#[derive(Default)]
struct Written(Mutex<Vec<RecordBatch>>);

#[async_trait]
impl Output for Written {
    async fn write(&self, _relation: &str, _partition: usize, rows: RecordBatch) -> Result<(), String> {
        self.0.lock().unwrap().push(rows);
        Ok(())
    }
}

impl Written {
    /// The rows as lines, sorted.
    fn lines(&self) -> Vec<String> {
        let batches = std::mem::take(&mut *self.0.lock().unwrap());
        let table = pretty_format_batches(&batches).unwrap().to_string();
        let mut lines: Vec<String> =
            table.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

const QUERIES: &[&str] = &[
    "SELECT word, count(*) AS c, sum(amount) AS s, avg(amount) AS a FROM input GROUP BY word",
    "SELECT word, min(amount) AS l, max(amount) - min(amount) AS span, sum(amount * 2) AS d FROM input GROUP BY word",
    "SELECT word, count(DISTINCT amount) AS d FROM input GROUP BY word",
    "SELECT count(*) AS c, sum(amount) AS s, count(DISTINCT word) AS d FROM input",
    "SELECT word, sum(amount) FILTER (WHERE amount > 1) AS s FROM input GROUP BY word",
    "SELECT max(batch_time()) AS t, median(amount) AS m FROM input",
];

async fn run(program: &mut Program, time: i64, given: RecordBatch) -> Vec<String> {
    let written = Arc::new(Written::default());
    let inputs = vec![("input".to_owned(), Arc::new(Rows(vec![given])) as _)];
    program.run(BatchTime::from_ms(time), inputs, Arc::clone(&written) as _).await.unwrap();
    written.lines()
}

#[tokio::test]
async fn states_that_are_merged_give_the_rows_of_the_aggregate_over_all() {
    let batches = [
        rows(&[("a", Some(1)), ("b", None), ("a", Some(3))]),
        rows(&[]),
        rows(&[("b", Some(2)), ("a", Some(1)), ("c", None)]),
    ];
    for query in QUERIES {
        let mut relations = Relations::new().unwrap();
        relations.add_input("input", schema()).unwrap();
        let aggregation = relations.aggregation(query).await.unwrap();
        let operator = Arc::new(SoFar { aggregation, states: Mutex::default() });
        let input = OperatorInput::Partial((*query).to_owned());
        relations.add_operator("so-far", input, operator).await.unwrap();
        relations.add_sql("whole", query).await.unwrap();
        for partitions in [1, 2] {
            let mut so_far = Program::compile(&relations, &["so-far"], partitions).await.unwrap();
            let mut whole = Program::compile(&relations, &["whole"], partitions).await.unwrap();
            let mut last = Vec::new();
            for batch in &batches {
                last = run(&mut so_far, 5_000, batch.clone()).await;
            }
            let times = if partitions == 1 { 1 } else { 2 };
            let all: Vec<RecordBatch> = std::iter::repeat_n(batches.to_vec(), times).flatten().collect();
            let all = arrow::compute::concat_batches(&schema(), &all).unwrap();
            assert_eq!(last, run(&mut whole, 5_000, all).await, "{query}");
        }
    }
}

#[tokio::test]
async fn a_query_that_is_no_aggregate_has_no_states() {
    let mut relations = Relations::new().unwrap();
    relations.add_input("input", schema()).unwrap();
    assert!(relations.aggregation("SELECT word FROM input").await.is_err());
}

/// Has a table in every second batch.
struct EverySecond;

#[async_trait]
impl Operator for EverySecond {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        Ok((context.time().as_ms() % 2_000 == 0).then_some(rows))
    }
}

#[tokio::test]
async fn whatever_reads_a_relation_without_a_table_has_none_either() {
    let mut relations = Relations::new().unwrap();
    relations.add_input("input", schema()).unwrap();
    let input = OperatorInput::Rows("input".to_owned());
    relations.add_operator("second", input, Arc::new(EverySecond)).await.unwrap();
    relations.add_sql("some", "SELECT word, amount FROM second WHERE amount > 0").await.unwrap();
    relations.add_sql("counted", "SELECT count(*) AS c FROM some").await.unwrap();
    let mut program = Program::compile(&relations, &["counted", "some"], 2).await.unwrap();
    let counted = |lines: &[String]| lines.iter().any(|line| line.contains("| 0 "));
    assert!(run(&mut program, 1_000, rows(&[("a", None)])).await.is_empty());
    assert!(counted(&run(&mut program, 2_000, rows(&[("a", None)])).await));
    assert!(run(&mut program, 3_000, rows(&[("a", Some(1))])).await.is_empty());
}

/// Leaves the batch's time where others find it.
struct Leaves(Arc<Mutex<i64>>);

/// Gives its rows where it finds the batch's time.
struct Finds(Arc<Mutex<i64>>);

#[async_trait]
impl Operator for Leaves {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn run(&self, context: &OperatorContext, _: Partitions) -> Result<Option<Partitions>, QueryError> {
        *self.0.lock().unwrap() = context.time().as_ms();
        Ok(Some(vec![Vec::new()]))
    }
}

#[async_trait]
impl Operator for Finds {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn follows(&self) -> Vec<String> {
        vec!["left".to_owned()]
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let found = *self.0.lock().unwrap() == context.time().as_ms();
        Ok(Some(if found { rows } else { Vec::new() }))
    }
}

#[tokio::test]
async fn what_an_operator_follows_is_computed_before_it_though_nothing_reads_it() {
    let mut relations = Relations::new().unwrap();
    relations.add_input("input", schema()).unwrap();
    relations.add_input("other", schema()).unwrap();
    let time = Arc::new(Mutex::new(0));
    let leaves = Arc::new(Leaves(Arc::clone(&time)));
    relations.add_operator("left", OperatorInput::Rows("other".to_owned()), leaves).await.unwrap();
    let finds = Arc::new(Finds(time));
    relations.add_operator("found", OperatorInput::Rows("input".to_owned()), finds).await.unwrap();
    let mut program = Program::compile(&relations, &["found"], 2).await.unwrap();
    let written = Arc::new(Written::default());
    let given = |name: &str, rows| (name.to_owned(), Arc::new(Rows(vec![rows])) as _);
    let inputs = vec![given("input", rows(&[("a", Some(1))])), given("other", rows(&[("b", None)]))];
    program.run(BatchTime::from_ms(5_000), inputs, Arc::clone(&written) as _).await.unwrap();
    let lines = written.lines();
    assert!(lines.iter().any(|line| line.contains("| a ")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("| b ")), "{lines:?}");
}

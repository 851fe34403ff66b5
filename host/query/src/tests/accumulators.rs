//! What functions add to accumulators, summed over the calls of a run.

use super::*;

/// Keeps all rows, and counts them; adds numbers to `sum`; refuses `poison`.
#[derive(Debug)]
struct Counting(FunctionDescription);

fn counting() -> Call {
    let description =
        FunctionDescription { name: "counting".into(), ..native(FunctionKind::Filter).description().clone() };
    let (function, columns) = (Arc::new(Counting(description)), vec!["line".into()]);
    Call { function, columns, keep_columns: true, caller: Arc::default() }
}

#[async_trait]
impl Function for Counting {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let mut added = Accumulated::from([("counting.rows".to_owned(), rows.num_rows() as i64)]);
        for text in rows.column(0).as_string_view().iter().flatten() {
            match (text, text.parse::<i64>()) {
                ("poison", _) => {
                    return Err(FunctionError::Broken {
                        function: "counting".into(),
                        reason: "poisoned".into(),
                    });
                }
                ("names", _) => {
                    let names = (0..1_000).map(|n| (format!("counting.{}-{n}", context.chunk), 1));
                    added.extend(names);
                }
                (_, Ok(number)) => *added.entry("counting.sum".into()).or_default() += number,
                _ => {}
            }
        }
        let kept = BooleanBuffer::new_set(rows.num_rows());
        Ok(Answered { answer: Answer::Selection(kept), added })
    }
}

/// Runs a batch of these chunks and gives what it counted.
async fn count(program: &mut Program, chunks: &[&[&str]]) -> Result<Vec<(String, i64)>, QueryError> {
    let inputs: Vec<(String, Arc<dyn Chunks>)> = vec![("lines".into(), Arc::new(lines(chunks)))];
    let accumulated = program.run(BatchTime::from_ms(0), inputs, Arc::new(Written::default())).await?;
    Ok(accumulated.accumulated.into_iter().collect())
}

async fn counting_program(sql: &str) -> Program {
    let mut relations = relations().await;
    relations.add_call("counted", "lines", counting()).await.unwrap();
    relations.add_sql("out", sql).await.unwrap();
    Program::compile(&relations, &["out"], 2).await.unwrap()
}

fn rows(count: i64) -> (String, i64) {
    ("counting.rows".to_owned(), count)
}

fn sum(sum: i64) -> (String, i64) {
    ("counting.sum".to_owned(), sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_sums_up_what_the_calls_of_all_partitions_added() {
    let mut program = counting_program("SELECT line, count(*) AS n FROM counted GROUP BY line").await;
    let (words, numbers) = (vec!["x"; 5_000], vec!["2"; 5_000]);
    let large = [words.as_slice(), &numbers, &words, &numbers, &words];
    for _ in 0..3 {
        assert_eq!(count(&mut program, &large).await.unwrap(), [rows(25_000), sum(20_000)]);
        assert_eq!(count(&mut program, &[&["3", "-5"], &["x"]]).await.unwrap(), [rows(3), sum(-2)]);
        assert_eq!(count(&mut program, &[]).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_failed_run_added_is_left_for_the_next() {
    let mut program = counting_program("SELECT line, count(*) AS n FROM counted GROUP BY line").await;
    let words = vec!["7"; 5_000];
    for chunks in [&[words.as_slice(), &words, &words, &words, &["poison"]][..], &[&["7"], &["poison"]]] {
        let error = count(&mut program, chunks).await.expect_err("it is poisoned");
        assert!(matches!(error, QueryError::Function(FunctionError::Broken { .. })), "{error}");
        assert_eq!(count(&mut program, &[&["1"]]).await.unwrap(), [rows(1), sum(1)]);
    }
}

#[tokio::test]
async fn functions_of_one_run_are_told_apart_and_a_stream_of_several_readers_counts_once() {
    let mut relations = relations().await;
    relations.add_call("counted", "lines", counting()).await.unwrap();
    relations.add_call("again", "counted", counting()).await.unwrap();
    relations
        .add_sql("pairs", "SELECT a.line FROM counted a JOIN counted b ON a.number = b.number")
        .await
        .unwrap();
    let mut program = Program::compile(&relations, &["again", "counted", "pairs"], 2).await.unwrap();
    assert_eq!(count(&mut program, &[&["a", "b"], &["c"]]).await.unwrap(), [rows(6)]);
}

#[tokio::test]
async fn a_query_that_uses_its_own_name_twice_counts_once() {
    for sql in [
        "WITH c AS (SELECT * FROM counted) SELECT a.line FROM c a JOIN c b ON a.number = b.number",
        "WITH c AS (SELECT * FROM counted) SELECT line FROM c WHERE number >= (SELECT min(number) FROM c)",
        "WITH c AS (SELECT * FROM counted), d AS (SELECT * FROM c) SELECT * FROM d UNION ALL SELECT * FROM d",
    ] {
        let mut program = counting_program(sql).await;
        assert_eq!(count(&mut program, &[&["a", "b"], &["c"]]).await.unwrap(), [rows(3)], "{sql}");
    }
}

#[tokio::test]
async fn a_sum_is_judged_when_all_of_it_is_there() {
    let mut program = counting_program("SELECT line FROM counted").await;
    let most = i64::MAX.to_string();
    let within: [&[&str]; 3] = [&[&most], &["1"], &["-1"]];
    assert_eq!(count(&mut program, &within).await.unwrap(), [rows(3), sum(i64::MAX)]);
    let error = count(&mut program, &within[..2]).await.expect_err("it does not fit");
    assert!(matches!(&error, QueryError::Accumulators(text) if text.contains("counting.sum")), "{error}");
}

#[tokio::test]
async fn the_accumulators_of_a_run_are_bounded() {
    let mut program = counting_program("SELECT line FROM counted").await;
    let chunks = vec![&["names"][..]; 10];
    assert_eq!(count(&mut program, &chunks[..9]).await.unwrap().len(), 9_001);
    let error = count(&mut program, &chunks).await.expect_err("there are 10,001");
    assert!(matches!(&error, QueryError::Accumulators(_)), "{error}");
    assert_eq!(count(&mut program, &[&["a"]]).await.unwrap(), [rows(1)]);
}

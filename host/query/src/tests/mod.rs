mod accumulators;
mod aggregation;
mod isolation;
mod order;

use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use millstream_model::{
    Accumulated, Answer, Answered, BatchTime, CallContext, DataType, Expansion, Field, Function,
    FunctionDescription, FunctionError, FunctionKind, Schema,
};

use crate::{Call, Chunks, Output, Program, QueryError, Relations, Rows, sql_relations};

/// The host's own `split-words`, `upper-case` and `is-short`, by kind.
#[derive(Debug)]
struct Native(FunctionDescription);

fn native(kind: FunctionKind) -> Arc<dyn Function> {
    let output = match kind {
        FunctionKind::Filter => Schema::default(),
        _ => Schema::new([Field::new("word", DataType::Utf8)]),
    };
    Arc::new(Native(FunctionDescription {
        name: format!("native-{kind}"),
        kind,
        input: Schema::new([Field::new("text", DataType::Utf8)]),
        output,
        keys: Schema::default(),
        state: Schema::default(),
        state_version: 0,
        migrations: Vec::new(),
        documentation: String::new(),
    }))
}

#[async_trait]
impl Function for Native {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn call(&self, _context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let texts = rows.column(0).as_string_view();
        let answer = |words: Vec<String>| {
            let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
            RecordBatch::try_new(Arc::new(self.0.output.to_arrow()), vec![column]).unwrap()
        };
        if texts.iter().flatten().any(|text| text == "poison") {
            return Err(FunctionError::Broken { function: "native".into(), reason: "poisoned".into() });
        }
        let answered = match self.0.kind {
            FunctionKind::Filter => {
                Answer::Selection(BooleanBuffer::from_iter(texts.iter().map(|t| t.unwrap().len() < 4)))
            }
            FunctionKind::FlatMap => {
                let split = |(row, text): (usize, Option<&str>)| {
                    let words = text.unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>();
                    words.into_iter().map(move |word| (row as u32, word))
                };
                let (origins, words) = texts.iter().enumerate().flat_map(split).unzip();
                Answer::Expansion(Expansion { rows: answer(words), origins })
            }
            FunctionKind::Transform => Answer::Rows(answer(vec![texts.len().to_string()])),
            _ => Answer::Rows(answer(texts.iter().map(|t| t.unwrap().to_uppercase()).collect())),
        };
        Ok(answered.into())
    }
}

fn call(kind: FunctionKind, keep_columns: bool) -> Call {
    Call { function: native(kind), columns: vec!["line".into()], keep_columns, caller: Arc::default() }
}

/// Collects what a program writes, as text.
#[derive(Default)]
struct Written(Mutex<Vec<(String, usize, String)>>);

#[async_trait]
impl Output for Written {
    async fn write(&self, relation: &str, partition: usize, rows: RecordBatch) -> Result<(), String> {
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<_> =
            rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let mut written = self.0.lock().unwrap();
        for row in 0..rows.num_rows() {
            let values: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            written.push((relation.to_owned(), partition, values.join("|")));
        }
        Ok(())
    }
}

impl Written {
    /// Every row with its relation and partition, as they came.
    fn in_order(&self) -> Vec<(String, usize, String)> {
        self.0.lock().unwrap().clone()
    }

    fn rows(&self, relation: &str) -> Vec<String> {
        let mut written = self.0.lock().unwrap().clone();
        written.sort_by_key(|(_, partition, _)| *partition);
        written.into_iter().filter(|(of, _, _)| of == relation).map(|(_, _, row)| row).collect()
    }
}

fn lines_schema() -> SchemaRef {
    let line = ArrowField::new("line", ArrowType::Utf8View, false);
    Arc::new(ArrowSchema::new(vec![line, ArrowField::new("number", ArrowType::Int64, false)]))
}

fn lines(chunks: &[&[&str]]) -> Rows {
    let mut number = 0;
    let chunk = |chunk: &&[&str]| {
        let numbers = Int64Array::from_iter_values(number..number + chunk.len() as i64);
        number += chunk.len() as i64;
        let lines: ArrayRef = Arc::new(StringViewArray::from_iter_values(chunk.iter()));
        RecordBatch::try_new(lines_schema(), vec![lines, Arc::new(numbers)]).unwrap()
    };
    Rows(chunks.iter().map(chunk).collect())
}

async fn relations() -> Relations {
    let mut relations = Relations::new().unwrap();
    relations.add_input("lines", lines_schema()).unwrap();
    relations
}

async fn run(program: &mut Program, time_ms: i64, rows: Rows) -> Result<Arc<Written>, QueryError> {
    let written = Arc::new(Written::default());
    let inputs: Vec<(String, Arc<dyn Chunks>)> = vec![("lines".into(), Arc::new(rows))];
    program.run(BatchTime::from_ms(time_ms), inputs, Arc::clone(&written) as Arc<dyn Output>).await?;
    Ok(written)
}

#[tokio::test]
async fn each_kind_of_call_carries_the_columns_it_does_not_read() {
    let cases: &[(FunctionKind, bool, &[&str])] = &[
        (FunctionKind::FlatMap, false, &["0|a", "0|bcde", "1|f"]),
        (FunctionKind::FlatMap, true, &["a bcde|0|a", "a bcde|0|bcde", "f|1|f"]),
        (FunctionKind::Map, false, &["0|A BCDE", "1|F"]),
        (FunctionKind::Filter, false, &["f|1"]),
        (FunctionKind::Transform, false, &["2"]),
    ];
    for (kind, keep, expected) in cases {
        let mut relations = relations().await;
        relations.add_call("out", "lines", call(*kind, *keep)).await.unwrap();
        let mut program = Program::compile(&relations, &["out"], 2).await.unwrap();
        let written = run(&mut program, 0, lines(&[&["a bcde"], &["f"]])).await.unwrap();
        assert_eq!(written.rows("out"), *expected, "{kind}, keep-columns = {keep}");
    }
}

#[tokio::test]
async fn a_program_runs_batch_after_batch_with_its_inputs_swapped() {
    let mut relations = relations().await;
    relations.add_call("words", "lines", call(FunctionKind::FlatMap, false)).await.unwrap();
    let sql = "SELECT word, count(*) AS total, batch_time() AS at FROM words GROUP BY word ORDER BY word";
    relations.add_sql("totals", sql).await.unwrap();
    let mut program = Program::compile(&relations, &["totals"], 2).await.unwrap();
    for (time_ms, text, expected) in [
        (1_000, "a b a", vec!["a|2|1970-01-01T00:00:01", "b|1|1970-01-01T00:00:01"]),
        (2_000, "b", vec!["b|1|1970-01-01T00:00:02"]),
    ] {
        let written = run(&mut program, time_ms, lines(&[&[text]])).await.unwrap();
        assert_eq!(written.rows("totals"), expected);
    }
}

#[tokio::test]
async fn large_batches_run_in_partitions_and_keep_their_order() {
    let mut relations = relations().await;
    relations.add_call("out", "lines", call(FunctionKind::Map, false)).await.unwrap();
    relations
        .add_sql("total", "SELECT sum(number) AS total, count(DISTINCT number) AS rows FROM out")
        .await
        .unwrap();
    let mut program = Program::compile(&relations, &["out", "total"], 2).await.unwrap();
    let chunk = vec!["x"; 5_000];
    for _ in 0..2 {
        let written = run(&mut program, 0, lines(&[chunk.as_slice(); 8])).await.unwrap();
        let expected: Vec<String> = (0..40_000).map(|number| format!("{number}|X")).collect();
        assert_eq!(written.rows("out"), expected);
        assert_eq!(written.rows("total"), ["799980000|40000"]);
        let partitions: Vec<usize> = written.0.lock().unwrap().iter().map(|(_, p, _)| *p).collect();
        assert!(partitions.contains(&1), "a large batch uses the second partition");
    }
}

#[tokio::test]
async fn shared_streams_and_inputs_are_read_once() {
    #[derive(Debug)]
    struct Once(Rows, Mutex<usize>);
    impl Chunks for Once {
        fn rows(&self) -> Vec<usize> {
            self.0.rows()
        }
        fn read(&self, chunk: usize) -> RecordBatch {
            *self.1.lock().unwrap() += 1;
            self.0.read(chunk)
        }
    }
    let mut relations = relations().await;
    relations
        .add_sql("pairs", "SELECT a.line FROM lines a JOIN lines b ON a.number = b.number")
        .await
        .unwrap();
    relations.add_sql("first", "SELECT line FROM pairs ORDER BY line LIMIT 1").await.unwrap();
    relations.add_union("both", &["pairs", "first", "pairs"]).await.unwrap();
    let mut program = Program::compile(&relations, &["both", "pairs", "lines"], 2).await.unwrap();
    let once = Arc::new(Once(lines(&[&["a", "b"], &["c"]]), Mutex::new(0)));
    let written = Arc::new(Written::default());
    let inputs: Vec<(String, Arc<dyn Chunks>)> = vec![("lines".into(), Arc::clone(&once) as _)];
    program.run(BatchTime::from_ms(0), inputs, Arc::clone(&written) as _).await.unwrap();
    let mut both = written.rows("both");
    both.sort();
    assert_eq!(both, ["a", "a", "a", "b", "b", "c", "c"]);
    assert_eq!(written.rows("lines"), ["a|0", "b|1", "c|2"]);
    assert_eq!(written.rows("pairs").len(), 3);
    assert_eq!(*once.1.lock().unwrap(), 2, "two chunks, each read once");
}

#[tokio::test]
async fn rows_are_sorted_before_and_after_a_call_by_the_columns_that_are_named() {
    let mut relations = relations().await;
    relations.add_sql("sorted", "SELECT line, number FROM lines ORDER BY number DESC").await.unwrap();
    relations.add_call("words", "sorted", call(FunctionKind::FlatMap, false)).await.unwrap();
    relations.add_sql("again", "SELECT word, number FROM words ORDER BY word").await.unwrap();
    let listed =
        "SELECT array_agg(word ORDER BY word) AS words, array_agg(number ORDER BY word) AS n FROM words";
    relations.add_sql("listed", listed).await.unwrap();
    for (wanted, expected) in [
        ("words", vec!["2|b", "1|d", "1|a", "0|c"]),
        ("again", vec!["a|1", "b|2", "c|0", "d|1"]),
        ("listed", vec!["[a, b, c, d]|[1, 2, 0, 1]"]),
    ] {
        for partitions in [1, 2] {
            let mut program = Program::compile(&relations, &[wanted], partitions).await.unwrap();
            let written = run(&mut program, 0, lines(&[&["c", "d a"], &["b"]])).await.unwrap();
            assert_eq!(written.rows(wanted), expected, "{wanted}");
        }
    }
}

#[tokio::test]
async fn only_needed_columns_and_streams_are_planned() {
    let mut relations = relations().await;
    relations.add_call("words", "lines", call(FunctionKind::FlatMap, true)).await.unwrap();
    relations.add_sql("unused", "SELECT 1 / 0 AS never FROM words").await.unwrap();
    relations
        .add_sql("counted", "SELECT number, count(*) AS n FROM words GROUP BY number ORDER BY number")
        .await
        .unwrap();
    let mut program = Program::compile(&relations, &["counted"], 2).await.unwrap();
    let written = run(&mut program, 0, lines(&[&["a b"], &["c"]])).await.unwrap();
    assert_eq!(written.rows("counted"), ["0|2", "1|1"]);
}

#[tokio::test]
async fn a_failing_function_fails_the_batch_by_its_own_name_and_the_next_batch_runs() {
    let mut relations = relations().await;
    relations.add_call("words", "lines", call(FunctionKind::FlatMap, false)).await.unwrap();
    relations.add_sql("totals", "SELECT word, count(*) AS n FROM words GROUP BY word").await.unwrap();
    let mut program = Program::compile(&relations, &["totals"], 2).await.unwrap();
    let error = run(&mut program, 0, lines(&[&["poison"]])).await.err().expect("it fails");
    assert!(matches!(&error, QueryError::Function(FunctionError::Broken { .. })), "{error}");
    let written = run(&mut program, 1, lines(&[&["a"]])).await.unwrap();
    assert_eq!(written.rows("totals"), ["a|1"]);
}

#[tokio::test]
async fn wrong_queries_say_what_and_where() {
    let cases = [
        ("SELECT valu FROM lines", "valu", Some((1, 8))),
        ("SELECT line FROM line", "line", None),
        ("SELECT line FORM lines", "lines", Some((1, 18))),
        ("SELECT count(*) AS n\nFROM lines GROUP BY nme", "nme", None),
        ("DROP TABLE lines", "DDL", None),
        ("", "empty", None),
        ("SELECT 1; SELECT 2", "one query", None),
        ("SELECT random() AS r FROM lines", "random", None),
        ("SELECT sum(line) AS n FROM lines", "sum", None),
        ("SELECT line AS \"millstream:origin\" FROM lines", "millstream:origin", None),
    ];
    for (sql, fragment, expected) in cases {
        let error = relations().await.add_sql("out", sql).await.expect_err(sql);
        let QueryError::Sql { message, place } = error else { panic!("{sql}: {error:?}") };
        assert!(message.contains(fragment), "{sql}: {message}");
        assert!(!message.contains('\n'), "{sql}: one line: {message}");
        assert!(expected.is_none() || place == expected, "{sql}: {place:?} {message}");
    }
}

#[test]
fn the_relations_of_a_query_are_those_it_reads_as_often_as_it_reads_them() {
    let cases: &[(&str, &[&str])] = &[
        ("SELECT lines.value FROM lines", &["lines"]),
        ("SELECT * FROM a JOIN b ON a.k = b.k", &["a", "b"]),
        ("SELECT * FROM a x JOIN a y ON x.k = y.k", &["a", "a"]),
        ("WITH c AS (SELECT * FROM a) SELECT * FROM c", &["a"]),
        ("SELECT * FROM a WHERE k IN (SELECT k FROM \"my-b\")", &["a", "my-b"]),
        ("SELECT 1", &[]),
    ];
    for (sql, expected) in cases {
        assert_eq!(sql_relations(sql).unwrap(), *expected, "{sql}");
    }
}

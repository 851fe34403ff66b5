use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, Int64Type, Schema as ArrowSchema, SchemaRef,
};
use async_trait::async_trait;
use millstream_model::pipeline::OnError;
use millstream_model::{
    BatchTime, CallContext, DataType, Field, Folded, FunctionDescription, FunctionError, FunctionKind,
    Groups, Reduce, Schema,
};
use millstream_query::{Caller, Chunks, OperatorInput, Program, QueryError, Relations, Rows};

use crate::testing::Written;
use crate::{Folding, KeyedReduce};

/// An amount that no sum is made of.
const POISON: i64 = -1;

/// Adds amounts up.
#[derive(Debug)]
struct Sum(FunctionDescription);

impl Sum {
    fn new() -> Self {
        let amount = || Schema::new([Field::new("amount", DataType::Int64)]);
        Self(FunctionDescription {
            name: "sum".to_owned(),
            kind: FunctionKind::Reduce,
            input: amount(),
            output: amount(),
            keys: Schema::default(),
            state: Schema::default(),
            state_version: 0,
            migrations: Vec::new(),
            documentation: String::new(),
        })
    }
}

#[async_trait]
impl Reduce for Sum {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn fold(&self, _: CallContext, rows: RecordBatch, groups: Groups) -> Result<Folded, FunctionError> {
        let amounts = rows.column(0).as_primitive::<Int64Type>().values();
        if amounts.contains(&POISON) {
            let (function, reason) = ("test.sum".to_owned(), "trapped".to_owned());
            return Err(FunctionError::Broken { function, reason });
        }
        let mut sums = vec![0; groups.count as usize];
        groups.of.iter().zip(amounts).for_each(|(group, amount)| sums[*group as usize] += amount);
        let sums: ArrayRef = Arc::new(Int64Array::from(sums));
        Ok(Folded { rows: RecordBatch::try_new(rows.schema(), vec![sums]).unwrap(), added: BTreeMap::new() })
    }
}

fn schema() -> SchemaRef {
    let number = |name| ArrowField::new(name, ArrowType::Int64, false);
    Arc::new(ArrowSchema::new(vec![number("key"), number("amount")]))
}

async fn program(on_error: OnError) -> Program {
    let mut relations = Relations::new().unwrap();
    relations.add_input("rows", schema()).unwrap();
    let (stream, function) = ("sums".to_owned(), "test.sum".to_owned());
    let caller = Caller { stream, function, digest: "d1".to_owned(), on_error, ..Caller::default() };
    let folding = Folding::new(Arc::new(Sum::new()), &schema(), vec![0], vec![1]).called_by(Arc::new(caller));
    let reduce = Arc::new(KeyedReduce::new(folding));
    relations.add_operator("sums", OperatorInput::Rows("rows".to_owned()), reduce).await.unwrap();
    Program::compile(&relations, &["sums"], 2).await.unwrap()
}

/// What was put aside: its key, its amount, and whether that may be a sum.
type Aside = (i64, i64, bool);

/// The sums by key, and what was put aside, of rows in chunks of so many.
async fn sums(
    program: &mut Program,
    rows: &[(i64, i64)],
    chunk: usize,
) -> Result<(BTreeMap<i64, i64>, Vec<Aside>), QueryError> {
    let table = |rows: &[(i64, i64)]| {
        let column = |of: fn(&(i64, i64)) -> i64| {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef
        };
        RecordBatch::try_new(schema(), vec![column(|row| row.0), column(|row| row.1)]).unwrap()
    };
    let written = Arc::new(Written::default());
    let inputs: Vec<(String, Arc<dyn Chunks>)> =
        vec![("rows".to_owned(), Arc::new(Rows(rows.chunks(chunk).map(table).collect())))];
    let computed = program.run(BatchTime::from_ms(0), inputs, Arc::clone(&written) as _).await?;
    let number = |text: &str| text.parse::<i64>().unwrap();
    let sum = |line: &String| {
        let (key, sum) = line.split_once(' ').unwrap();
        (number(key), number(sum))
    };
    let aside = computed.poison.iter().map(|poisoned| {
        let of = |column: &str| poisoned.row.row[column].as_i64().unwrap();
        (of("key"), of("amount"), poisoned.row.totals)
    });
    Ok((written.of("sums").iter().map(sum).collect(), aside.collect()))
}

#[tokio::test]
async fn the_rows_of_a_key_that_the_function_fails_on_are_put_aside_and_other_keys_are_folded() {
    let mut program = program(OnError::DeadLetter).await;
    let rows: Vec<(i64, i64)> =
        (0..1_000).map(|row| (row % 100, if row == 507 { POISON } else { row })).collect();
    let (sums, mut aside) = sums(&mut program, &rows, 300).await.unwrap();
    let of = |key: i64| rows.iter().filter(move |row| row.0 == key).map(|row| row.1);
    let expected: BTreeMap<i64, i64> =
        (0..100).filter(|key| *key != 7).map(|key| (key, of(key).sum())).collect();
    assert_eq!(sums, expected);
    let mut expected: Vec<Aside> = of(7).map(|amount| (7, amount, false)).collect();
    aside.sort_unstable();
    expected.sort_unstable();
    assert_eq!(aside, expected);
}

#[tokio::test]
async fn a_key_whose_rows_are_too_many_for_one_call_loses_only_those_of_the_failing_calls() {
    let mut program = program(OnError::DeadLetter).await;
    // One key has most of the rows, so that it is cut apart; others have a few each.
    let rows: Vec<(i64, i64)> = (0..300_000)
        .map(|row| {
            (if row % 10 == 0 { row % 1_000 } else { 1 }, if row % 90_000 == 5 { POISON } else { row })
        })
        .collect();
    for chunk in [10_000, 100_000] {
        let (sums, aside) = sums(&mut program, &rows, chunk).await.unwrap();
        assert!(aside.contains(&(1, POISON, false)), "{chunk}");
        let of = |key: i64| rows.iter().filter(move |row| row.0 == key).map(|row| row.1).sum::<i64>();
        for key in (0..1_000).step_by(10) {
            assert_eq!(sums[&key], of(key), "key {key}");
        }
    }
}

#[tokio::test]
async fn what_was_added_up_before_it_is_put_aside_is_said_to_be_a_sum() {
    let mut program = program(OnError::DeadLetter).await;
    // So many rows that they are folded on the way; what the function fails on comes last.
    let mut rows: Vec<(i64, i64)> = (0..200_000).map(|row| (row % 1_000, 1)).collect();
    rows[199_007].1 = POISON;
    let (sums, aside) = sums(&mut program, &rows, 10_000).await.unwrap();
    assert!(aside.iter().all(|(key, _, may_be_sum)| *key == 7 && *may_be_sum), "{aside:?}");
    assert!(aside.iter().any(|(_, amount, _)| *amount > 1), "{aside:?}");
    let left: i64 = sums.values().sum();
    assert_eq!(aside.iter().map(|(_, amount, _)| amount).sum::<i64>() + left, 200_000 - 2);
}

#[tokio::test]
async fn a_stream_that_stops_fails_with_its_function() {
    let mut program = program(OnError::Stop).await;
    let error = sums(&mut program, &[(1, 1), (2, POISON)], 10).await.unwrap_err();
    assert!(matches!(error, QueryError::Function(_)), "{error}");
}

//! Rows that functions fail on: put aside with their origins, while the others go on.

use std::collections::BTreeMap;

use millstream_model::pipeline::OnError;

use super::*;
use crate::{Caller, Computed, Stopwatch};

/// What a function fails on, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Trap,
    Reject,
    Away,
}

/// The native functions, which fail on rows that are faulty, as long as they are.
#[derive(Debug)]
struct Fussy {
    well: Arc<dyn Function>,
    /// Texts, and how many more calls each makes fail.
    faults: Mutex<BTreeMap<String, (Fault, usize)>>,
    /// More rows than these make a call fail.
    rows_max: usize,
    /// The chunks and rows of the calls that were made.
    calls: Mutex<Vec<(u32, usize)>>,
}

const ALWAYS: usize = usize::MAX;

impl Fussy {
    fn new(kind: FunctionKind, faults: &[(&str, Fault, usize)]) -> Arc<Self> {
        let faults =
            faults.iter().map(|(text, fault, calls)| ((*text).to_owned(), (*fault, *calls))).collect();
        let (well, calls) = (native(kind), Mutex::default());
        Arc::new(Self { well, faults: Mutex::new(faults), rows_max: usize::MAX, calls })
    }

    fn calls(&self) -> Vec<(u32, usize)> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn fault(&self, rows: &RecordBatch) -> Option<Fault> {
        if rows.num_rows() > self.rows_max {
            return Some(Fault::Trap);
        }
        let mut faults = self.faults.lock().unwrap();
        for text in rows.column(0).as_string_view().iter().flatten() {
            if let Some((fault, left)) = faults.get_mut(text).filter(|(_, left)| *left > 0) {
                *left -= usize::from(*left != ALWAYS);
                return Some(*fault);
            }
        }
        None
    }
}

#[async_trait]
impl Function for Fussy {
    fn description(&self) -> &FunctionDescription {
        self.well.description()
    }

    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        self.calls.lock().unwrap().push((context.chunk, rows.num_rows()));
        let (function, reason) = ("fussy.call".to_owned(), "not to its taste".to_owned());
        match self.fault(&rows) {
            None => self.well.call(context, rows).await,
            Some(Fault::Trap) => Err(FunctionError::Broken { function, reason }),
            Some(Fault::Reject) => Err(FunctionError::Rejected { function, reason }),
            Some(Fault::Away) => Err(FunctionError::Unavailable { function, reason }),
        }
    }
}

fn fussy_call(function: &Arc<Fussy>, on_error: OnError) -> Call {
    let (stream, function_name, digest) = ("out".into(), "fussy.call".into(), "d1".into());
    let caller = Caller { stream, function: function_name, digest, on_error, ..Caller::default() };
    let function = Arc::clone(function) as Arc<dyn Function>;
    Call { function, columns: vec!["line".into()], keep_columns: false, caller: Arc::new(caller) }
}

async fn fussy_program(function: &Arc<Fussy>, on_error: OnError) -> Program {
    fussy_program_within(function, on_error, std::time::Duration::ZERO).await
}

async fn fussy_program_within(
    function: &Arc<Fussy>,
    on_error: OnError,
    call_time_max: std::time::Duration,
) -> Program {
    let mut relations = relations().await;
    let call = fussy_call(function, on_error);
    let caller = Arc::new(Caller { call_time_max, ..call.caller.as_ref().clone() });
    relations.add_call("out", "lines", Call { caller, ..call }).await.unwrap();
    Program::compile(&relations, &["out"], 2).await.unwrap()
}

/// What a run computed, and the rows of "out".
async fn attempt(program: &mut Program, rows: Rows) -> Result<(Computed, Vec<String>), QueryError> {
    let written = Arc::new(Written::default());
    let inputs: Vec<(String, Arc<dyn Chunks>)> = vec![("lines".into(), Arc::new(rows))];
    let computed = program.run(BatchTime::from_ms(0), inputs, Arc::clone(&written) as _).await?;
    Ok((computed, written.rows("out")))
}

/// The inputs and records that poison rows come from, with their texts.
fn traced(computed: &Computed) -> Vec<(Option<(&str, u64)>, &str)> {
    computed
        .poison
        .iter()
        .map(|poisoned| {
            let origin = poisoned.origin.as_ref().map(|origin| (origin.input.as_str(), origin.record));
            (origin, poisoned.row.row["text"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_poison_row_is_put_aside_and_all_others_go_on_in_order() {
    for kind in [FunctionKind::Map, FunctionKind::FlatMap, FunctionKind::Filter] {
        for fault in [Fault::Trap, Fault::Reject] {
            let function = Fussy::new(kind, &[("bad", fault, ALWAYS)]);
            let mut program = fussy_program(&function, OnError::DeadLetter).await;
            let mut texts = vec!["ok"; 10_000];
            texts[7_777] = "bad";
            let (first, second) = texts.split_at(4_000);
            let (computed, rows) = attempt(&mut program, lines(&[first, second])).await.unwrap();
            let expected: Vec<String> =
                (0..10_000).filter(|row| *row != 7_777).map(|row| row.to_string()).collect();
            let numbers: Vec<&str> = match kind {
                FunctionKind::Filter => rows.iter().map(|row| row.split_once('|').unwrap().1).collect(),
                _ => rows.iter().map(|row| row.split_once('|').unwrap().0).collect(),
            };
            assert_eq!(numbers, expected, "{kind} {fault:?}");
            assert_eq!(traced(&computed), [(Some(("lines", 7_777)), "bad")], "{kind} {fault:?}");
            let row = &computed.poison[0].row;
            assert_eq!(
                (row.stream.as_str(), row.function.as_str(), row.digest.as_str()),
                ("out", "fussy.call", "d1")
            );
            assert!(row.error.contains("not to its taste"), "{}", row.error);
            let calls = function.calls();
            let called: usize = calls.iter().map(|(_, rows)| rows).sum();
            assert!(calls.len() < 80 && called < 5 * 10_000, "{} calls on {called} rows", calls.len());
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_once_is_made_once_more_in_the_same_place() {
    let function = Fussy::new(FunctionKind::Map, &[("flaky", Fault::Trap, 1)]);
    let mut program = fussy_program(&function, OnError::DeadLetter).await;
    let (computed, rows) = attempt(&mut program, lines(&[&["a"], &["flaky", "b"]])).await.unwrap();
    assert_eq!(rows, ["0|A", "1|FLAKY", "2|B"]);
    assert_eq!(computed, Computed::default());
    assert_eq!(function.calls(), [(0, 1), (1, 2), (1, 2)]);
}

#[tokio::test]
async fn rows_that_are_too_many_for_one_call_are_no_poison() {
    let function = Fussy { rows_max: 10, ..Arc::into_inner(Fussy::new(FunctionKind::Map, &[])).unwrap() };
    let function = Arc::new(function);
    let mut program = fussy_program(&function, OnError::DeadLetter).await;
    let (computed, rows) = attempt(&mut program, lines(&[&["x"; 1_000]])).await.unwrap();
    assert_eq!((rows.len(), computed), (1_000, Computed::default()));
}

#[tokio::test]
async fn a_row_that_breaks_its_call_in_passing_is_no_poison() {
    // The row breaks the call of all, its repetition, and its first call alone; a second one passes.
    for (calls, is_poison) in [(3, false), (4, true)] {
        let function = Fussy::new(FunctionKind::Map, &[("flaky", Fault::Trap, calls)]);
        let mut program = fussy_program(&function, OnError::DeadLetter).await;
        let (computed, rows) = attempt(&mut program, lines(&[&["a", "flaky"]])).await.unwrap();
        assert_eq!((rows.len(), computed.poison.len()), (2 - usize::from(is_poison), usize::from(is_poison)));
        assert_eq!(function.calls().iter().map(|(_, rows)| rows).sum::<usize>(), 2 + 2 + 1 + 1 + 1);
    }
}

#[tokio::test]
async fn second_tries_of_rows_come_to_an_end_before_what_a_batch_may_lose() {
    let function = Fussy::new(FunctionKind::Map, &[("bad", Fault::Trap, ALWAYS)]);
    let mut program = fussy_program(&function, OnError::Skip).await;
    let many = attempt(&mut program, lines(&[&["bad"; 6_000]])).await.unwrap();
    assert_eq!(many.0.accumulated["fussy.call.skipped"], 6_000);
    let calls = function.calls().len();
    assert!((9_000..10_000).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_run_that_is_repeated_calls_in_the_same_places_and_no_two_pieces_share_one() {
    let function = Fussy::new(FunctionKind::Map, &[("bad", Fault::Trap, ALWAYS)]);
    let mut program = fussy_program(&function, OnError::DeadLetter).await;
    let texts: Vec<&str> = (0..1_000).map(|row| if row % 100 == 7 { "bad" } else { "ok" }).collect();
    let first = attempt(&mut program, lines(&[&texts, &texts])).await.unwrap();
    let calls = function.calls();
    assert_eq!(attempt(&mut program, lines(&[&texts, &texts])).await.unwrap(), first);
    assert_eq!(function.calls(), calls);
    assert_eq!(first.0.poison.len(), 20);
    let mut places: Vec<u32> = calls.iter().map(|(chunk, _)| *chunk).collect();
    places.sort_unstable();
    places.dedup();
    // A piece and the first piece of that have the same place; of these only the last gives rows. So do a call and its repetition.
    assert!(places.len() > calls.len() * 3 / 4, "{} places of {} calls", places.len(), calls.len());
}

#[tokio::test]
async fn each_policy_does_what_it_says() {
    for (fault, on_error, expected) in [
        (Fault::Trap, OnError::DeadLetter, Ok((1, 0))),
        (Fault::Trap, OnError::Skip, Ok((0, 1))),
        (Fault::Trap, OnError::Stop, Err("fussy.call: not to its taste")),
        (Fault::Reject, OnError::Stop, Err("fussy.call: not to its taste")),
        (Fault::Away, OnError::Stop, Err("fussy.call: not to its taste")),
        (Fault::Away, OnError::DeadLetter, Err("fussy.call is not available: not to its taste")),
        (Fault::Away, OnError::Skip, Err("fussy.call is not available: not to its taste")),
    ] {
        let function = Fussy::new(FunctionKind::Map, &[("bad", fault, ALWAYS)]);
        let mut program = fussy_program(&function, on_error).await;
        let found = attempt(&mut program, lines(&[&["a", "bad", "b"]])).await;
        let found = found.map(|(computed, rows)| {
            assert_eq!(rows, ["0|A", "2|B"]);
            let skipped = computed.accumulated.get("fussy.call.skipped").copied().unwrap_or_default();
            (computed.poison.len(), skipped)
        });
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{fault:?} {on_error:?}"
        );
    }
}

#[tokio::test]
async fn a_partition_is_not_divided_for_a_transform() {
    for fault in [Fault::Trap, Fault::Reject] {
        let function = Fussy::new(FunctionKind::Transform, &[("bad", fault, ALWAYS)]);
        let mut program = fussy_program(&function, OnError::DeadLetter).await;
        let error = attempt(&mut program, lines(&[&["a", "bad"]])).await.unwrap_err();
        assert!(matches!(error, QueryError::Function(_)), "{error}");
        assert!(function.calls().iter().all(|(_, rows)| *rows == 2));
    }
}

#[tokio::test]
async fn a_function_that_fails_too_often_is_unusable() {
    let function = Fussy::new(FunctionKind::Map, &[("bad", Fault::Trap, ALWAYS)]);
    let mut program = fussy_program(&function, OnError::Skip).await;
    let few = attempt(&mut program, lines(&[&["bad"; 5_000]])).await.unwrap();
    assert_eq!(few.0.accumulated["fussy.call.skipped"], 5_000);
    let error = attempt(&mut program, lines(&[&["bad"; 15_000]])).await.unwrap_err();
    assert!(matches!(&error, QueryError::Unusable { function, .. } if function == "fussy.call"), "{error}");
}

#[tokio::test]
async fn calls_that_fail_for_too_long_make_a_function_unusable() {
    let function = Fussy::new(FunctionKind::Map, &[("bad", Fault::Trap, ALWAYS)]);
    for (seconds, call_seconds_max, is_usable) in
        [(10, 10, true), (100, 10, false), (100, 100, true), (2_000, 2_000, true), (2_000, 100, false)]
    {
        let call_time_max = std::time::Duration::from_secs(call_seconds_max);
        let mut program = fussy_program_within(&function, OnError::DeadLetter, call_time_max).await;
        // Each look at it comes so much later, and there are two for a call.
        let (watch, now) = (Mutex::new(0), std::time::Duration::from_secs);
        program.measure(Stopwatch::new(move || {
            let mut looks = watch.lock().unwrap();
            *looks += 1;
            now(*looks * seconds)
        }));
        // As many as one call may have.
        let mut texts = vec!["ok"; 65_536];
        texts[500] = "bad";
        let found = attempt(&mut program, lines(&[&texts])).await.map(|(computed, _)| computed.poison.len());
        assert_eq!(found.is_ok(), is_usable, "{seconds} of {call_seconds_max} s: {found:?}");
    }
}

#[tokio::test]
async fn origins_survive_chains_unions_and_streams_with_several_readers() {
    let function = Fussy::new(FunctionKind::Filter, &[("bad", Fault::Reject, ALWAYS)]);
    let mut relations = relations().await;
    relations.add_input("more", lines_schema()).unwrap();
    relations.add_union("all", &["lines", "more"]).await.unwrap();
    let split = Call { function: native(FunctionKind::FlatMap), ..fussy_call(&function, OnError::Stop) };
    relations.add_call("words", "all", split).await.unwrap();
    let checked = Call { columns: vec!["word".into()], ..fussy_call(&function, OnError::DeadLetter) };
    relations.add_call("out", "words", checked).await.unwrap();
    relations.add_sql("count", "SELECT count(*) AS n FROM words").await.unwrap();
    relations
        .add_sql("columns", "SELECT * FROM lines JOIN words ON lines.number = words.number")
        .await
        .unwrap();
    let wanted = ["out", "words", "count", "columns", "lines"];
    for (partitions, copies) in [(1, 1), (2, 1), (2, 10_000)] {
        let mut program = Program::compile(&relations, &wanted, partitions).await.unwrap();
        let written = Arc::new(Written::default());
        let ok = vec!["ok"; copies];
        let inputs: Vec<(String, Arc<dyn Chunks>)> = vec![
            ("lines".into(), Arc::new(lines(&[&["a b", "bad"], &ok, &["c bad d bad"]]))),
            ("more".into(), Arc::new(lines(&[&ok, &["e", "bad"]]))),
        ];
        let computed = program.run(BatchTime::from_ms(0), inputs, Arc::clone(&written) as _).await.unwrap();
        let last = copies as u64 + 2;
        let expected = [
            (Some(("lines", 1)), "bad"),
            (Some(("lines", last)), "bad"),
            (Some(("lines", last)), "bad"),
            (Some(("more", last - 1)), "bad"),
        ];
        assert_eq!(traced(&computed), expected, "{partitions} partitions, {copies} copies");
        // Nobody sees the origins.
        let words = 4 + 2 * copies + 1 + 4;
        assert_eq!(written.rows("count"), [words.to_string()]);
        for (stream, columns) in [("out", 2), ("words", 2), ("columns", 4), ("lines", 2)] {
            assert!(written.rows(stream).iter().all(|row| row.split('|').count() == columns), "{stream}");
        }
    }
}

#[tokio::test]
async fn behind_sql_a_row_has_no_origin() {
    let function = Fussy::new(FunctionKind::Filter, &[("bad", Fault::Reject, ALWAYS)]);
    let mut relations = relations().await;
    relations.add_sql("some", "SELECT line, number FROM lines WHERE number > 0").await.unwrap();
    relations.add_union("all", &["some", "lines"]).await.unwrap();
    relations.add_call("out", "all", fussy_call(&function, OnError::DeadLetter)).await.unwrap();
    let mut program = Program::compile(&relations, &["out"], 2).await.unwrap();
    let (computed, rows) = attempt(&mut program, lines(&[&["a", "bad"]])).await.unwrap();
    assert_eq!(rows, ["a|0"]);
    assert_eq!(traced(&computed), [(None, "bad"), (Some(("lines", 1)), "bad")]);
}

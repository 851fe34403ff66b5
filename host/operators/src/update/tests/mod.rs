//! Streams with states through whole programs, their keys in one part and in several: what they give, batch by batch.

mod lab;
mod model;
mod tally;

use lab::{Given, Lab, Row, Setup};
use millstream_model::pipeline::OnError;
use millstream_platform::Seeded;
use model::Model;
use tally::{KEEP, Poison, REMOVE};

const PARTS: &[usize] = &[1, 4];
const TRIALS: u64 = 30;
/// Between two batches.
const SECOND: i64 = 1_000;

fn rows(rows: &[(&str, i64)]) -> Vec<Row> {
    rows.iter().map(|(key, amount)| ((*key).to_owned(), *amount)).collect()
}

/// The keys `0`, `1` and so on, each with its own number as amount.
fn numbered(count: i64) -> Vec<Row> {
    (0..count).map(|number| (format!("key {number}"), 1 + number)).collect()
}

/// A batch's rows, and the rows and states that it has to give.
type Step<'s> = (&'s [(&'s str, i64)], &'s [&'s str], &'s [&'s str]);

/// Runs batches a second apart, each twice, with restarts and without, in one part and in several.
async fn check(setup: &Setup, steps: &[Step<'_>]) {
    for (parts, restarts) in PARTS.iter().flat_map(|parts| [(*parts, false), (*parts, true)]) {
        let mut lab = Lab::new(setup, parts).await;
        for (step, (given, expected, states)) in steps.iter().enumerate() {
            let (time, given) = (SECOND * (step as i64 + 1), rows(given));
            let tried = lab.attempt(time, &given).await.unwrap();
            let what = format!("{setup:?}, {parts} parts, restarts {restarts}, batch {step}");
            assert_eq!(
                (&tried.rows[..], &tried.states[..]),
                (&owned(expected)[..], &owned(states)[..]),
                "{what}"
            );
            assert_eq!(lab.batch(time, &given).await, tried, "{what} once more");
            if restarts {
                lab = lab.restarted().await;
            }
        }
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[tokio::test]
async fn a_key_sees_its_rows_in_order_and_what_the_last_batch_left() {
    let steps: &[Step<'_>] = &[
        (&[("a", 1), ("b", 5), ("a", 2)], &["a rows 1", "a rows 3", "b rows 5"], &["a 3 2", "b 5 5"]),
        (&[], &[], &["a 3 2", "b 5 5"]),
        (&[("a", REMOVE), ("b", KEEP), ("c", KEEP)], &["a rows ?", "b rows 5", "c rows ?"], &["b 5 5"]),
        (
            &[("b", REMOVE), ("b", 4), ("a", 9), ("a", REMOVE)],
            &["a rows 9", "a rows ?", "b rows 4", "b rows ?"],
            &["b 4 4"],
        ),
    ];
    check(&Setup::default(), steps).await;
}

#[tokio::test]
async fn a_key_without_rows_for_longer_than_the_timeout_is_shown_once_more_and_removed() {
    let setup = Setup { timeout_ms: Some(1_500), ..Setup::default() };
    let steps: &[Step<'_>] = &[
        (
            &[("a", 1), ("b", 2), ("c", 3)],
            &["a rows 1", "b rows 2", "c rows 3"],
            &["a 1 1", "b 2 2", "c 3 3"],
        ),
        // What keeps its state has been seen.
        (&[("b", KEEP)], &["b rows 2"], &["a 1 1", "b 2 2", "c 3 3"]),
        // A key that has rows now is not too late.
        (&[("c", 4)], &["a timeout 1", "c rows 7"], &["b 2 2", "c 7 4"]),
        (&[("a", 8)], &["a rows 8", "b timeout 2"], &["a 8 8", "c 7 4"]),
    ];
    check(&setup, steps).await;
}

#[tokio::test]
async fn states_to_begin_with_are_there_in_the_first_batch_and_never_again() {
    let initial = Some(rows(&[("a", 10), ("b", 20), ("c", 30)]));
    let setup = Setup { initial: initial.clone(), ..Setup::default() };
    let steps: &[Step<'_>] = &[
        (
            &[("a", 1), ("b", REMOVE), ("d", 4)],
            &["a rows 11", "b rows ?", "d rows 4"],
            &["a 11 1", "c 30 30", "d 4 4"],
        ),
        (&[("b", 2), ("c", 3)], &["b rows 2", "c rows 33"], &["a 11 1", "b 2 2", "c 33 3", "d 4 4"]),
    ];
    check(&setup, steps).await;
    // They are visited in the first batch as all others are.
    let every_key = Setup { every_key: true, ages: true, initial, ..Setup::default() };
    let steps: &[Step<'_>] = &[
        (&[("a", 1)], &["a rows 11", "b visit 1020", "c visit 1030"], &["a 11 1", "b 1020 20", "c 1030 30"]),
        (&[("b", REMOVE)], &["a visit 1011", "b rows ?", "c visit 2030"], &["a 1011 1", "c 2030 30"]),
        (&[], &["a visit 2011", "c visit 3030"], &["a 2011 1", "c 3030 30"]),
    ];
    check(&every_key, steps).await;
}

#[tokio::test]
async fn a_key_that_times_out_is_not_visited_beside_that() {
    let initial = Some(rows(&[("a", 10)]));
    let setup = Setup { timeout_ms: Some(1_500), every_key: true, initial, ..Setup::default() };
    let steps: &[Step<'_>] = &[
        (&[("b", 1)], &["a visit 10", "b rows 1"], &["a 10 10", "b 1 1"]),
        (&[("b", KEEP)], &["a visit 10", "b rows 1"], &["a 10 10", "b 1 1"]),
        (&[], &["a timeout 10", "b visit 1"], &["b 1 1"]),
        (&[], &["b timeout 1"], &[]),
        (&[], &[], &[]),
    ];
    check(&setup, steps).await;
}

#[tokio::test]
async fn a_function_that_fails_in_one_part_leaves_nothing_of_any() {
    let initial = Some(numbered(50));
    let setup = Setup { initial, every_key: true, ages: true, ..Setup::default() };
    for parts in PARTS.iter().copied() {
        let (mut lab, mut model) = (Lab::new(&setup, parts).await, Model::new(&setup));
        for batch in 1..=3 {
            let (time, rows) = (SECOND * batch, numbered(200));
            for key in ["key 0", "key 77", "key 199"] {
                // All other parts have done what they can, and counted it.
                let poison = Poison { key: key.to_owned(), after: parts - 1 };
                let staged = lab.failure(time, &rows, poison).await;
                assert!(staged.is_empty(), "{parts} parts, {key}: {staged:?}");
            }
            let expected = model.batch(time, &rows);
            assert_eq!(lab.batch(time, &rows).await, expected, "{parts} parts, batch {batch}");
        }
        assert_eq!(lab.parts_called(), parts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_batch_takes_several_calls_and_is_the_same_in_several_parts() {
    let setup = Setup { timeout_ms: Some(500), ..Setup::default() };
    let (mut many, few) = (numbered(66_000), rows(&[("one", 1), ("other", 2)]));
    // More rows than a call has, all of one key.
    many.extend((0..66_000).map(|number| ("one".to_owned(), 1 + number % 7)));
    let mut model = Model::new(&setup);
    let expected: Vec<_> =
        [&few, &many, &few].iter().zip(1..).map(|(rows, batch)| model.batch(SECOND * batch, rows)).collect();
    assert_eq!(expected[2].states.len(), 2, "all but two keys have timed out");
    for parts in PARTS {
        let mut lab = Lab::new(&setup, *parts).await;
        lab.batch(SECOND, &few).await;
        let poison = Poison { key: "one".to_owned(), after: 1 };
        assert!(lab.failure(2 * SECOND, &many, poison).await.is_empty());
        // Too much to be shown.
        assert!(lab.batch(2 * SECOND, &many).await == expected[1], "{parts} parts");
        assert!(lab.batch(3 * SECOND, &few).await == expected[2], "{parts} parts");
    }
}

/// Rows of some of 40 keys.
fn random_rows(seeded: &Seeded) -> Vec<Row> {
    let amount = || match seeded.below(8) {
        0 => REMOVE,
        1 | 2 => KEEP,
        _ => 1 + seeded.below(100) as i64,
    };
    (0..seeded.below(30)).map(|_| (format!("key {}", seeded.below(40)), amount())).collect()
}

fn random_setup(seeded: &Seeded) -> Setup {
    let (every_key, has_timeout) = (seeded.chance(1, 2), seeded.chance(1, 2));
    Setup {
        timeout_ms: has_timeout.then(|| 500 + seeded.below(4_000)),
        every_key,
        ages: every_key && !has_timeout,
        initial: seeded.chance(1, 2).then(|| numbered(seeded.below(30) as i64)),
        on_error: None,
    }
}

async fn trial(seeded: &Seeded) {
    let setup = random_setup(seeded);
    let batches: Vec<_> = (0..4 + seeded.below(8)).map(|_| random_rows(seeded)).collect();
    let mut model = Model::new(&setup);
    let expected: Vec<Given> =
        batches.iter().zip(1..).map(|(rows, batch)| model.batch(SECOND * batch, rows)).collect();
    for parts in PARTS {
        let mut lab = Lab::new(&setup, *parts).await;
        for ((rows, expected), batch) in batches.iter().zip(&expected).zip(1..) {
            let what = format!("{setup:?}, {parts} parts: batch {batch} of {batches:?}");
            if let Some((key, _)) = rows.first().filter(|_| seeded.chance(1, 3)) {
                let poison = Poison { key: key.clone(), after: 0 };
                assert!(lab.failure(SECOND * batch, rows, poison).await.is_empty(), "{what}");
            }
            assert_eq!(lab.batch(SECOND * batch, rows).await, *expected, "{what}");
            if seeded.chance(1, 4) {
                lab = lab.restarted().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "a failed trial says its seed")]
async fn whatever_comes_states_are_those_of_the_model() {
    for seed in Seeded::seeds(0..TRIALS) {
        println!("MILLSTREAM_SEED={seed}");
        trial(&Seeded::new(seed)).await;
    }
}

#[tokio::test]
async fn a_key_that_the_function_fails_on_keeps_its_state_and_its_rows_are_put_aside() {
    let setup = Setup { timeout_ms: Some(5_000), on_error: Some(OnError::DeadLetter), ..Setup::default() };
    for parts in [1, 3] {
        let mut lab = Lab::new(&setup, parts).await;
        let row = |key: &str, amount: i64| (key.to_owned(), amount);
        lab.batch(1_000, &[row("a", 1), row("b", 10), row("c", 100)]).await;
        lab.poison(Some("b"));
        let given = lab.batch(2_000, &[row("a", 2), row("b", 20), row("b", 30), row("d", 1_000)]).await;
        assert_eq!(given.rows, ["a rows 3", "d rows 1000"]);
        assert_eq!(given.states, ["a 3 2", "b 10 10", "c 100 100", "d 1000 1000"]);
        let aside =
            |key: &str, amount: i64| format!("{{\"amount\": Number({amount}), \"key\": String(\"{key}\")}}");
        assert_eq!(given.poison, [aside("b", 20), aside("b", 30)]);
        // A key that times out goes, though the function never saw it.
        let given = lab.batch(7_000, &[row("a", 4), row("d", 1), row("c", 1)]).await;
        assert_eq!(given.states, ["a 7 4", "c 101 1", "d 1001 1"]);
        assert_eq!(given.poison, ["{\"key\": String(\"b\")}"]);
        lab.poison(None);
        assert_eq!(lab.batch(8_000, &[row("b", 5)]).await.rows, ["b rows 5"]);
    }
}

#[tokio::test]
async fn a_key_whose_state_the_function_fails_on_is_put_aside_once_and_then_counted() {
    let on_error = Some(OnError::DeadLetter);
    let setup = Setup { every_key: true, on_error, ..Setup::default() };
    let letter = ["{\"key\": String(\"b\")}"];
    for parts in PARTS.iter().copied() {
        let mut lab = Lab::new(&setup, parts).await;
        lab.batch(SECOND, &rows(&[("a", 1), ("b", 10)])).await;
        lab.poison(Some("b"));
        let first = lab.attempt(2 * SECOND, &[]).await.unwrap();
        assert_eq!(first.poison, letter, "{parts} parts");
        assert_eq!(lab.batch(2 * SECOND, &[]).await, first, "each attempt of a batch says the same");
        for batch in 3..=5 {
            let given = lab.batch(batch * SECOND, &[]).await;
            assert_eq!((given.poison.len(), given.added[".still-failing"]), (0, 1), "batch {batch}");
            assert_eq!(given.states, ["a 1 1", "b 10 10"], "batch {batch}");
        }
        // Its rows are told of each time: they are lost.
        let given = lab.batch(6 * SECOND, &rows(&[("b", 7)])).await;
        assert_eq!((given.poison.len(), given.added.get(".still-failing")), (1, None));
        lab.poison(None);
        assert_eq!(lab.batch(7 * SECOND, &[]).await.poison.len(), 0);
        lab.poison(Some("b"));
        assert_eq!(lab.batch(8 * SECOND, &[]).await.poison, letter, "it is news again");
    }
}

//! Windows over event time through whole programs: what they give, and what is late, batch by batch.

mod lab;
mod model;

use lab::{Event, Given, Kind, Lab, Setup};

const TUMBLING: Setup = Setup { kind: Kind::Sum, length_ms: 10, slide_ms: 10, delays: &[0] };
const SLIDING: Setup = Setup { kind: Kind::Sum, length_ms: 30, slide_ms: 10, delays: &[5] };
/// No batch of a test is so early that its rows are too far ahead of it.
const SECOND: i64 = 1_000;
const DAY: i64 = 24 * 60 * 60 * 1_000;

/// A row of "a" that counts one.
fn at(ms: i64) -> Event {
    (Some(ms), "a", 1)
}

fn given(windows: &[&str], late: &[&str]) -> Given {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    Given { windows: lines(windows), late: lines(late) }
}

/// A batch of one source, and the windows and late rows that it has to give.
type Step<'s> = (&'s [Event], &'s [&'s str], &'s [&'s str]);

/// Runs batches a second apart, each in a pipeline that was just started if it is told so, and each twice.
async fn check(setup: Setup, steps: &[Step<'_>]) {
    for restarts in [false, true] {
        let mut lab = Lab::new(setup).await;
        for (step, (events, windows, late)) in steps.iter().enumerate() {
            let time = SECOND * (i64::try_from(step).unwrap() + 1);
            let expected = given(windows, late);
            let tried = lab.attempt(time, &[events]).await;
            assert_eq!(tried, expected, "{setup:?}, batch {step}, restarts {restarts}");
            assert_eq!(lab.batch(time, &[events]).await, expected, "{setup:?}, batch {step} once more");
            if restarts {
                lab = lab.restarted().await;
            }
        }
    }
}

#[tokio::test]
async fn a_window_has_its_rows_whatever_their_order_and_is_given_once() {
    let steps: &[Step<'_>] = &[
        (&[at(7), (Some(3), "b", 5), at(4)], &[], &[]),
        // The watermark is 7, and no window has ended.
        (&[at(9), (Some(1), "b", 2)], &[], &[]),
        (&[at(12), at(8)], &["0 10 a 4 4", "0 10 b 7 2"], &[]),
        (&[], &[], &[]),
        (&[at(31)], &["10 20 a 1 1"], &[]),
        (&[at(55), at(41)], &["30 40 a 1 1", "40 50 a 1 1"], &[]),
    ];
    check(TUMBLING, steps).await;
}

#[tokio::test]
async fn a_window_ends_with_the_watermark_that_reaches_its_end() {
    let steps: &[Step<'_>] = &[
        (&[at(0), at(9)], &[], &[]),
        // The watermark is the window's end: the window is over, and has the batch's own rows.
        (&[at(10), at(9)], &["0 10 a 3 3"], &[]),
        // One moment before the end is late, the end itself is the next window's.
        (&[at(9), at(10)], &[], &["9 a 1"]),
        (&[at(20)], &["10 20 a 2 2"], &[]),
    ];
    check(TUMBLING, steps).await;
}

#[tokio::test]
async fn a_row_is_in_all_windows_that_slide_over_it_and_are_not_over() {
    let steps: &[Step<'_>] = &[
        (&[at(5), (Some(12), "b", 3)], &[], &[]),
        // The watermark is 20.
        (&[at(25)], &["-20 10 a 1 1", "-10 20 a 1 1", "-10 20 b 3 1"], &[]),
        // The row at 5 is still in the window up to 30, and late for those up to 10 and 20. At -11, all are over.
        (&[at(5), at(-11)], &[], &["-11 a 1"]),
        // The watermark is 40.
        (&[at(45)], &["0 30 a 3 3", "0 30 b 3 1", "10 40 a 1 1", "10 40 b 3 1"], &[]),
        (&[at(9), at(10)], &[], &["9 a 1", "10 a 1"]),
        (&[at(200)], &["20 50 a 2 2", "30 60 a 1 1", "40 70 a 1 1"], &[]),
    ];
    check(SLIDING, steps).await;
}

#[tokio::test]
async fn windows_of_rows_have_them_in_the_order_in_which_they_came() {
    let setup = Setup { kind: Kind::Rows, ..SLIDING };
    let steps: &[Step<'_>] = &[
        // The watermark is 10.
        (&[(Some(15), "b", 1), (Some(5), "a", 2)], &["-20 10 5 a 2"], &[]),
        (&[(Some(7), "c", 3), (Some(15), "b", 1)], &[], &[]),
        (
            &[(None, "d", 4), (Some(25), "e", 5)],
            &["-10 20 15 b 1", "-10 20 5 a 2", "-10 20 7 c 3", "-10 20 15 b 1"],
            &["? d 4"],
        ),
    ];
    check(setup, steps).await;
}

#[tokio::test]
async fn a_reduce_by_a_function_is_of_each_window_and_key() {
    let setup = Setup { kind: Kind::Reduce, ..TUMBLING };
    let steps: &[Step<'_>] = &[
        (&[(Some(5), "b", 1), (Some(5), "a", 2), (Some(15), "a", 7)], &["0 10 a 2", "0 10 b 1"], &[]),
        (&[(Some(1), "a", 3), (Some(16), "a", 4)], &[], &["1 a 3"]),
        (&[(Some(20), "a", 5)], &["10 20 a 11"], &[]),
    ];
    check(setup, steps).await;
}

#[tokio::test]
async fn rows_without_an_event_time_are_late() {
    let steps: &[Step<'_>] = &[
        (&[(None, "a", 1)], &[], &["? a 1"]),
        (&[(None, "a", 2), at(3)], &[], &["? a 2"]),
        (&[(None, "a", 3), at(13)], &["0 10 a 1 1"], &["? a 3"]),
    ];
    check(TUMBLING, steps).await;
}

#[tokio::test]
async fn a_row_far_in_the_future_ends_no_windows_and_is_counted_in_its_time() {
    // Batches come at one second, two, and so on, and look a day ahead.
    let (near, far) = (DAY + 2 * SECOND, DAY + 2 * SECOND + 1);
    let window = format!("{} {} a 1 1", near, near + 10);
    let steps: &[Step<'_>] = &[
        (
            &[at(1), at(i64::MAX / 1_000), at(i64::MIN / 1_000)],
            &[],
            &[&format!("{} a 1", i64::MAX / 1_000), &format!("{} a 1", i64::MIN / 1_000)],
        ),
        (&[at(2), at(far)], &[], &[]),
        (&[at(11)], &["0 10 a 2 2"], &[]),
        (&[at(near + 10)], &["10 20 a 1 1", &window], &[]),
    ];
    check(TUMBLING, steps).await;
}

#[tokio::test]
async fn nothing_is_over_until_each_source_has_given_a_row() {
    let setup = Setup { delays: &[0, 5], ..TUMBLING };
    let mut lab = Lab::new(setup).await;
    assert_eq!(lab.batch(1_000, &[&[at(35)], &[]]).await, given(&[], &[]));
    assert_eq!(lab.batch(2_000, &[&[at(1)], &[(None, "b", 1)]]).await, given(&[], &["? b 1"]));
    lab = lab.restarted().await;
    // The second source's watermark is 10, and is the lesser.
    assert_eq!(lab.batch(3_000, &[&[], &[(Some(15), "b", 1)]]).await, given(&["0 10 a 1 1"], &[]));
    assert_eq!(
        lab.batch(4_000, &[&[at(9)], &[at(60)]]).await,
        given(&["10 20 b 1 1", "30 40 a 1 1"][..1], &["9 a 1"])
    );
}

#[tokio::test]
async fn what_is_over_is_not_kept() {
    for kind in [Kind::Sum, Kind::Reduce, Kind::Rows] {
        let mut lab = Lab::new(Setup { kind, ..SLIDING }).await;
        lab.batch(1_000, &[&[at(1), at(2), (Some(14), "b", 1)]]).await;
        let before = lab.kept();
        assert_eq!(before, if kind == Kind::Rows { 3 } else { 2 });
        // The watermark is 35: "b" is in the window up to 40.
        lab.batch(2_000, &[&[at(40)]]).await;
        assert_eq!(lab.kept(), 2, "{kind:?}: b, and what has come");
        // What has come and is over at once is never kept.
        lab.batch(3_000, &[&[at(46), at(500)]]).await;
        assert_eq!(lab.kept(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_large_batch_is_the_same_on_all_cores() {
    let events: Vec<Event> = (0..20_000).map(|n| at(n % 40)).collect();
    let mut lab = Lab::new(SLIDING).await;
    let sums = |start: i64, n: i64| format!("{start} {} a {n} {n}", start + 30);
    let expected = [sums(-20, 5_000), sums(-10, 10_000), sums(0, 15_000)];
    assert_eq!(lab.batch(1_000, &[&events]).await.windows, expected);
}

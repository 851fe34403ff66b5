use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::RateLimit;
use super::bucket::Bucket;

/// What the tests of Spark's limiter say, with where they are.
const SPARK: &str = include_str!("../../../testdata/pid.json");

#[derive(Deserialize)]
struct Spark {
    rate_limiter: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    max_rate: Option<u64>,
    updates: Vec<f64>,
    expected_limit: f64,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn limits_are_those_of_spark() {
    for Case { id, max_rate, updates, expected_limit } in
        serde_json::from_str::<Spark>(SPARK).unwrap().rate_limiter
    {
        let limit = RateLimit::new(max_rate);
        updates.into_iter().for_each(|rate| limit.set(Some(rate)));
        assert_eq!(limit.current(), Some(expected_limit), "{id}");
    }
}

#[test]
fn the_lower_of_both_rates_counts() {
    let cases = [
        (None, vec![], None),
        (Some(5), vec![], Some(5.0)),
        (Some(0), vec![], Some(1.0)),
        (Some(5), vec![Some(3.0)], Some(3.0)),
        (Some(5), vec![Some(3.0), None], Some(5.0)),
        (None, vec![Some(3.0), None], None),
        (None, vec![Some(3.0), Some(-1.0)], Some(3.0)),
        (None, vec![Some(3.0), Some(f64::NAN)], Some(3.0)),
        (None, vec![Some(f64::INFINITY)], None),
        (Some(5), vec![Some(3.0), Some(f64::INFINITY)], Some(5.0)),
        (Some(5), vec![Some(0.5)], Some(0.5)),
    ];
    for (max, updates, expected) in cases {
        let limit = RateLimit::new(max);
        updates.iter().for_each(|rate| limit.clone().set(*rate));
        assert_eq!(limit.current(), expected, "{max:?}, {updates:?}");
    }
    let slow = RateLimit::new(None);
    slow.set(Some(1e-300));
    assert!(slow.current().is_some_and(|rate| rate > 0.01));
}

#[test]
fn a_second_has_many_blocks() {
    let cases = [(None, usize::MAX), (Some(1), 1), (Some(19), 1), (Some(45), 2), (Some(1000), 50)];
    for (max, rows) in cases {
        assert_eq!(RateLimit::new(max).block_rows_max(), rows, "{max:?}");
    }
}

/// Lets blocks of 10 rows through one after the other, each as soon as it may, from the start on.
fn pass_blocks(bucket: &mut Bucket, start: Instant, blocks: usize) -> Vec<Duration> {
    let mut now = start;
    let mut passed = vec![];
    while passed.len() < blocks {
        match bucket.pass(10, now, now) {
            Ok(()) => passed.push(now - start),
            Err(free) => now = free,
        }
    }
    passed
}

#[test]
fn blocks_pass_evenly_at_the_rate() {
    let mut bucket = Bucket::new(Some(100.0));
    let passed = pass_blocks(&mut bucket, Instant::now(), 4);
    assert_eq!(passed, [0, 100, 200, 300].map(ms));
}

#[test]
fn who_is_woken_late_loses_nothing() {
    let (mut bucket, start) = (Bucket::new(Some(100.0)), Instant::now());
    bucket.pass(10, start, start).unwrap();
    bucket.pass(10, start + ms(1), start + ms(170)).unwrap();
    assert_eq!(bucket.pass(10, start + ms(170), start + ms(170)), Err(start + ms(200)));
}

#[test]
fn time_without_rows_is_not_made_up_for() {
    let (mut bucket, start) = (Bucket::new(Some(100.0)), Instant::now());
    bucket.pass(10, start, start).unwrap();
    let later = start + ms(5_000);
    bucket.pass(10, later, later).unwrap();
    assert_eq!(bucket.pass(10, later, later), Err(later + ms(100)));
}

#[test]
fn a_raise_shortens_the_wait_and_a_cut_only_slows_what_comes() {
    // The rates set 100 ms after 100 rows passed at 100 rows a second, and when the next may pass.
    let cases = [
        (vec![Some(200.0)], 550),
        (vec![Some(900.0)], 200),
        (vec![Some(50.0)], 1000),
        (vec![Some(50.0), Some(100.0)], 1000),
        (vec![Some(50.0), Some(80.0), Some(200.0)], 550),
        (vec![Some(200.0), Some(1.0), Some(400.0)], 325),
    ];
    for (rates, expected) in cases {
        let (mut bucket, start) = (Bucket::new(None), Instant::now());
        bucket.set(Some(100.0), start);
        bucket.pass(100, start, start).unwrap();
        rates.iter().for_each(|rate| bucket.set(*rate, start + ms(100)));
        let free = bucket.pass(1, start + ms(100), start + ms(100)).unwrap_err();
        assert_eq!((free - start).as_secs_f64(), ms(expected).as_secs_f64(), "{rates:?}");
    }
}

#[test]
fn a_new_limit_owes_nothing_to_the_time_without() {
    let (mut bucket, start) = (Bucket::new(None), Instant::now());
    bucket.pass(1_000_000, start, start).unwrap();
    bucket.set(Some(100.0), start + ms(500));
    bucket.pass(10, start, start + ms(500)).unwrap();
    assert_eq!(bucket.pass(10, start, start + ms(500)), Err(start + ms(600)));
    bucket.set(None, start + ms(510));
    bucket.pass(10, start, start + ms(510)).unwrap();
}

#[test]
fn the_longest_waits_do_not_overflow() {
    let (mut bucket, start) = (Bucket::new(None), Instant::now());
    bucket.set(Some(f64::MIN_POSITIVE), start);
    bucket.pass(usize::MAX, start, start).unwrap();
    let free = bucket.pass(1, start, start).unwrap_err();
    bucket.pass(usize::MAX, free, free).unwrap();
    bucket.set(Some(f64::MAX), free);
    bucket.pass(1, free, free).unwrap();
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Slow enough that no wait of these tests ends by itself.
fn slow() -> RateLimit {
    let limit = RateLimit::new(None);
    limit.set(Some(0.1));
    limit
}

#[tokio::test]
async fn a_raise_ends_the_waits_in_progress() {
    for raised in [Some(1e15), None] {
        let limit = slow();
        limit.wait(1_000_000).await;
        let (mut first, mut second) = (pin!(limit.wait(1)), pin!(limit.wait(1)));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        limit.clone().set(raised);
        tokio::join!(first, second);
    }
}

#[tokio::test]
async fn a_wait_that_is_given_up_has_taken_nothing() {
    let limit = slow();
    limit.wait(1).await;
    let before = limit.bucket().pass(1, Instant::now(), Instant::now()).unwrap_err();
    {
        let (mut first, mut queued) = (pin!(limit.wait(1_000_000)), pin!(limit.wait(1_000_000)));
        assert!(poll(first.as_mut()).is_pending() && poll(queued.as_mut()).is_pending());
    }
    assert_eq!(limit.bucket().pass(1, Instant::now(), Instant::now()), Err(before));
    limit.set(None);
    limit.wait(1).await;
}

#[tokio::test]
async fn rows_pass_in_the_order_of_their_waits() {
    let limit = slow();
    limit.wait(1).await;
    let (mut first, mut second) = (pin!(limit.wait(1)), pin!(limit.wait(1)));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    limit.set(None);
    assert!(poll(second.as_mut()).is_pending());
    first.await;
    second.await;
}

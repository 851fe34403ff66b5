use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{Clock, ManualClock, SystemClock};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test]
async fn the_system_clock_sleeps_until_its_own_time() {
    let clock = SystemClock;
    let goal = clock.elapsed() + ms(5);
    clock.sleep_until(goal).await;
    assert!(clock.elapsed() >= goal);
    clock.sleep_until(Duration::ZERO).await;
    assert!(clock.now_ms() > 1_500_000_000_000);
}

#[test]
fn the_time_of_day_and_what_has_elapsed_are_turned_as_asked() {
    type Turn = fn(&ManualClock);
    let cases: [(&str, Turn, i64, Duration); 6] = [
        ("set forth", |clock| clock.set(1_250), 1_250, ms(250)),
        ("set back", |clock| clock.set(400), 400, ms(0)),
        ("advance", |clock| clock.advance(ms(30)), 1_030, ms(30)),
        ("step forth", |clock| clock.step_day(500), 1_500, ms(0)),
        ("step back", |clock| clock.step_day(-5_000), -4_000, ms(0)),
        (
            "a thousand microseconds",
            |clock| (0..1_000).for_each(|_| clock.advance(Duration::from_micros(1))),
            1_001,
            ms(1),
        ),
    ];
    for (name, turn, now_ms, elapsed) in cases {
        let clock = ManualClock::new(1_000);
        turn(&clock.clone());
        assert_eq!((clock.now_ms(), clock.elapsed()), (now_ms, elapsed), "{name}");
    }
}

#[tokio::test]
async fn a_manual_clock_wakes_a_sleeper_when_it_is_turned_far_enough() {
    let clock = ManualClock::new(1_000);
    clock.sleep_until(Duration::ZERO).await;
    let sleeper = tokio::spawn({
        let clock = clock.clone();
        async move {
            clock.sleep_until(ms(2_000)).await;
            clock.elapsed()
        }
    });
    tokio::task::yield_now().await;
    clock.set(2_999);
    clock.step_day(1_000_000);
    tokio::task::yield_now().await;
    assert!(!sleeper.is_finished());
    clock.advance(ms(501));
    assert_eq!(sleeper.await.unwrap(), ms(2_500));
}

#[tokio::test]
async fn sleepers_wake_in_the_order_of_their_deadlines_and_then_of_their_coming() {
    let clock = ManualClock::new(0);
    let woken = Arc::new(Mutex::new(Vec::new()));
    let sleepers = [(0, 30), (1, 10), (2, 30), (3, 20), (4, 10)].map(|(name, deadline_ms)| {
        let (clock, woken) = (clock.clone(), Arc::clone(&woken));
        tokio::spawn(async move {
            clock.sleep_until(ms(deadline_ms)).await;
            woken.lock().unwrap().push(name);
        })
    });
    tokio::task::yield_now().await;
    clock.advance(ms(30));
    for sleeper in sleepers {
        sleeper.await.unwrap();
    }
    assert_eq!(*woken.lock().unwrap(), [1, 4, 3, 0, 2]);
}

#[tokio::test]
async fn the_next_sleeper_is_the_earliest_that_still_sleeps() {
    let clock = ManualClock::new(0);
    let [late, early] = [50, 20].map(|deadline_ms| {
        let clock = clock.clone();
        tokio::spawn(async move { clock.sleep_until(ms(deadline_ms)).await })
    });
    assert_eq!(clock.next_sleeper(), None);
    tokio::task::yield_now().await;
    assert_eq!(clock.next_sleeper(), Some(ms(20)));
    clock.advance(ms(20));
    assert_eq!(clock.next_sleeper(), Some(ms(50)));
    early.await.unwrap();
    late.abort();
    assert!(late.await.unwrap_err().is_cancelled());
    assert_eq!(clock.next_sleeper(), None);
}

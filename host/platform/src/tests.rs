use crate::{Clock, ManualClock, SystemClock};

#[tokio::test]
async fn a_manual_clock_wakes_waiters_when_it_is_turned_far_enough() {
    let clock = ManualClock::new(1_000);
    clock.wait_until(1_000).await;
    let waiter = tokio::spawn({
        let clock = clock.clone();
        async move {
            clock.wait_until(3_000).await;
            clock.now_ms()
        }
    });
    clock.set(2_999);
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    clock.set(3_500);
    assert_eq!(waiter.await.unwrap(), 3_500);
}

#[tokio::test]
async fn the_system_clock_waits_until_its_own_time() {
    let clock = SystemClock;
    let goal = clock.now_ms() + 5;
    clock.wait_until(goal).await;
    assert!(clock.now_ms() >= goal);
    clock.wait_until(i64::MIN).await;
}

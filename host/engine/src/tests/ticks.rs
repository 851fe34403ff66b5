//! When batches are cut, and what their times are.

use super::lab::{Lab, rows};
use crate::{CatchUp, Policy, Summary};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn batches_are_cut_at_the_ticks_and_missed_ticks_have_none() {
    let lab = Lab::new();
    let life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    lab.clock.set(12_001);
    lab.kept.wait_for(2).await;
    lab.clock.set(17_999);
    lab.kept.wait_for(3).await;
    let summary = life.stop().await.unwrap();
    assert_eq!(lab.kept.times(), [11_000, 12_000, 17_000]);
    assert_eq!(summary, Summary { batches: 3, rows: 0, dead_letters: 0 });
}

#[tokio::test]
async fn with_every_batch_caught_up_the_first_has_the_records() {
    let mut lab = Lab::new();
    lab.policy = Policy { catch_up: CatchUp::EveryBatch, ..Policy::default() };
    let mut life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    life.feed("a\nb\n");
    life.sent(1).await;
    lab.clock.set(14_200);
    lab.kept.wait_for(4).await;
    life.stop().await.unwrap();
    let expected =
        [(11_000, rows(&[])), (12_000, rows(&["a", "b"])), (13_000, rows(&[])), (14_000, rows(&[]))];
    assert_eq!(lab.kept.all(), expected);
}

/// Runs until 12,000 ms, is gone until 17,300 ms, and runs again.
async fn times_around_a_downtime(catch_up: CatchUp) -> Vec<i64> {
    let mut lab = Lab::durable();
    lab.policy = Policy { catch_up, ..Policy::default() };
    let life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    lab.clock.set(12_000);
    lab.kept.wait_for(2).await;
    life.stop().await.unwrap();
    lab.clock.set(17_300);
    let life = lab.running().await;
    lab.kept.wait_until(|state| state.visible.last().is_some_and(|(time, _)| *time == 17_000)).await;
    life.stop().await.unwrap();
    lab.kept.times()
}

#[tokio::test]
async fn after_a_downtime_one_batch_or_every_batch_is_caught_up() {
    assert_eq!(times_around_a_downtime(CatchUp::OneBatch).await, [11_000, 12_000, 17_000]);
    let every = [11_000, 12_000, 13_000, 14_000, 15_000, 16_000, 17_000];
    assert_eq!(times_around_a_downtime(CatchUp::EveryBatch).await, every);
}

#[tokio::test]
async fn a_clock_that_is_set_back_a_day_stops_nothing_and_times_rise() {
    let lab = Lab::durable();
    let life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    lab.clock.step_day(-DAY_MS);
    for batches in 2..5 {
        lab.clock.advance(std::time::Duration::from_secs(1));
        lab.kept.wait_for(batches).await;
    }
    life.stop().await.unwrap();
    assert_eq!(lab.kept.times(), [11_000, 12_000, 13_000, 14_000]);
    // Also a process that was never before that day.
    let life = lab.running().await;
    for batches in 5..7 {
        lab.clock.advance(std::time::Duration::from_secs(1));
        lab.kept.wait_for(batches).await;
    }
    life.stop().await.unwrap();
    assert_eq!(lab.kept.times()[4..], [15_000, 16_000]);
}

#[tokio::test]
async fn a_clock_that_is_set_forth_takes_the_ticks_with_it() {
    let lab = Lab::new();
    let life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    lab.clock.step_day(DAY_MS);
    lab.clock.advance(std::time::Duration::from_secs(1));
    lab.kept.wait_for(2).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.times(), [11_000, 12_000 + DAY_MS]);
}

//! Pauses: nothing is received, and what was received is safe and processed; then it goes on, or ends.

use std::time::Duration;

use super::lab::{Lab, Life, rows, until};
use crate::{Mode, Pause, Phase, ReceiverState};

async fn paused(life: &Life) -> Pause {
    life.stop.pause().await.expect("the pipeline runs")
}

fn receiver(life: &Life) -> ReceiverState {
    life.board.read().receivers[0].state
}

#[tokio::test]
async fn what_was_received_is_processed_in_a_pause_and_what_comes_then_waits() {
    for lab in [Lab::new(), Lab::durable()] {
        let mut life = lab.running().await;
        for round in 1..4 {
            life.feed("a\n");
            life.sent(2 * round - 1).await;
            let pause = paused(&life).await;
            life.feed("b\n");
            // No tick has come: the batch is cut since no more comes.
            until(|| lab.kept.rows().len() == 2 * round - 1).await;
            assert_eq!((*life.sent.borrow(), receiver(&life)), (Some(2 * round - 1), ReceiverState::Ended));
            drop(pause);
            life.sent(2 * round).await;
            until(|| {
                lab.clock.advance(Duration::from_millis(100));
                lab.kept.rows().len() == 2 * round && receiver(&life) == ReceiverState::Active
            })
            .await;
        }
        assert_eq!(life.stop().await.unwrap().rows, 6);
        assert_eq!(lab.kept.rows(), rows(&["a", "b", "a", "b", "a", "b"]));
    }
}

#[tokio::test]
async fn what_was_received_before_a_pause_survives_a_crash_in_it() {
    let lab = Lab::durable();
    let mut life = lab.running().await;
    life.feed("a\n");
    life.sent(1).await;
    let _pause = paused(&life).await;
    lab.kill(life).await;
    lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a"]));
}

#[tokio::test]
async fn a_stop_in_a_pause_ends_the_pipeline_and_its_end_changes_nothing() {
    let lab = Lab::durable();
    let mut life = lab.running().await;
    life.feed("a\n");
    life.sent(1).await;
    let pause = paused(&life).await;
    assert!(life.stop.pause().await.is_none(), "it pauses already");
    life.stop.gracefully();
    drop(pause);
    assert!(life.stop.pause().await.is_none(), "it is stopping");
    let stop = life.stop.clone();
    assert_eq!(life.stop().await.unwrap().rows, 1);
    assert!(stop.pause().await.is_none(), "it has ended");
}

#[tokio::test]
async fn a_pause_that_nobody_waits_for_any_more_is_over() {
    let lab = Lab::new();
    let mut life = lab.running().await;
    {
        let pausing = life.stop.pause();
        tokio::pin!(pausing);
        tokio::select! {
            biased;
            _pause = &mut pausing => {}
            () = std::future::ready(()) => {}
        }
    }
    until(|| life.board.read().phase == Phase::Running).await;
    life.feed("a\n");
    life.sent(1).await;
    drop(paused(&life).await);
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a"]));
}

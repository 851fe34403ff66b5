//! Sinks that do not take a committed batch, because of what is outside.

use std::time::Duration;

use super::lab::{Lab, Life, rows, until};
use crate::{EngineError, Mode, SinkError};

fn away(times: usize) -> Vec<SinkError> {
    vec![SinkError::Unavailable("nobody answers".into()); times]
}

/// A pipeline in a batch that its sink does not take, `times` times and then once more.
async fn waiting(lab: &Lab, times: usize) -> Life {
    lab.kept.change(|state| (state.publish_failures, state.recover_failures) = (away(1), away(times)));
    let mut life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.feed = None;
    let board = life.board.clone();
    until(|| board.read().trouble.is_some_and(|trouble| trouble.contains("nobody answers"))).await;
    life
}

#[tokio::test]
async fn a_batch_waits_as_long_as_it_must_and_the_status_says_why() {
    for lab in [Lab::new(), Lab::durable()] {
        let life = waiting(&lab, 50).await;
        let (clock, kept) = (lab.clock.clone(), lab.kept.clone());
        until(|| {
            clock.advance(Duration::from_secs(5));
            !kept.all().is_empty()
        })
        .await;
        let board = life.board.clone();
        life.end().await.unwrap();
        assert_eq!((lab.kept.rows(), board.read().trouble), (rows(&["a"]), None));
    }
}

#[tokio::test]
async fn a_stop_ends_the_wait_and_the_next_start_publishes() {
    let lab = Lab::durable();
    let life = waiting(&lab, 50).await;
    let error = life.stop().await.unwrap_err();
    let is_left = matches!(&error, EngineError::Sink { source: SinkError::Unavailable(told), .. }
        if told.contains("nobody answers") && told.contains("started again"));
    assert!(is_left, "{error}");
    assert_eq!(lab.kept.all(), []);
    lab.kept.change(|state| state.recover_failures.clear());
    lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(lab.kept.rows(), ["a"]);
    let begun = lab.kept.state().begun;
    assert_eq!(begun.iter().filter(|time| **time == begun[0]).count(), 1, "it is not run again: {begun:?}");
}

#[tokio::test]
async fn a_stop_at_once_and_a_crash_leave_the_batch_to_the_next_start() {
    let lab = Lab::durable();
    let life = waiting(&lab, 50).await;
    life.stop.now();
    let error = life.running.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::StoppedNow), "{error}");
    // The next process waits as well, before it receives anything, and can be stopped there.
    lab.kept.change(|state| state.recover_failures = away(50));
    let life = lab.start(Mode::Continuous).await;
    let board = life.board.clone();
    until(|| board.read().trouble.is_some()).await;
    life.stop().await.unwrap_err();
    lab.kept.change(|state| state.recover_failures = away(1));
    let life = lab.start(Mode::Once).await;
    let (clock, kept) = (lab.clock.clone(), lab.kept.clone());
    until(|| {
        clock.advance(Duration::from_secs(5));
        !kept.all().is_empty()
    })
    .await;
    life.end().await.unwrap();
    assert_eq!(lab.kept.rows(), ["a"]);
}

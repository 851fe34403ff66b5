//! Waits for what is outside: for sinks that do not take a committed batch, and for room on the disk.

use std::sync::Arc;
use std::time::Duration;

use millstream_platform::FaultyDisk;

use super::lab::{LETTERS, Lab, Life, rows, until};
use crate::{EngineError, Mode, OnFailure, Phase, SinkError};

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
        // By this clock nothing takes time but waiting.
        let batch = board.read().recent.remove(0);
        assert_eq!(batch.processing_ms, 0.0, "{batch:?}");
        assert_eq!(batch.held_up_ms, batch.total_delay_ms - batch.scheduling_delay_ms);
        assert!(batch.held_up_ms > 10_000.0, "{batch:?}");
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

/// Bytes of room at which a disk is full, from a batch's beginning to its end.
fn rooms() -> impl Iterator<Item = u64> {
    (0..1_600).step_by(40)
}

/// A pipeline that waits for room on a disk with so much of it; none, where it had enough or did not get as far.
async fn without_room(lab: &mut Lab, room: u64, text: &str) -> Option<Life> {
    let disk = FaultyDisk::new(Arc::new(lab.memory.clone()), room);
    disk.limit_room(room);
    lab.disk = Arc::new(disk);
    let mut life = lab.start(Mode::Once).await;
    life.feed(text);
    life.feed = None;
    let (clock, board) = (lab.clock.clone(), life.board.clone());
    let is_full = || board.read().trouble.is_some();
    until(|| {
        // What is shown is as old as the last event.
        clock.advance(Duration::from_millis(10));
        is_full() || life.running.is_finished()
    })
    .await;
    if is_full() {
        return Some(life);
    }
    drop(life.running.await.unwrap());
    None
}

/// With room, what was begun is finished, and no more.
async fn finish(lab: &mut Lab, expected: &[&str]) {
    lab.memory.kill();
    lab.disk = Arc::new(lab.memory.clone());
    let life = lab.start(Mode::Once).await;
    life.end().await.unwrap();
    let (kept, letters) = (lab.kept.rows(), lab.letters(LETTERS).await.len());
    assert!(kept.is_empty() || (kept == rows(expected) && letters == 1), "{kept:?}, {letters} letters");
}

#[tokio::test]
async fn a_stop_at_once_ends_each_wait_for_room() {
    let mut waits = 0;
    for room in rooms() {
        let mut lab = Lab::durable();
        let Some(life) = without_room(&mut lab, room, "a\nbad\n").await else { continue };
        waits += 1;
        life.stop.now();
        let error = life.running.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::StoppedNow), "{room}: {error}");
        finish(&mut lab, &["a"]).await;
    }
    assert!(waits > 10, "{waits}");
}

#[tokio::test]
async fn any_stop_ends_a_wait_for_room_of_what_an_earlier_process_began() {
    let mut waits = [0; 2];
    for (room, at_once) in rooms().flat_map(|room| [(room, false), (room, true)]) {
        let mut lab = Lab::durable();
        // A batch that was begun, and whose letters have no room.
        let Some(life) = without_room(&mut lab, 600, "a\nbad\n").await else { panic!("there is room") };
        lab.kill(life).await;
        let Some(life) = without_room(&mut lab, room, "").await else { continue };
        if life.board.read().phase != Phase::Recovering {
            // There was room for all of it.
            lab.kill(life).await;
            continue;
        }
        waits[usize::from(at_once)] += 1;
        if at_once {
            life.stop.now()
        } else {
            life.stop.gracefully()
        };
        let error = life.running.await.unwrap().unwrap_err();
        assert!(error.is_full() != at_once, "{room}: {error}");
        finish(&mut lab, &["a"]).await;
        assert_eq!(lab.kept.rows(), ["a"], "{room}");
    }
    assert!(waits.iter().all(|waits| *waits > 3), "{waits:?}");
}

#[tokio::test]
async fn a_graceful_stop_leaves_a_sink_without_room_only_what_an_earlier_process_began() {
    let full = |times| vec![SinkError::Full("no room".into()); times];
    let lab = Lab::durable();
    lab.kept.change(|state| (state.publish_failures, state.recover_failures) = (full(1), full(50)));
    let mut life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.feed = None;
    let board = life.board.clone();
    until(|| board.read().trouble.is_some()).await;
    life.stop.gracefully();
    let kept = lab.kept.clone();
    let left = kept.state().recover_failures.len();
    until(|| {
        lab.clock.advance(Duration::from_secs(5));
        kept.state().recover_failures.len() < left - 3
    })
    .await;
    assert!(!life.running.is_finished(), "it waits on");
    life.stop.now();
    assert!(matches!(life.running.await.unwrap(), Err(EngineError::StoppedNow)));
    let life = lab.start(Mode::Continuous).await;
    let board = life.board.clone();
    until(|| board.read().trouble.is_some()).await;
    let error = life.stop().await.unwrap_err();
    let is_left = matches!(&error, EngineError::Sink { source: SinkError::Full(told), .. }
        if told.contains("started again"));
    assert!(is_left, "{error}");
    lab.kept.change(|state| state.recover_failures.clear());
    lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(lab.kept.rows(), ["a"]);
}

#[tokio::test]
async fn a_stop_makes_no_failure_of_a_batch_that_waits_for_room() {
    let full = || vec![SinkError::Full("no room".into()); 50];
    let mut lab = Lab::durable();
    lab.policy.on_failure = OnFailure::Continue;
    for is_first in [true, false] {
        lab.kept.change(|state| state.write_failures = full());
        let mut life = lab.start(Mode::Once).await;
        if is_first {
            life.feed("a\n");
        }
        life.feed = None;
        let board = life.board.clone();
        until(|| board.read().trouble.is_some()).await;
        match is_first {
            true => lab.kill(life).await,
            false => assert!(life.stop().await.unwrap_err().is_full()),
        }
    }
    lab.kept.change(|state| state.write_failures.clear());
    lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(lab.kept.rows(), ["a"]);
}

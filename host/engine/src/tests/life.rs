//! Batches from their cut to their commit, and how pipelines end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::lab::{Lab, block, rows, until};
use crate::{
    EngineError, Inlet, InletSettings, Mode, OnFailure, Policy, SinkError, Source, SourceError, Summary,
};

fn at_most(batch_rows_max: usize) -> InletSettings {
    InletSettings { batch_rows_max, ..InletSettings::default() }
}

#[tokio::test]
async fn once_ends_with_the_sources_and_no_batch_is_larger_than_allowed() {
    let mut lab = Lab::new();
    lab.settings = at_most(3);
    let life = lab.start(Mode::Once).await;
    ["a\nb\n", "c\nd\ne\nf\n", "g"].iter().for_each(|text| life.feed(text));
    let summary = life.end().await.unwrap();
    let expected =
        [(10_000, rows(&["a", "b", "c"])), (11_000, rows(&["d", "e", "f"])), (12_000, rows(&["g"]))];
    assert_eq!(lab.kept.all(), expected);
    assert_eq!(summary, Summary { batches: 3, rows: 7, dead_letters: 0 });
}

#[tokio::test]
async fn once_without_rows_is_one_empty_batch() {
    let lab = Lab::new();
    let summary = lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(summary.batches, 1);
    assert_eq!(lab.kept.all(), [(10_000, vec![])]);
}

#[tokio::test]
async fn a_graceful_stop_processes_everything_that_was_received() {
    for mut lab in [Lab::new(), Lab::durable()] {
        lab.settings = at_most(2);
        let mut life = lab.running().await;
        ["a\n", "b\n", "c\n", "d\n", "e\n"].iter().for_each(|line| life.feed(line));
        life.sent(5).await;
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["a", "b", "c", "d", "e"]));
    }
}

#[tokio::test]
async fn a_stop_directly_after_the_start_ends_the_pipeline() {
    for lab in [Lab::new(), Lab::durable()] {
        // It is told before it has done anything.
        let life = lab.start(Mode::Continuous).await;
        let summary = life.stop().await.unwrap();
        assert_eq!((summary.rows, lab.kept.rows()), (0, rows(&[])));
    }
}

/// Sends most of its lines only after it was told to stop; then it ends, or never does.
struct Slow {
    ends: bool,
    has_begun: Arc<Notify>,
}

#[async_trait]
impl Source for Slow {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        assert!(inlet.send(block("0\n")).await.is_ok());
        self.has_begun.notify_one();
        inlet.closed().await;
        for line in 1..15 {
            assert!(inlet.send(block(&format!("{line}\n"))).await.is_err(), "it is told again");
        }
        match self.ends {
            true => Ok(()),
            false => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn a_graceful_stop_processes_what_slow_sources_send_until_they_end_or_are_cut_off() {
    for (mut lab, ends) in [(Lab::new(), true), (Lab::durable(), true), (Lab::durable(), false)] {
        let has_begun = Arc::new(Notify::new());
        lab.source = Some(("in", Arc::new(Slow { ends, has_begun: Arc::clone(&has_begun) })));
        let life = lab.start(Mode::Continuous).await;
        has_begun.notified().await;
        life.stop.gracefully();
        until(|| {
            if !ends {
                lab.clock.advance(Duration::from_secs(1));
            }
            life.running.is_finished()
        })
        .await;
        life.running.await.unwrap().unwrap();
        let all: Vec<String> = (0..15).map(|line| line.to_string()).collect();
        assert_eq!(lab.kept.rows(), all, "ends: {ends}");
    }
}

#[tokio::test]
async fn stopped_at_once_it_says_that_records_are_left() {
    let lab = Lab::new();
    let mut life = lab.running().await;
    life.feed("a\n");
    life.sent(1).await;
    life.stop.now();
    let error = life.end().await.unwrap_err();
    assert!(matches!(error, EngineError::StoppedNow), "{error}");
    assert_eq!(lab.kept.all(), []);
}

#[tokio::test]
async fn a_sink_that_fails_too_often_stops_the_pipeline_by_name() {
    let lab = Lab::new();
    lab.kept.change(|state| state.write_failures = vec![SinkError::Failed("no disk".into()); 2]);
    let life = lab.start(Mode::Once).await;
    life.feed("a\n");
    let error = life.end().await.unwrap_err().to_string();
    assert!(error.contains("batch 10000") && error.contains("sink \"kept\""), "{error}");
    assert_eq!(lab.kept.all(), []);
}

#[tokio::test]
async fn a_batch_is_tried_as_often_as_it_may_be() {
    for (attempts, failures, works) in
        [(1, 1, false), (2, 1, true), (3, 2, true), (3, 3, false), (0, 0, true)]
    {
        let mut lab = Lab::durable();
        lab.policy = Policy { attempts, ..Policy::default() };
        lab.counting.poisonous.store(failures, Ordering::SeqCst);
        let life = lab.start(Mode::Once).await;
        life.feed("a\npoison\n");
        let result = life.end().await;
        match works {
            true => assert_eq!(lab.kept.rows(), rows(&["a", "poison"]), "{attempts}, {failures}"),
            false => {
                assert!(
                    matches!(result, Err(EngineError::Batch { .. })),
                    "{attempts}, {failures}: {result:?}"
                );
                assert_eq!(lab.kept.all(), []);
                assert_eq!(lab.archive().await.ledger().failure.as_ref().unwrap().attempts, 1);
            }
        }
        assert_eq!(lab.kept.state().begun.len(), failures + usize::from(works));
    }
}

#[tokio::test]
async fn a_batch_that_fails_for_good_gives_nothing_where_the_pipeline_is_to_go_on() {
    let mut lab = Lab::durable();
    lab.policy = Policy { on_failure: OnFailure::Continue, ..Policy::default() };
    lab.settings = at_most(2);
    lab.counting.poisonous.store(2, Ordering::SeqCst);
    let life = lab.start(Mode::Once).await;
    life.feed("poison\nb\nc\n");
    let board = life.board.clone();
    life.end().await.unwrap();
    assert_eq!(lab.kept.all(), [(11_000, rows(&["c"]))]);
    let status = board.read();
    assert!(status.recent[0].failure.is_some() && status.recent[1].failure.is_none());
    let archive = lab.archive().await;
    let ledger = archive.ledger();
    assert_eq!((ledger.batches, ledger.records, ledger.accumulators["test.rows"]), (2, 3, 1));
}

#[tokio::test]
async fn a_full_sink_makes_the_batch_wait_and_counts_as_no_attempt() {
    let lab = Lab::new();
    let full = |times| vec![SinkError::Full("no room".into()); times];
    lab.kept.change(|state| {
        (state.write_failures, state.publish_failures, state.recover_failures) = (full(5), full(1), full(4));
    });
    let mut life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.feed = None;
    let clock = lab.clock.clone();
    let kept = lab.kept.clone();
    until(|| {
        // The batch's waits are the only ones that matter here.
        clock.advance(Duration::from_secs(5));
        !kept.all().is_empty()
    })
    .await;
    life.end().await.unwrap();
    assert_eq!(lab.kept.rows(), ["a"]);
}

#[tokio::test]
async fn a_batch_that_was_prepared_is_published_by_the_next_attempt() {
    let lab = Lab::durable();
    lab.kept.change(|state| state.publish_failures = vec![SinkError::Failed("away".into())]);
    let mut life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.feed = None;
    let (clock, kept) = (lab.clock.clone(), lab.kept.clone());
    until(|| {
        clock.advance(Duration::from_secs(5));
        !kept.all().is_empty()
    })
    .await;
    life.end().await.unwrap();
    assert_eq!((lab.kept.rows(), lab.kept.state().begun.len()), (rows(&["a"]), 1));
}

#[tokio::test]
async fn a_batch_that_waits_lets_the_next_run_and_is_committed_before_it() {
    let mut lab = Lab::durable();
    lab.programs = 2;
    let mut life = lab.running().await;
    life.feed("wait\n");
    life.sent(1).await;
    lab.clock.set(11_000);
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    life.feed("b\n");
    life.sent(2).await;
    lab.clock.set(12_000);
    lab.kept.wait_until(|state| state.prepared.contains_key(&12_000)).await;
    assert_eq!(lab.kept.all(), []);
    lab.counting.gate.send_replace(true);
    life.stop().await.unwrap();
    assert_eq!(lab.kept.all(), [(11_000, rows(&["wait"])), (12_000, rows(&["b"]))]);
}

#[tokio::test]
async fn batches_that_queue_are_bounded_and_the_next_is_larger() {
    let lab = Lab::durable();
    let mut life = lab.running().await;
    life.feed("wait\n");
    for second in 1..50 {
        life.sent(second).await;
        lab.clock.set(10_000 + 1_000 * second as i64);
        life.feed(&format!("{second}\n"));
        let last = lab.clock.clone();
        until(|| last.next_sleeper().is_some()).await;
    }
    life.sent(50).await;
    let board = life.board.clone();
    until(|| board.read().queued_batches >= 9).await;
    assert_eq!(board.read().queued_batches, 9);
    assert!(lab.archive().await.ledger().pending.len() <= 9);
    lab.counting.gate.send_replace(true);
    life.stop().await.unwrap();
    let expected: Vec<String> = (1..50).map(|second| second.to_string()).collect();
    assert_eq!(lab.kept.rows()[1..], expected);
    assert!(lab.kept.all().len() <= 12, "{:?}", lab.kept.times());
}

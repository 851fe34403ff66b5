//! Rows that functions fail on, and functions that cannot do their work.

use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_model::pipeline::OnError;
use serde_json::json;

use super::lab::{LETTERS, Lab, block_at, rows, until};
use crate::{EngineError, Mode, OnFailure, Policy};

#[tokio::test]
async fn a_poison_row_is_a_letter_with_the_place_of_its_record() {
    let lab = Lab::new().on_error(OnError::DeadLetter);
    let life = lab.start(Mode::Once).await;
    life.feed("a\nbad\nb\n");
    // The third row of the second block is of its fourth record, for one of them is no row.
    let blocks = [block_at("file", 100, "c\nbad\nd\ntrap\ne\n"), block_at("file", 105, "trap\n")];
    blocks.into_iter().for_each(|block| life.feed.as_ref().unwrap().send(block).unwrap());
    let summary = life.end().await.unwrap();
    assert_eq!(summary.dead_letters, 4);
    assert_eq!(lab.kept.all(), [(10_000, rows(&["a", "b", "c", "d", "e"]))]);
    let letters = lab.letters(LETTERS).await;
    let poison = |record: u64| {
        json!({
            "source": "in", "origin": "file", "record": record, "bytes": "trap", "batch": 10_000, "stream": "out",
            "function": "test.counting", "plugin": "d1", "error": "test.counting: poisoned", "row": { "text": "trap" },
        })
    };
    assert_eq!(letters[2..], [poison(104), poison(106)]);
}

#[tokio::test]
async fn letters_of_poison_rows_are_there_once_whenever_the_process_ends() {
    let lab = Lab::durable().on_error(OnError::DeadLetter);
    for (batch, record) in [(1, 0), (2, 3)] {
        let mut life = lab.running().await;
        life.feed.as_ref().unwrap().send(block_at("file", record, "a\ntrap\nb\n")).unwrap();
        life.sent(1).await;
        lab.clock.advance(Duration::from_secs(1));
        life.board.reached(batch).await;
        lab.kill(life).await;
    }
    let life = lab.start(Mode::Once).await;
    life.end().await.unwrap();
    let places: Vec<_> = lab.letters(LETTERS).await.iter().map(|letter| letter["record"].clone()).collect();
    assert_eq!(places, [json!(2), json!(5)]);
    assert_eq!(lab.archive().await.ledger().dead_letters, 2);
}

#[tokio::test]
async fn rows_that_are_skipped_are_counted_and_no_letters() {
    let lab = Lab::durable().on_error(OnError::Skip);
    let life = lab.start(Mode::Once).await;
    life.feed("a\ntrap\ntrap\nb\n");
    assert_eq!(life.end().await.unwrap().dead_letters, 0);
    assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
    assert_eq!(lab.archive().await.ledger().accumulators["test.counting.skipped"], 2);
    assert!(lab.letters(LETTERS).await.is_empty());
}

/// More rows than a function may fail on in one batch.
fn crashes() -> String {
    "crash\n".repeat(12_000)
}

#[tokio::test]
async fn a_batch_waits_for_its_function_later_and_later_and_nothing_is_lost() {
    for text in ["away\n".to_owned(), crashes()] {
        let lab = Lab::durable().on_error(OnError::DeadLetter);
        lab.counting.ails.store(true, Ordering::SeqCst);
        let mut life = lab.running().await;
        life.feed(&text);
        life.sent(1).await;
        lab.clock.advance(Duration::from_secs(1));
        let mut waits = Vec::new();
        for tries in 1..=12 {
            let board = life.board.clone();
            until(|| board.read().quarantine.first().is_some_and(|found| found.tries == tries)).await;
            let status = board.read();
            let found = &status.quarantine[0];
            assert_eq!((found.plugin.as_str(), found.function.as_str()), ("test", "test.counting"));
            assert!(found.reason.contains("poisoned"), "{}", found.reason);
            let now = 11_500 + waits.iter().sum::<i64>();
            waits.push(found.until_ms - now);
            assert_eq!(found.since_ms, 11_500, "it is the same quarantine");
            if tries == 12 {
                lab.counting.ails.store(false, Ordering::SeqCst);
            }
            // One batch behind it is cut, and does not run.
            lab.clock.set(found.until_ms);
        }
        assert!(waits.iter().all(|wait| (500..=300_000).contains(wait)), "{waits:?}");
        assert!(waits[0] <= 1_000 && *waits.last().unwrap() >= 150_000, "{waits:?}");
        life.board.reached(1).await;
        until(|| life.board.read().quarantine.is_empty()).await;
        // By this clock nothing takes time but waiting.
        let batch = life.board.read().recent.remove(0);
        assert_eq!(batch.processing_ms, 0.0, "{batch:?}");
        assert_eq!(batch.held_up_ms, waits.iter().sum::<i64>() as f64);
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows().len(), text.lines().count());
        assert!(lab.letters(LETTERS).await.is_empty());
    }
}

#[tokio::test]
async fn a_batch_in_quarantine_survives_a_crash_of_the_process() {
    let lab = Lab::durable().on_error(OnError::DeadLetter);
    lab.counting.ails.store(true, Ordering::SeqCst);
    let mut life = lab.running().await;
    life.feed("a\naway\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| !life.board.read().quarantine.is_empty()).await;
    lab.kill(life).await;
    lab.counting.ails.store(false, Ordering::SeqCst);
    lab.start(Mode::Once).await.end().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "away"]));
}

#[tokio::test]
async fn a_pipeline_that_is_to_go_on_gives_a_batch_up_after_its_attempts() {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    lab.policy = Policy { attempts: 3, on_failure: OnFailure::Continue, ..Policy::default() };
    lab.counting.ails.store(true, Ordering::SeqCst);
    let mut life = lab.running().await;
    life.feed("a\naway\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    for tries in 1..=2 {
        until(|| life.board.read().quarantine.first().is_some_and(|found| found.tries == tries)).await;
        lab.clock.set(life.board.read().quarantine[0].until_ms);
    }
    life.board.reached(1).await;
    let status = life.board.read();
    assert!(status.quarantine.is_empty() && status.recent[0].failure.is_some(), "{status:?}");
    life.stop().await.unwrap();
    assert!(lab.kept.rows().is_empty());
}

#[tokio::test]
async fn without_quarantine_a_function_that_is_away_fails_its_batch() {
    let mut lab = Lab::new().on_error(OnError::DeadLetter);
    lab.policy.quarantine = false;
    lab.counting.ails.store(true, Ordering::SeqCst);
    let life = lab.start(Mode::Once).await;
    life.feed("away\n");
    assert!(matches!(life.end().await, Err(EngineError::Batch { .. })));
}

#[tokio::test]
async fn a_stop_at_once_ends_a_wait() {
    let lab = Lab::durable().on_error(OnError::DeadLetter);
    lab.counting.ails.store(true, Ordering::SeqCst);
    let mut life = lab.running().await;
    life.feed("away\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| !life.board.read().quarantine.is_empty()).await;
    life.stop.now();
    assert!(matches!(life.running.await.unwrap(), Err(EngineError::StoppedNow)));
}

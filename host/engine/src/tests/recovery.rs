//! What a pipeline does about what an earlier process left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use millstream_model::Version;

use super::lab::{Lab, Life, rows, until, version};
use crate::{Code, EngineError, Mode, OnFailure, SinkError, Versions};

/// Ends a life in which the batch of 11,000 ms has begun and waits, and was given these records.
async fn leave_pending(lab: &Lab, records: &str) {
    lab.counting.gate.send_replace(false);
    let mut life = lab.running().await;
    life.feed(records);
    life.sent(1).await;
    lab.clock.set(11_000);
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    lab.kill(life).await;
    assert_eq!(lab.archive().await.ledger().pending.len(), 1);
}

/// Ends a life in which the batch of 11,000 ms is committed, and not published.
async fn leave_unpublished(lab: &Lab, records: &str) {
    lab.kept.change(|state| state.held = true);
    let mut life = lab.running().await;
    life.feed(records);
    life.sent(1).await;
    lab.clock.set(11_000);
    lab.kept.wait_until(|state| state.prepared.contains_key(&11_000)).await;
    while lab.archive().await.ledger().unpublished.is_none() {
        tokio::task::yield_now().await;
    }
    lab.kill(life).await;
    lab.kept.change(|state| state.held = false);
}

#[tokio::test]
async fn a_batch_that_was_begun_is_run_again_with_the_same_rows_and_counted_once() {
    let lab = Lab::durable();
    leave_pending(&lab, "wait\nb\nbad\n").await;
    lab.counting.gate.send_replace(true);
    let mut life = lab.running().await;
    assert_eq!(lab.kept.all(), [(11_000, rows(&["wait", "b"]))]);
    life.feed("c\n");
    life.sent(1).await;
    let board = life.board.clone();
    let summary = life.stop().await.unwrap();
    assert_eq!(lab.kept.all(), [(11_000, rows(&["wait", "b"])), (12_000, rows(&["c"]))]);
    assert_eq!((summary.batches, summary.rows, summary.dead_letters), (2, 4, 1));
    let (status, archive) = (board.read(), lab.archive().await);
    let ledger = archive.ledger();
    assert_eq!((ledger.accumulators["test.rows"], status.accumulators["test.rows"]), (3, 3));
    assert_eq!((ledger.batches, status.batches, status.records), (2, 2, 4));
}

#[tokio::test]
async fn a_batch_that_was_committed_is_published_and_not_counted_again() {
    for forgets in [false, true] {
        let lab = Lab::durable();
        leave_unpublished(&lab, "a\nb\nbad\n").await;
        if forgets {
            lab.kept.change(|state| state.prepared.clear());
        }
        let life = lab.running().await;
        let board = life.board.clone();
        life.stop().await.unwrap();
        assert_eq!(lab.kept.all(), [(11_000, rows(&["a", "b"]))], "{forgets}");
        assert_eq!(lab.kept.state().begun.len(), 1 + usize::from(forgets));
        let (status, archive) = (board.read(), lab.archive().await);
        let ledger = archive.ledger();
        assert_eq!((ledger.accumulators["test.rows"], status.accumulators["test.rows"]), (2, 2));
        assert_eq!((ledger.batches, status.batches, ledger.dead_letters, status.dead_letters), (1, 1, 1, 1));
        assert_eq!(ledger.unpublished, None);
    }
}

#[tokio::test]
async fn records_that_no_batch_has_are_in_the_first_batch() {
    let lab = Lab::durable();
    let mut life = lab.running().await;
    for text in ["a\nb\n", "c\n"] {
        life.feed(text);
    }
    life.sent(2).await;
    while lab.archive().await.unprocessed().await.unwrap().values().sum::<u64>() < 3 {
        tokio::task::yield_now().await;
    }
    lab.kill(life).await;
    let mut life = lab.running().await;
    life.feed("d\n");
    life.sent(1).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b", "c", "d"]));
}

/// Gives code, and notes which was asked for.
struct Kept {
    asked: Mutex<Vec<String>>,
    code: Mutex<Option<Code>>,
}

#[async_trait]
impl Versions for Kept {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        self.asked.lock().unwrap().push(version.pipeline.clone());
        self.code.lock().unwrap().take().ok_or_else(|| "it is lost".to_owned())
    }
}

struct Silent;

#[async_trait]
impl crate::Source for Silent {
    async fn run(&self, inlet: crate::Inlet) -> Result<(), crate::SourceError> {
        inlet.closed().await;
        Ok(())
    }
}

/// Lets the next start be of another version, with the code of this one kept.
async fn replace(lab: &mut Lab) -> Arc<Kept> {
    lab.counting.gate.send_replace(true);
    let code = lab.code(Arc::new(Silent)).await;
    let kept = Arc::new(Kept { asked: Mutex::default(), code: Mutex::new(Some(code)) });
    lab.versions = Mutex::new(Some(Arc::clone(&kept) as Arc<dyn Versions>));
    lab.version = version("next");
    kept
}

#[tokio::test]
async fn a_batch_is_finished_by_the_code_that_began_it() {
    let mut lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    let kept = replace(&mut lab).await;
    lab.running().await.stop().await.unwrap();
    assert_eq!(*kept.asked.lock().unwrap(), ["this"]);
    assert_eq!(lab.kept.rows(), ["wait"]);
}

#[tokio::test]
async fn code_that_began_several_batches_is_loaded_once() {
    let mut lab = Lab::durable();
    let mut life = lab.running().await;
    for (batches, text) in (1..).zip(["wait\n", "b\n"]) {
        life.feed(text);
        life.sent(batches).await;
        lab.clock.advance(Duration::from_secs(1));
        until(|| life.board.read().queued_batches == batches).await;
    }
    lab.kill(life).await;
    let kept = replace(&mut lab).await;
    lab.running().await.stop().await.unwrap();
    assert_eq!(*kept.asked.lock().unwrap(), ["this"]);
    assert_eq!(lab.kept.rows(), ["wait", "b"]);
}

#[tokio::test]
async fn a_batch_whose_code_is_lost_stops_the_pipeline_and_stays() {
    let mut lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    lab.version = version("next");
    let error = lab.start(Mode::Continuous).await.running.await.unwrap().unwrap_err();
    assert!(matches!(&error, EngineError::Version { reason, .. } if reason.contains("this")), "{error}");
    assert_eq!(lab.archive().await.ledger().pending.len(), 1);
    assert_eq!(lab.kept.all(), []);
}

#[tokio::test]
async fn a_batch_whose_code_is_lost_is_left_out_where_the_pipeline_goes_on() {
    let mut lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    (lab.version, lab.policy.on_failure) = (version("next"), OnFailure::Continue);
    let mut life = lab.running().await;
    life.feed("a\n");
    life.sent(1).await;
    let board = life.board.clone();
    life.stop().await.unwrap();
    let failure = board.read().recent.remove(0).failure;
    assert!(failure.is_some_and(|failure| failure.contains("not kept")));
    assert_eq!(lab.kept.rows(), ["a"]);
    assert!(lab.archive().await.ledger().pending.is_empty());
}

#[tokio::test]
async fn records_of_a_source_that_is_gone_are_not_left_in_silence() {
    let mut lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    lab.counting.gate.send_replace(true);
    // Another record, which no batch has.
    let mut life = lab.running().await;
    life.feed("b\n");
    life.sent(1).await;
    while lab.archive().await.unprocessed().await.unwrap().values().sum::<u64>() < 1 {
        tokio::task::yield_now().await;
    }
    lab.kill(life).await;
    lab.source = Some(("other", Arc::new(Silent)));
    let error = lab.start(Mode::Continuous).await.running.await.unwrap().unwrap_err();
    assert!(matches!(&error, EngineError::Orphans { lane, records: 1 } if lane.source == "in"), "{error}");
    // Put back, it goes on; and once all is processed, the source may go.
    lab.source = None;
    lab.running().await.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["wait", "b"]));
    lab.source = Some(("other", Arc::new(Silent)));
    let life = lab.start(Mode::Continuous).await;
    life.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_batch_that_gave_nothing_gives_nothing_after_a_restart() {
    let mut lab = Lab::durable();
    lab.policy.on_failure = crate::OnFailure::Continue;
    lab.policy.attempts = 1;
    lab.kept.change(|state| state.write_failures = vec![SinkError::Failed("away".into())]);
    let life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.end().await.unwrap();
    // The note that it is published is the last record, and need not have reached the disk.
    lab.memory.crash(&millstream_platform::Seeded::new(0));
    let life = lab.running().await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), Vec::<String>::new());
}

async fn stopped_while_it_recovers(stop: fn(&Life)) -> (Lab, Result<crate::Summary, EngineError>) {
    let lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    lab.kept.change(|state| state.begun.clear());
    let life = lab.start(Mode::Continuous).await;
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    stop(&life);
    let opener = Arc::clone(&lab.counting);
    tokio::task::yield_now().await;
    opener.gate.send_replace(true);
    let result = life.running.await.unwrap();
    (lab, result)
}

#[tokio::test]
async fn a_graceful_stop_lets_recovery_finish_and_one_at_once_does_not() {
    let (lab, result) = stopped_while_it_recovers(|life| life.stop.gracefully()).await;
    assert_eq!(result.unwrap().batches, 1);
    assert_eq!(lab.kept.rows(), ["wait"]);

    let lab = Lab::durable();
    leave_pending(&lab, "wait\n").await;
    lab.kept.change(|state| state.begun.clear());
    let life = lab.start(Mode::Continuous).await;
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    life.stop.now();
    let error = life.running.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::StoppedNow), "{error}");
    assert_eq!(lab.kept.all(), []);
    lab.counting.gate.send_replace(true);
    lab.running().await.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), ["wait"]);
}

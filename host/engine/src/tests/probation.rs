//! Versions that fail soon after an upgrade, and the way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt;
use millstream_model::pipeline::OnError;
use millstream_model::{FunctionError, Groups, Migrated, Migration, MigrationDescription};
use tokio::sync::watch;

use super::lab::{Counting, LETTERS, Lab, Life, rows, until, version};
use super::losses::tally;
use super::swap::{ask, batch, versions};
use crate::{EngineError, Event, Inlet, Mode, OnFailure, Phase, Probation, Source, SourceError, Upgrade};

/// Takes over no key.
#[derive(Debug)]
struct Forgetting(MigrationDescription);

#[async_trait]
impl Migration for Forgetting {
    fn description(&self) -> &MigrationDescription {
        &self.0
    }

    async fn migrate(&self, keys: RecordBatch, states: RecordBatch) -> Result<Migrated, FunctionError> {
        Ok(Migrated { origins: Vec::new(), keys: keys.slice(0, 0), states: states.slice(0, 0) })
    }

    async fn merge(&self, _states: RecordBatch, _groups: Groups) -> Result<RecordBatch, FunctionError> {
        unreachable!("there are no keys")
    }
}

/// Lets the next code of the lab keep the tally in states of its own, in which there is nothing to begin with.
fn forget(lab: &mut Lab) {
    let (_, spec) = tally(1).unwrap();
    let (new_keys, merges) = (spec.key.clone(), false);
    let description =
        MigrationDescription { version: 1, keys: spec.key, state: spec.state, new_keys, merges };
    lab.keeps = tally(2);
    lab.migrations = vec![Arc::new(Forgetting(description))];
}

/// Goes over to a version, named "other", that breaks on rows "crash" and whose rows "away" cannot be processed. Gives
/// whether the version before is known to be the pipeline's own again.
async fn upgrade(lab: &mut Lab, life: &Life, batches: u32, failures_max: u64) -> Arc<AtomicBool> {
    upgrade_with(lab, life, Arc::clone(&life.source), batches, failures_max).await
}

async fn upgrade_with(
    lab: &mut Lab,
    life: &Life,
    source: Arc<dyn Source>,
    batches: u32,
    failures_max: u64,
) -> Arc<AtomicBool> {
    lab.version = version("other");
    lab.counting = Counting::new();
    lab.counting.ails.store(true, Ordering::SeqCst);
    let is_back = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&is_back);
    let go_back = async move {
        noted.store(true, Ordering::SeqCst);
        Ok(())
    };
    let probation = Some(Probation { batches, failures_max, go_back: go_back.boxed() });
    let code = lab.code(source).await;
    let adopt = std::future::ready(Ok(())).boxed();
    life.upgrader.swap(Upgrade { code, adopt, shadow: None, probation }).await.unwrap();
    is_back
}

#[tokio::test]
async fn what_a_version_fails_on_is_run_again_by_the_one_before() {
    let policies = [
        (OnError::DeadLetter, "crash", 2, 0),
        (OnError::Skip, "crash", 2, 0),
        (OnError::Stop, "crash", 2, 0),
        // A batch that has failed for good would be lost, or end the pipeline.
        (OnError::Stop, "crash", 1, 10),
        // The batch would wait.
        (OnError::DeadLetter, "away", 2, 0),
    ];
    for (on_error, text, attempts, failures_max) in policies {
        for on_failure in [OnFailure::Stop, OnFailure::Continue] {
            let mut lab = Lab::durable().on_error(on_error);
            (lab.policy.attempts, lab.policy.on_failure) = (attempts, on_failure);
            let (hears, heard) = channel();
            lab.listener.lock().unwrap().replace(hears);
            let mut life = lab.running().await;
            batch(&lab, &mut life, "a\n", 1).await;
            let is_back = upgrade(&mut lab, &life, 20, failures_max).await;
            batch(&lab, &mut life, "b\n", 2).await;
            batch(&lab, &mut life, &format!("c\n{text}\n"), 3).await;
            batch(&lab, &mut life, &format!("{text}\nd\n"), 4).await;
            assert!(is_back.load(Ordering::SeqCst));
            let taken_back = life.board.read().taken_back.unwrap();
            assert!(taken_back.reason.contains("test.counting"), "{}", taken_back.reason);
            assert_eq!(taken_back.reassigned, 1);
            let summary = life.stop().await.unwrap();
            assert_eq!(lab.kept.rows(), rows(&["a", "b", "c", text, text, "d"]));
            assert_eq!(versions(&lab).await[..4], ["this", "other", "this", "this"]);
            assert_eq!(summary.dead_letters, 0);
            assert!(lab.letters(LETTERS).await.is_empty());
            let is_told = |event: &Event| matches!(event, Event::Upgraded { .. } | Event::WentBack { .. });
            let upgrades: Vec<_> = heard.iter().filter(is_told).collect();
            assert!(
                matches!(upgrades[..], [Event::Upgraded { .. }, Event::WentBack { reassigned: 1, .. }]),
                "{upgrades:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_version_may_fail_as_often_as_it_is_let() {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    let mut life = lab.running().await;
    let is_back = upgrade(&mut lab, &life, 20, 2).await;
    batch(&lab, &mut life, "a\ncrash\n", 1).await;
    batch(&lab, &mut life, "crash\nbad\nbad\nrefused\n", 2).await;
    // One without records proves nothing.
    lab.clock.advance(Duration::from_secs(1));
    life.board.reached(3).await;
    assert!(!is_back.load(Ordering::SeqCst), "what the source or a function rejects is no failure");
    let probation = life.board.read().probation.unwrap();
    assert_eq!((probation.batches_left, probation.failures, probation.failures_max), (18, 2, 2));
    life.feed("crash\nb\n");
    life.sent(3).await;
    lab.clock.advance(Duration::from_secs(1));
    life.board.reached(4).await;
    assert!(is_back.load(Ordering::SeqCst));
    assert_eq!(life.board.read().probation, None);
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "crash", "b"]));
    assert_eq!(lab.letters(LETTERS).await.len(), 5);
    assert_eq!(versions(&lab).await[..4], ["other", "other", "other", "this"]);
}

#[tokio::test]
async fn a_version_that_has_passed_stays() {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    for (batches, first) in [(0, "crash\n"), (1, "a\n")] {
        let mut life = lab.running().await;
        let is_back = upgrade(&mut lab, &life, batches, 0).await;
        batch(&lab, &mut life, first, 1).await;
        batch(&lab, &mut life, "crash\n", 2).await;
        assert!(!is_back.load(Ordering::SeqCst));
        let status = life.board.read();
        assert_eq!((status.probation, status.taken_back), (None, None));
        lab.kill(life).await;
        lab = Lab::durable().on_error(OnError::DeadLetter);
    }
}

#[tokio::test]
async fn all_batches_that_run_and_wait_go_back_in_their_order() {
    let mut lab = Lab::durable();
    lab.programs = 3;
    let mut life = lab.running().await;
    // One of the version before runs, and waits for its gate.
    let gate = lab.counting.gate.clone();
    life.feed("wait\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    let is_back = upgrade(&mut lab, &life, 20, 0).await;
    for (number, text) in (2..).zip(["wait\n", "a\n", "crash\n", "b\n"]) {
        life.feed(text);
        life.sent(number).await;
        lab.clock.advance(Duration::from_secs(1));
        until(|| life.board.read().queued_batches == number).await;
    }
    // It does not end, and yet it is no use to wait for it any longer: the one behind it is next.
    assert!(!is_back.load(Ordering::SeqCst));
    gate.send_replace(true);
    life.board.reached(5).await;
    assert!(is_back.load(Ordering::SeqCst));
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["wait", "wait", "a", "crash", "b"]));
    assert_eq!(versions(&lab).await[..5], ["this"; 5]);
}

#[tokio::test]
async fn receivers_go_back_behind_those_that_took_their_place() {
    for format in ["lines", "other lines"] {
        let mut lab = Lab::durable().on_error(OnError::DeadLetter);
        let mut life = lab.running().await;
        batch(&lab, &mut life, "a\n", 1).await;
        (lab.identity, lab.format) = ("another source".to_owned(), format.to_owned());
        let is_back = upgrade(&mut lab, &life, 20, 0).await;
        batch(&lab, &mut life, "b\n", 2).await;
        batch(&lab, &mut life, "crash\n", 3).await;
        until(|| life.board.read().taken_back.is_some()).await;
        assert!(is_back.load(Ordering::SeqCst));
        batch(&lab, &mut life, "crash\n", 4).await;
        life.stop().await.unwrap();
        let versions = versions(&lab).await;
        // What only the version that failed can read is ended by it.
        let (given, third): (&[&str], _) = match format {
            "lines" => (&["a", "b", "crash", "crash"], "this"),
            _ => (&["a", "b", "crash"], "other"),
        };
        assert_eq!(lab.kept.rows(), rows(given));
        assert_eq!(versions[..4], ["this", "other", third, "this"]);
        assert_eq!(lab.letters(LETTERS).await.len(), usize::from(third == "other"));
    }
}

/// A pipeline that has done a batch, with a version on probation that dropped its states; and whether that is taken back.
async fn forgetful() -> (Lab, Life, Arc<AtomicBool>) {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    lab.keeps = tally(1);
    let mut life = lab.running().await;
    batch(&lab, &mut life, "a\n", 1).await;
    forget(&mut lab);
    let is_back = upgrade(&mut lab, &life, 20, 0).await;
    (lab, life, is_back)
}

#[tokio::test]
async fn a_version_comes_back_to_its_states_though_there_is_nothing_in_those_of_the_one_that_failed() {
    let (mut lab, mut life, is_back) = forgetful().await;
    batch(&lab, &mut life, "crash\n", 2).await;
    assert!(is_back.load(Ordering::SeqCst));
    batch(&lab, &mut life, "b\n", 3).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "crash", "b"]));
    assert_eq!(versions(&lab).await[..3], ["this", "this", "this"]);
    // The states that count are those of the version that came back.
    (lab.version, lab.keeps) = (version("this"), tally(1));
    lab.migrations.clear();
    lab.start(Mode::Once).await.end().await.unwrap();
}

/// A source that ends when it may, and not before.
struct Reluctant {
    source: Arc<dyn Source>,
    may_end: watch::Receiver<bool>,
}

#[async_trait]
impl Source for Reluctant {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let ended = self.source.run(inlet.clone()).await;
        self.may_end.clone().wait_for(|may_end| *may_end).await.unwrap();
        drop(inlet);
        ended
    }
}

#[tokio::test]
async fn a_stop_on_the_way_back_leaves_the_version_before() {
    for format in ["lines", "other lines"] {
        let mut lab = Lab::durable().on_error(OnError::DeadLetter);
        let mut life = lab.running().await;
        batch(&lab, &mut life, "a\n", 1).await;
        (lab.identity, lab.format) = ("another source".to_owned(), format.to_owned());
        let (may_end, seen) = watch::channel(false);
        let source = Arc::new(Reluctant { source: Arc::clone(&life.source), may_end: seen });
        let is_back = upgrade_with(&mut lab, &life, source, 20, 0).await;
        batch(&lab, &mut life, "crash\n", 2).await;
        until(|| life.board.read().probation.is_none()).await;
        assert!(!is_back.load(Ordering::SeqCst), "a receiver is waited for");
        life.stop.gracefully();
        until(|| life.board.read().phase == Phase::Stopping).await;
        may_end.send_replace(true);
        life.running.await.unwrap().unwrap();
        assert!(is_back.load(Ordering::SeqCst));
        let given: &[&str] = if format == "lines" { &["a", "crash"] } else { &["a"] };
        assert_eq!(lab.kept.rows(), rows(given));
    }
}

#[tokio::test]
async fn a_stop_at_once_does_not_wait_for_a_version_that_comes_back() {
    let (lab, mut life, is_back) = forgetful().await;
    // The version before does not come to its end with this one.
    lab.counting.gate.send_replace(true);
    batch(&lab, &mut life, "wait\n", 2).await;
    life.feed("crash\n");
    life.sent(3).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| life.board.read().probation.is_none()).await;
    life.stop.gracefully();
    until(|| life.board.read().phase == Phase::Stopping).await;
    life.stop.now();
    let ended = life.running.await.unwrap();
    assert!(matches!(ended, Err(EngineError::StoppedNow)), "{ended:?}");
    assert!(!is_back.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_version_that_has_come_back_and_was_replaced_is_not_the_pipeline_s_own() {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    lab.keeps = tally(1);
    let mut life = lab.running().await;
    let before = Arc::clone(&lab.counting);
    forget(&mut lab);
    let is_back = upgrade(&mut lab, &life, 20, 0).await;
    // The version before cannot do the batch either, and waits for its function.
    before.ails.store(true, Ordering::SeqCst);
    life.feed("crash\naway\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| {
        let status = life.board.read();
        status.taken_back.is_some() && !status.quarantine.is_empty()
    })
    .await;
    (lab.version, lab.keeps, lab.counting) = (version("third"), tally(1), Counting::new());
    ask(&lab, &life).await.await.unwrap().unwrap();
    life.board.reached(1).await;
    life.stop().await.unwrap();
    assert!(!is_back.load(Ordering::SeqCst));
    assert_eq!(lab.kept.rows(), rows(&["crash", "away"]));
    assert_eq!(versions(&lab).await[0], "third");
}

#[tokio::test]
async fn another_upgrade_ends_the_probation() {
    let mut lab = Lab::durable().on_error(OnError::DeadLetter);
    let mut life = lab.running().await;
    let is_back = upgrade(&mut lab, &life, 20, 0).await;
    lab.version = version("third");
    ask(&lab, &life).await.await.unwrap().unwrap();
    batch(&lab, &mut life, "crash\n", 1).await;
    life.stop().await.unwrap();
    assert!(!is_back.load(Ordering::SeqCst));
    assert_eq!(versions(&lab).await[0], "third");
}

#[tokio::test]
async fn a_way_back_that_cannot_be_written_down_is_gone_all_the_same() {
    let mut lab = Lab::durable();
    let mut life = lab.running().await;
    let go_back = std::future::ready(Err("no room".to_owned())).boxed();
    let probation = Some(Probation { batches: 20, failures_max: 0, go_back });
    lab.version = version("other");
    lab.counting = Counting::new();
    lab.counting.ails.store(true, Ordering::SeqCst);
    let (code, adopt) = (lab.code(Arc::clone(&life.source)).await, std::future::ready(Ok(())).boxed());
    life.upgrader.swap(Upgrade { code, adopt, shadow: None, probation }).await.unwrap();
    batch(&lab, &mut life, "crash\n", 1).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["crash"]));
    assert_eq!(versions(&lab).await[0], "this");
}

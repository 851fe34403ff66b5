//! Other code for a pipeline that runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use millstream_model::BatchTime;
use millstream_model::pipeline::OnError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::lab::{Counting, Lab, Life, rows, until, version};
use crate::{Mode, Swapped, Upgrade, UpgradeError, UpgradeStage, Upgrader};

/// Asks for the code that the lab's pipeline has now.
pub(super) async fn ask(lab: &Lab, life: &Life) -> JoinHandle<Result<Swapped, UpgradeError>> {
    let upgrade = Upgrade {
        code: lab.code(std::sync::Arc::clone(&life.source)).await,
        adopt: std::future::ready(Ok(())).boxed(),
        shadow: None,
        probation: None,
    };
    let upgrader = life.upgrader.clone();
    tokio::spawn(async move {
        let upgraded = upgrader.swap(upgrade).await?;
        Ok(upgraded.swapped.expect("it was not only compared"))
    })
}

/// Lets a batch have a block, and waits until it is done.
pub(super) async fn batch(lab: &Lab, life: &mut Life, text: &str, number: usize) {
    life.feed(text);
    life.sent(number).await;
    lab.clock.advance(Duration::from_secs(1));
    life.board.reached(number as u64).await;
}

/// The names of the versions that computed the batches.
pub(super) async fn versions(lab: &Lab) -> Vec<String> {
    let archive = lab.archive().await;
    let of = |time| archive.batch(time).map(|(manifest, _)| manifest.version.pipeline.clone());
    archive.batches().filter_map(of).collect()
}

#[tokio::test]
async fn batches_after_a_swap_are_the_other_version_s_and_nothing_is_lost() {
    for identity in ["source", "another source"] {
        let mut lab = Lab::durable();
        let mut life = lab.running().await;
        batch(&lab, &mut life, "a\n", 1).await;
        life.feed("b\n");
        life.sent(2).await;
        lab.version = version("other");
        lab.identity = identity.to_owned();
        let swapped = ask(&lab, &life).await.await.unwrap().unwrap();
        assert_eq!(swapped, Swapped { after: Some(BatchTime::from_ms(11_000)), reassigned: 0 });
        life.feed("c\n");
        life.sent(3).await;
        lab.clock.advance(Duration::from_secs(1));
        life.board.reached(2).await;
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["a", "b", "c"]));
        assert_eq!(versions(&lab).await[..2], ["this", "other"]);
    }
}

#[tokio::test]
async fn what_only_the_version_before_can_read_is_read_by_it() {
    let mut lab = Lab::durable();
    let mut life = lab.running().await;
    life.feed("a\n");
    life.sent(1).await;
    lab.version = version("other");
    lab.identity = "another source".to_owned();
    lab.format = "other lines".to_owned();
    let asked = ask(&lab, &life).await;
    until(|| life.board.read().receivers.first().is_some_and(|lane| lane.queued_records == 1)).await;
    assert!(!asked.is_finished(), "a record is waiting that the other version cannot read");
    lab.clock.advance(Duration::from_secs(1));
    assert!(asked.await.unwrap().is_ok());
    life.feed("b\n");
    life.sent(2).await;
    lab.clock.advance(Duration::from_secs(1));
    life.board.reached(2).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
    assert_eq!(versions(&lab).await[..2], ["this", "other"]);
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_written_down_does_not_happen() {
    let mut lab = Lab::durable();
    let mut life = lab.running().await;
    batch(&lab, &mut life, "a\n", 1).await;
    lab.version = version("other");
    lab.identity = "another source".to_owned();
    let code = lab.code(std::sync::Arc::clone(&life.source)).await;
    let adopt = std::future::ready(Err("no room".to_owned())).boxed();
    let refused = life.upgrader.swap(Upgrade { code, adopt, shadow: None, probation: None }).await;
    assert!(matches!(refused, Err(UpgradeError::Refused(reason)) if reason.contains("no room")));
    batch(&lab, &mut life, "b\n", 2).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
    assert!(versions(&lab).await.iter().all(|version| version == "this"));
}

#[tokio::test]
async fn batches_go_on_while_an_upgrade_is_written_down_and_a_stop_comes_after_it() {
    for stops in [false, true] {
        let mut lab = Lab::durable();
        let mut life = lab.running().await;
        let (written, is_written) = oneshot::channel();
        lab.version = version("other");
        let code = lab.code(std::sync::Arc::clone(&life.source)).await;
        let adopt = async { is_written.await.map_err(|gone| gone.to_string()) }.boxed();
        let upgrader = life.upgrader.clone();
        let swap = async move { upgrader.swap(Upgrade { code, adopt, shadow: None, probation: None }).await };
        let asked = tokio::spawn(swap);
        until(|| life.board.read().upgrade == Some(UpgradeStage::Switching)).await;
        batch(&lab, &mut life, "a\n", 1).await;
        assert!(!asked.is_finished());
        if stops {
            life.stop.gracefully();
        }
        written.send(()).unwrap();
        let swapped = asked.await.unwrap().unwrap().swapped;
        assert_eq!(swapped.and_then(|swapped| swapped.after), Some(BatchTime::from_ms(11_000)));
        if !stops {
            batch(&lab, &mut life, "b\n", 2).await;
            assert_eq!(versions(&lab).await[..2], ["this", "other"]);
        }
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows()[0], "a");
    }
}

#[tokio::test]
async fn batches_that_wait_for_a_function_are_given_to_the_version_that_mends_it() {
    for crash in [false, true] {
        let mut lab = Lab::durable().on_error(OnError::DeadLetter);
        lab.counting.ails.store(true, Ordering::SeqCst);
        let mut life = lab.running().await;
        life.feed("a\naway\n");
        life.sent(1).await;
        lab.clock.advance(Duration::from_secs(1));
        until(|| !life.board.read().quarantine.is_empty()).await;
        lab.version = version("other");
        lab.counting = Counting::new();
        lab.counting.ails.store(crash, Ordering::SeqCst);
        let swapped = ask(&lab, &life).await.await.unwrap().unwrap();
        assert_eq!(swapped.reassigned, 1);
        if crash {
            until(|| !life.board.read().quarantine.is_empty()).await;
            lab.kill(life).await;
            lab.counting.ails.store(false, Ordering::SeqCst);
            lab.start(Mode::Once).await.end().await.unwrap();
        } else {
            life.board.reached(1).await;
            assert!(life.board.read().quarantine.is_empty());
            life.stop().await.unwrap();
        }
        assert_eq!(lab.kept.rows(), rows(&["a", "away"]));
        assert_eq!(versions(&lab).await[0], "other");
    }
}

#[tokio::test]
async fn one_version_ends_its_batches_while_the_next_receives() {
    let mut lab = Lab::durable();
    let mut life = lab.running().await;
    life.feed("wait\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    lab.version = version("other");
    assert!(ask(&lab, &life).await.await.unwrap().is_ok());
    life.feed("b\n");
    life.sent(2).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| life.board.read().queued_batches == 2).await;
    lab.counting.gate.send_replace(true);
    life.board.reached(2).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["wait", "b"]));
    assert_eq!(versions(&lab).await[..2], ["this", "other"]);
}

#[tokio::test]
async fn a_pipeline_that_ends_says_so_to_whoever_asks() {
    let lab = Lab::durable();
    let life = lab.running().await;
    let code = lab.code(std::sync::Arc::clone(&life.source)).await;
    let upgrader: Upgrader = life.upgrader.clone();
    life.stop().await.unwrap();
    let adopt = std::future::ready(Ok(())).boxed();
    let ended = upgrader.swap(Upgrade { code, adopt, shadow: None, probation: None }).await;
    assert_eq!(ended.err(), Some(UpgradeError::Ended));
}

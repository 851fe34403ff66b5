//! States that other code would lose.

use std::time::Duration;

use millstream_model::{DataType, Field, Schema};
use millstream_state::KeyedSpec;
use tokio::task::JoinHandle;

use super::lab::{Lab, Life, rows, until, version};
use super::swap::ask;
use crate::{EngineError, Mode, Swapped, UpgradeError, UpgradeStage};

/// What the stream "tally" keeps.
pub(super) fn tally(version: u32) -> Option<(&'static str, KeyedSpec)> {
    let spec = KeyedSpec {
        key: Schema::new([Field::new("text", DataType::Utf8)]),
        state: Schema::new([Field::new("count", DataType::Int64)]),
        version,
    };
    Some(("tally", spec))
}

/// A pipeline that keeps a tally, whose first batch waits for the gate while other code is asked for.
async fn asked_amid_a_batch(
    lab: &mut Lab,
    keeps: Option<(&'static str, KeyedSpec)>,
) -> (Life, JoinHandle<Result<Swapped, UpgradeError>>) {
    lab.keeps = tally(1);
    let mut life = lab.running().await;
    life.feed("wait\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    (lab.version, lab.keeps) = (version("other"), keeps);
    let asked = ask(lab, &life).await;
    until(|| life.board.read().upgrade == Some(UpgradeStage::Switching)).await;
    life.feed("b\n");
    life.sent(2).await;
    lab.clock.advance(Duration::from_secs(1));
    (life, asked)
}

#[tokio::test]
async fn the_batches_that_change_a_state_are_ended_before_it_is_dropped() {
    for keeps in [None, tally(2)] {
        let mut lab = Lab::durable();
        lab.drops = vec!["tally".to_owned()];
        let (life, asked) = asked_amid_a_batch(&mut lab, keeps.clone()).await;
        assert!(!asked.is_finished());
        lab.counting.gate.send_replace(true);
        let swapped = asked.await.unwrap().unwrap();
        assert_eq!(swapped.after.map(|time| time.as_ms()), Some(11_000), "no batch is cut meanwhile");
        life.board.reached(2).await;
        // What was dropped is gone for good, and what was kept since is not.
        lab.kill(life).await;
        lab.drops.clear();
        lab.start(Mode::Once).await.end().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["wait", "b"]));
    }
}

#[tokio::test]
async fn what_was_kept_while_an_upgrade_was_on_its_way_is_not_lost_unasked() {
    for keeps in [None, tally(2)] {
        let mut lab = Lab::durable();
        let (life, asked) = asked_amid_a_batch(&mut lab, keeps.clone()).await;
        lab.counting.gate.send_replace(true);
        let refused = asked.await.unwrap();
        assert!(matches!(&refused, Err(UpgradeError::Refused(why)) if why.contains("--drop-state tally")));
        life.board.reached(2).await;
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["wait", "b"]));
        // A start is refused as well, unless it is with code that goes on with the state.
        let refused = lab.start(Mode::Once).await.end().await;
        assert!(matches!(refused, Err(EngineError::Losses(_))), "{refused:?}");
        (lab.version, lab.keeps) = (version("this"), tally(1));
        lab.start(Mode::Once).await.end().await.unwrap();
    }
}

#[tokio::test]
async fn batches_that_are_given_to_other_code_are_not_waited_for() {
    let mut lab = Lab::durable().on_error(millstream_model::pipeline::OnError::DeadLetter);
    lab.keeps = tally(1);
    lab.counting.ails.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut life = lab.running().await;
    life.feed("away\n");
    life.sent(1).await;
    lab.clock.advance(Duration::from_secs(1));
    until(|| !life.board.read().quarantine.is_empty()).await;
    (lab.version, lab.keeps) = (version("other"), tally(2));
    lab.counting = super::lab::Counting::new();
    let swapped = ask(&lab, &life).await.await.unwrap().unwrap();
    assert_eq!(swapped.reassigned, 1);
    life.board.reached(1).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["away"]));
}

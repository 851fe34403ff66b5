//! Other code that runs beside a pipeline, and is compared with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use millstream_model::BatchTime;
use millstream_model::pipeline::OnError;
use tokio::task::JoinHandle;

use super::lab::{Counting, Lab, Life, rows, until, version};
use super::swap::{batch, versions};
use crate::{Shadow, Upgrade, UpgradeError, UpgradeStage, Upgraded};

/// Lets the code that the lab's pipeline has now run beside it, for two batches.
async fn ask(lab: &Lab, life: &Life, promote: Option<u64>) -> JoinHandle<Result<Upgraded, UpgradeError>> {
    let code = || lab.code(Arc::clone(&life.source));
    let shadow = Shadow { code: Arc::new(code().await), batches: 2, promote };
    let adopt = std::future::ready(Ok(())).boxed();
    let upgrade = Upgrade { code: code().await, adopt, shadow: Some(shadow), probation: None };
    let upgrader = life.upgrader.clone();
    tokio::spawn(async move { upgrader.swap(upgrade).await })
}

/// So many of two batches are compared.
fn comparing(batches: u64) -> Option<UpgradeStage> {
    Some(UpgradeStage::Comparing { batches, of: 2 })
}

/// Another version of the pipeline.
fn other(lab: &mut Lab) -> Arc<Counting> {
    lab.version = version("other");
    lab.counting = Counting::new();
    Arc::clone(&lab.counting)
}

/// A pipeline that has had a batch, and two more while the other version ran beside it.
async fn shadowed(
    lab: &mut Lab,
    change: impl FnOnce(&Counting),
    promote: Option<u64>,
) -> (Life, Result<Upgraded, UpgradeError>) {
    let mut life = lab.running().await;
    batch(lab, &mut life, "before\nodd\n", 1).await;
    change(&other(lab));
    let asked = ask(lab, &life, promote).await;
    // The first batch that it is given is cut after it was asked for.
    until(|| life.board.read().upgrade == comparing(0)).await;
    batch(lab, &mut life, "a\nodd\nb\n", 2).await;
    batch(lab, &mut life, "odd\ncrash\n", 3).await;
    (life, asked.await.unwrap())
}

#[tokio::test]
async fn a_version_that_gives_the_same_is_taken_up_if_that_is_wanted() {
    for promote in [None, Some(0)] {
        let mut lab = Lab::durable();
        let (mut life, upgraded) = shadowed(&mut lab, |_same| {}, promote).await;
        let upgraded = upgraded.unwrap();
        let compared = upgraded.shadow.unwrap();
        assert!(compared.is_equal(), "{compared:?}");
        assert_eq!((compared.batches, compared.rows), (2, 5));
        let span = (Some(BatchTime::from_ms(12_000)), Some(BatchTime::from_ms(13_000)));
        assert_eq!((compared.first, compared.last), span);
        assert_eq!(upgraded.swapped.is_some(), promote.is_some());
        batch(&lab, &mut life, "c\n", 4).await;
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["before", "odd", "a", "odd", "b", "odd", "crash", "c"]));
        let last = if promote.is_some() { "other" } else { "this" };
        assert_eq!(versions(&lab).await[..4], ["this", "this", "this", last]);
    }
}

#[tokio::test]
async fn a_version_that_gives_other_rows_is_taken_up_only_where_so_many_may_differ() {
    for (promote, is_taken) in [(None, false), (Some(1), false), (Some(2), true)] {
        let mut lab = Lab::durable();
        let picky = |counting: &Counting| counting.picky.store(true, Ordering::SeqCst);
        let (life, upgraded) = shadowed(&mut lab, picky, promote).await;
        let upgraded = upgraded.unwrap();
        let compared = upgraded.shadow.unwrap();
        let sink = &compared.sinks["kept"];
        assert_eq!((sink.only_before, sink.only_after, compared.differing_rows()), (2, 0, 2));
        assert_eq!(upgraded.swapped.is_some(), is_taken);
        life.stop().await.unwrap();
        // What it gives is written nowhere.
        assert_eq!(lab.kept.rows(), rows(&["before", "odd", "a", "odd", "b", "odd", "crash"]));
    }
}

#[tokio::test]
async fn a_version_that_fails_beside_the_stream_is_not_taken_up() {
    for on_error in [OnError::DeadLetter, OnError::Stop] {
        let mut lab = Lab::durable().on_error(on_error);
        let ails = |counting: &Counting| counting.ails.store(true, Ordering::SeqCst);
        let (life, upgraded) = shadowed(&mut lab, ails, Some(u64::MAX)).await;
        let upgraded = upgraded.unwrap();
        let compared = upgraded.shadow.unwrap();
        assert!(upgraded.swapped.is_none() && compared.failures.len() == 1, "{compared:?}");
        assert!(compared.failures[0].contains("13000"), "{compared:?}");
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["before", "odd", "a", "odd", "b", "odd", "crash"]));
        assert!(lab.letters(super::lab::LETTERS).await.is_empty());
    }
}

#[tokio::test]
async fn a_version_that_comes_no_further_is_given_up_before_too_much_waits_for_it() {
    let mut lab = Lab::durable();
    lab.counting.gate.send_replace(true);
    let mut life = lab.running().await;
    other(&mut lab);
    let asked = ask(&lab, &life, Some(0)).await;
    until(|| life.board.read().upgrade == comparing(0)).await;
    batch(&lab, &mut life, "wait\n", 1).await;
    for batches in 2..=1_030 {
        lab.clock.advance(Duration::from_secs(1));
        life.board.reached(batches).await;
    }
    let refused = asked.await.unwrap();
    assert!(matches!(&refused, Err(UpgradeError::Refused(why)) if why.contains("keep up")), "{refused:?}");
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["wait"]));
}

#[tokio::test]
async fn a_comparison_that_nobody_waits_for_ends_and_so_does_one_of_a_pipeline_that_stops() {
    for stops in [false, true] {
        let mut lab = Lab::durable();
        let mut life = lab.running().await;
        other(&mut lab);
        let asked = ask(&lab, &life, Some(0)).await;
        until(|| life.board.read().upgrade == comparing(0)).await;
        batch(&lab, &mut life, "a\n", 1).await;
        until(|| life.board.read().upgrade == comparing(1)).await;
        match stops {
            true => {
                life.stop().await.unwrap();
                assert_eq!(asked.await.unwrap().err(), Some(UpgradeError::Ended));
            }
            false => {
                asked.abort();
                until(|| life.board.read().upgrade.is_none()).await;
                batch(&lab, &mut life, "b\n", 2).await;
                life.stop().await.unwrap();
                assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
            }
        }
    }
}

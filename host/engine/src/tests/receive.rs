//! Receivers: how they are started, started again and told apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::lab::{Lab, Life, block, until};
use crate::{EngineError, Inlet, Mode, ReceiverState, Source, SourceError};

/// What a source does each time that it is run; then it sends a record and has no more.
struct Troubled {
    runs: AtomicU32,
    trouble: fn(u32) -> Option<SourceError>,
}

fn troubled(trouble: fn(u32) -> Option<SourceError>) -> Option<(&'static str, Arc<dyn Source>)> {
    Some(("in", Arc::new(Troubled { runs: AtomicU32::new(0), trouble })))
}

#[async_trait]
impl Source for Troubled {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = (self.trouble)(run) {
            return Err(error);
        }
        inlet
            .send(block(&format!("{run}\n")))
            .await
            .map_err(|closed| SourceError::Failed(closed.to_string()))?;
        Ok(())
    }
}

/// Lets time pass until rows are there.
async fn run_until_rows(lab: &Lab, life: Life) -> Result<(), EngineError> {
    let (clock, kept) = (lab.clock.clone(), lab.kept.clone());
    until(|| {
        clock.advance(Duration::from_millis(100));
        !kept.rows().is_empty() || life.running.is_finished()
    })
    .await;
    life.stop().await.map(drop)
}

#[tokio::test]
async fn a_source_that_fails_is_started_again_until_it_works() {
    let failing: fn(u32) -> Option<SourceError> =
        |run| (run < 2).then(|| SourceError::Failed("connecting to nowhere: refused".into()));
    let panicking: fn(u32) -> Option<SourceError> = |run| {
        assert!(run >= 2, "this panic is a part of the test");
        None
    };
    for (trouble, told) in [(failing, "nowhere"), (panicking, "part of the test")] {
        let mut lab = Lab::new();
        lab.source = troubled(trouble);
        let life = lab.start(Mode::Continuous).await;
        let board = life.board.clone();
        run_until_rows(&lab, life).await.unwrap();
        assert_eq!(lab.kept.rows(), ["2"]);
        let receiver = board.read().receivers.remove(0);
        assert_eq!((receiver.state, receiver.restarts, receiver.records), (ReceiverState::Ended, 2, 1));
        assert!(receiver.error.as_ref().is_some_and(|error| error.contains(told)), "{receiver:?}");
    }
}

#[tokio::test]
async fn a_source_that_cannot_go_on_stops_the_pipeline_by_name() {
    let refused: fn(u32) -> Option<SourceError> =
        |_| Some(SourceError::Refused("reading rows: not those".into()));
    let failed: fn(u32) -> Option<SourceError> =
        |_| Some(SourceError::Failed("reading rows: not now".into()));
    let panicked: fn(u32) -> Option<SourceError> =
        |_| panic!("reading rows: this panic is a part of the test");
    let cases =
        [(refused, Mode::Continuous), (refused, Mode::Once), (failed, Mode::Once), (panicked, Mode::Once)];
    for (trouble, mode) in cases {
        let mut lab = Lab::new();
        lab.source = troubled(trouble);
        let error = lab.start(mode).await.running.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Source { .. }), "{error}");
        assert!(error.to_string().starts_with("source \"in\": "), "{error}");
        assert!(error.to_string().contains("reading rows"), "{error}");
    }
}

#[tokio::test]
async fn a_failing_source_waits_longer_each_time_and_a_stop_ends_the_wait() {
    let mut lab = Lab::new();
    lab.source = troubled(|_| Some(SourceError::Failed("away".into())));
    let life = lab.start(Mode::Continuous).await;
    let (clock, board) = (lab.clock.clone(), life.board.clone());
    until(|| {
        clock.advance(Duration::from_millis(500));
        board.read().receivers.first().is_some_and(|receiver| receiver.restarts >= 10)
    })
    .await;
    // The waits double from a tenth of a second to 10 seconds, and each is at least half of that.
    let shortest_ms: u64 = (0..10).map(|wait| (100 << wait).min(10_000) / 2).sum();
    use millstream_platform::Clock;
    assert!(lab.clock.elapsed() >= Duration::from_millis(shortest_ms));
    life.stop().await.unwrap();
}

/// Every receiver sends records until the inlet is closed, and says which one it is.
struct Twins(AtomicU32);

#[async_trait]
impl Source for Twins {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let twin = self.0.fetch_add(1, Ordering::SeqCst);
        for record in 0..10 {
            let sent = inlet.send(block(&format!("{twin}:{record}\n"))).await;
            sent.map_err(|closed| SourceError::Failed(closed.to_string()))?;
        }
        inlet.closed().await;
        Ok(())
    }
}

#[tokio::test]
async fn receivers_of_one_source_have_lanes_of_their_own() {
    let mut lab = Lab::durable();
    lab.source = Some(("in", Arc::new(Twins(AtomicU32::new(0)))));
    lab.parallelism = 2;
    lab.settings.batch_rows_max = 8;
    let life = lab.start(Mode::Continuous).await;
    let (clock, kept) = (lab.clock.clone(), lab.kept.clone());
    until(|| {
        clock.advance(Duration::from_millis(100));
        kept.rows().len() >= 20
    })
    .await;
    let names: Vec<String> = life.board.read().receivers.into_iter().map(|lane| lane.receiver).collect();
    assert_eq!(names, ["in", "in#1"]);
    life.stop().await.unwrap();
    for twin in 0..2 {
        let rows = lab.kept.rows().into_iter().filter(|row| row.starts_with(&format!("{twin}:")));
        let expected: Vec<String> = (0..10).map(|record| format!("{twin}:{record}")).collect();
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
    // The limits are those of the source, and not of each receiver.
    assert!(lab.kept.all().iter().all(|(_, rows)| rows.len() <= 8), "{:?}", lab.kept.all());
}

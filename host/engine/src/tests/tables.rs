//! When tables are read, and what batches see of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{RecordBatch, StringViewArray};
use async_trait::async_trait;
use millstream_platform::Clock;
use tokio::sync::watch;

use super::lab::{Lab, rows, schema, until};
use crate::{EngineError, Mode, Table, TableBinding, TableError, TableRows};

/// A table that holds what the test puts into it, and is read while it is not shut.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Content>>, Arc<watch::Sender<bool>>);

#[derive(Default)]
struct Content {
    lines: Vec<&'static str>,
    version: usize,
    /// The next readings fail.
    failures: usize,
    /// What each reading was allowed to take.
    allowed: Vec<u64>,
    /// How often rows were given.
    given: usize,
}

impl Shelf {
    fn of(lines: &[&'static str]) -> Self {
        let shelf = Self::default();
        shelf.put(lines);
        shelf
    }

    fn put(&self, lines: &[&'static str]) {
        let mut content = self.0.lock().unwrap();
        (content.lines, content.version) = (lines.to_vec(), content.version + 1);
    }

    fn fail(&self, failures: usize) {
        self.0.lock().unwrap().failures = failures;
    }

    fn given(&self) -> usize {
        self.0.lock().unwrap().given
    }

    fn bind(&self, name: &str, refresh_ms: Option<u64>) -> TableBinding {
        let refresh = refresh_ms.map(Duration::from_millis);
        TableBinding { name: name.into(), table: Arc::new(self.clone()), refresh }
    }
}

#[async_trait]
impl Table for Shelf {
    async fn read(&self, known: Option<&str>, bytes_max: u64) -> Result<Option<TableRows>, TableError> {
        self.1.subscribe().wait_for(|is_shut| !is_shut).await.unwrap();
        let mut content = self.0.lock().unwrap();
        content.allowed.push(bytes_max);
        if let Some(less) = content.failures.checked_sub(1) {
            content.failures = less;
            return Err(TableError("reading shelf: it is empty".into()));
        }
        let stamp = content.version.to_string();
        if known == Some(stamp.as_str()) {
            return Ok(None);
        }
        content.given += 1;
        let lines: Arc<StringViewArray> = Arc::new(content.lines.iter().map(Some).collect());
        let rows = vec![RecordBatch::try_new(schema(), vec![lines]).unwrap()];
        Ok(Some(TableRows { rows, bytes: 100, stamp }))
    }
}

#[tokio::test]
async fn a_table_is_read_again_by_the_first_batch_that_is_so_much_later() {
    for mut lab in [Lab::new(), Lab::durable()] {
        let shelf = Shelf::of(&["old"]);
        lab.tables = vec![shelf.bind("shelf", Some(2_000))];
        let life = lab.running().await;
        for batch in 1..=5 {
            lab.clock.set(10_000 + 1_000 * batch);
            lab.kept.wait_for(batch as usize).await;
            shelf.put(if batch == 1 { &["new"] } else { &["newer"] });
        }
        life.stop().await.unwrap();
        let seen: Vec<_> = lab.kept.all().into_iter().map(|(_, rows)| rows).collect();
        // It is read at 10,500, and then at 13,000 and at 15,000.
        assert_eq!(seen, ["old", "old", "newer", "newer", "newer"].map(|row| rows(&[row])));
        assert_eq!(shelf.given(), 3);
    }
}

#[tokio::test]
async fn a_table_without_refresh_is_read_once_and_one_that_is_the_same_is_kept() {
    let mut lab = Lab::new();
    let (once, same) = (Shelf::of(&["once"]), Shelf::of(&["same"]));
    lab.tables = vec![once.bind("once", None), same.bind("same", Some(1))];
    let life = lab.running().await;
    for batch in 1..=3 {
        lab.clock.set(10_000 + 1_000 * batch);
        lab.kept.wait_for(batch as usize).await;
        once.put(&["never"]);
    }
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), ["once", "same"].repeat(3));
    assert_eq!((once.given(), same.given()), (1, 1));
    assert_eq!(same.0.lock().unwrap().allowed.len(), 4);
}

#[tokio::test]
async fn a_refresh_that_fails_keeps_the_rows_says_so_and_is_tried_again() {
    let mut lab = Lab::new();
    let shelf = Shelf::of(&["old"]);
    lab.tables = vec![shelf.bind("shelf", Some(1_000))];
    let life = lab.running().await;
    shelf.put(&["new"]);
    shelf.fail(1);
    lab.clock.set(12_000);
    lab.kept.wait_for(1).await;
    let trouble = life.board.read().trouble.unwrap();
    assert!(trouble.contains("table \"shelf\"") && trouble.contains("it is empty"), "{trouble}");
    lab.clock.set(13_000);
    lab.kept.wait_for(2).await;
    assert_eq!(life.board.read().trouble, None);
    life.stop().await.unwrap();
    assert_eq!(lab.kept.all(), [(12_000, rows(&["old"])), (13_000, rows(&["new"]))]);
}

#[tokio::test]
async fn a_refresh_that_hangs_is_left_after_a_while_and_the_rows_stay() {
    let mut lab = Lab::new();
    let shelf = Shelf::of(&["old"]);
    lab.tables = vec![shelf.bind("shelf", Some(500))];
    let life = lab.running().await;
    shelf.1.send_replace(true);
    lab.clock.set(11_000);
    until(|| {
        lab.clock.advance(Duration::from_millis(50));
        !lab.kept.times().is_empty()
    })
    .await;
    assert!(lab.clock.elapsed() >= Duration::from_secs(10), "{:?}", lab.clock.elapsed());
    let trouble = life.board.read().trouble.unwrap();
    assert!(trouble.contains("table \"shelf\"") && trouble.contains("within 10 s"), "{trouble}");
    assert_eq!(lab.kept.all()[0], (11_000, rows(&["old"])));
    shelf.1.send_replace(false);
    life.stop().await.unwrap();
}

#[tokio::test]
async fn batches_are_cut_while_a_table_is_read_and_wait_for_it() {
    let mut lab = Lab::durable();
    let shelf = Shelf::of(&["old"]);
    lab.tables = vec![shelf.bind("shelf", Some(500))];
    let life = lab.running().await;
    shelf.put(&["new"]);
    shelf.1.send_replace(true);
    let board = life.board.clone();
    for batch in 1..=3 {
        lab.clock.set(10_000 + 1_000 * batch);
        until(|| board.read().queued_batches == batch as usize).await;
    }
    assert_eq!(lab.kept.all(), []);
    shelf.1.send_replace(false);
    lab.kept.wait_for(3).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), ["new"; 3]);
}

#[tokio::test]
async fn a_pipeline_whose_table_cannot_be_read_does_not_start() {
    let mut lab = Lab::durable();
    let shelf = Shelf::of(&["a"]);
    shelf.fail(1);
    lab.tables = vec![shelf.bind("shelf", Some(1_000))];
    let error = lab.start(Mode::Once).await.end().await.unwrap_err();
    assert!(matches!(&error, EngineError::Table { name, .. } if name == "shelf"), "{error}");
    assert_eq!(lab.kept.all(), []);
}

#[tokio::test]
async fn all_attempts_of_a_batch_see_the_same_rows() {
    let mut lab = Lab::new();
    let shelf = Shelf::of(&["poison"]);
    lab.tables = vec![shelf.bind("shelf", Some(1))];
    lab.counting.poisonous.store(1, Ordering::SeqCst);
    let life = lab.running().await;
    lab.clock.set(11_000);
    lab.kept.wait_for(1).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), ["poison"]);
    assert_eq!(lab.kept.state().begun.len(), 2);
    // At the start, and for the batch.
    assert_eq!(shelf.0.lock().unwrap().allowed.len(), 2);
}

#[tokio::test]
async fn a_batch_that_is_run_again_after_a_crash_sees_the_table_as_it_is_then() {
    let mut lab = Lab::durable();
    let shelf = Shelf::of(&["before"]);
    lab.tables = vec![shelf.bind("shelf", None)];
    let mut life = lab.running().await;
    life.feed("wait\n");
    life.sent(1).await;
    lab.clock.set(11_000);
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    lab.kill(life).await;
    shelf.put(&["after"]);
    lab.counting.gate.send_replace(true);
    lab.running().await.stop().await.unwrap();
    assert_eq!(lab.kept.all()[0], (11_000, rows(&["wait", "after"])));
}

#[tokio::test]
async fn tables_share_the_memory_that_they_may_take() {
    let mut lab = Lab::new();
    let (first, second) = (Shelf::of(&["a"]), Shelf::of(&["b"]));
    lab.tables = vec![first.bind("first", Some(1_000)), second.bind("second", None)];
    lab.table_bytes_max = 250;
    let life = lab.running().await;
    lab.clock.set(12_000);
    lab.kept.wait_for(1).await;
    life.stop().await.unwrap();
    // What is read again takes the place of what there was.
    assert_eq!(first.0.lock().unwrap().allowed, [250, 150]);
    assert_eq!(second.0.lock().unwrap().allowed, [150]);
}

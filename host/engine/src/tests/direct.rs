//! Sources whose records stay where they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use millstream_journal::Cut;
use millstream_model::{Block, Lane, OriginRange, Records};
use tokio::sync::watch;

use super::lab::{Lab, block_at, rows};
use crate::{Direct, Inlet, Mode, Source, SourceError};

/// Origins with records, which grow and go.
#[derive(Clone, Default)]
struct Shelf(Arc<Shelved>);

#[derive(Default)]
struct Shelved {
    origins: watch::Sender<BTreeMap<&'static str, Origin>>,
    /// Every range that was read again.
    read_again: Mutex<Vec<OriginRange>>,
    /// Every record that was delivered, as often as it was.
    delivered: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Origin {
    records: Vec<&'static str>,
    stamp: u64,
    is_complete: bool,
}

impl Shelf {
    fn add(&self, origin: &'static str, records: &[&'static str], is_complete: bool) {
        self.0.origins.send_modify(|origins| {
            let origin = origins.entry(origin).or_default();
            origin.records.extend(records);
            origin.stamp += 1;
            origin.is_complete = is_complete;
        });
    }

    fn remove(&self, origin: &str) {
        self.0.origins.send_modify(|origins| drop(origins.remove(origin)));
    }

    async fn deliver(&self, inlet: &Inlet) -> Result<(), crate::Closed> {
        let origins = self.0.origins.borrow().clone();
        for gone in inlet.origins().iter().filter(|name| !origins.contains_key(name.as_str())) {
            inlet.forget(gone);
        }
        for (name, origin) in origins {
            let taken = inlet.taken(name);
            if taken.as_ref().is_some_and(|taken| taken.finished) {
                continue;
            }
            inlet.open(name, &origin.stamp.to_string());
            let first = taken.map_or(0, |taken| taken.records);
            for (record, text) in origin.records.iter().enumerate().skip(first as usize) {
                self.0.delivered.lock().unwrap().push((*text).to_owned());
                inlet.send(block_at(name, record as u64, &format!("{text}\n"))).await?;
            }
            if origin.is_complete {
                inlet.finish(name);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Shelf {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let mut changes = self.0.origins.subscribe();
        loop {
            changes.borrow_and_update();
            if self.deliver(&inlet).await.is_err() || inlet.once() {
                return Ok(());
            }
            tokio::select! {
                _changed = changes.changed() => {}
                () = inlet.closed() => return Ok(()),
            }
        }
    }

    fn direct(&self) -> Option<&dyn Direct> {
        Some(self)
    }
}

#[async_trait]
impl Direct for Shelf {
    async fn read(&self, range: &OriginRange) -> Result<Vec<Block>, SourceError> {
        self.0.read_again.lock().unwrap().push(range.clone());
        let origins = self.0.origins.borrow();
        let gone = || SourceError::Refused(format!("{} is gone", range.origin));
        let records = &origins.get(range.origin.as_str()).ok_or_else(gone)?.records;
        let wanted = range.records.start..range.records.end;
        let block = |record: u64| block_at(&range.origin, record, &format!("{}\n", records[record as usize]));
        Ok(wanted.map(block).collect())
    }
}

fn lab(shelf: &Shelf) -> Lab {
    let mut lab = Lab::durable();
    lab.source = Some(("shelf", Arc::new(shelf.clone())));
    lab
}

async fn origins(lab: &Lab) -> Vec<(String, u64, bool)> {
    let archive = lab.archive().await;
    let lane = Lane { source: "shelf".into(), receiver: 0 };
    let Some(Cut::Direct { origins }) = archive.ledger().lanes.get(&lane) else { panic!("it is direct") };
    origins.iter().map(|(name, taken)| (name.clone(), taken.records, taken.finished)).collect()
}

fn range(origin: &str, stamp: &str, records: std::ops::Range<u64>, finished: bool) -> OriginRange {
    OriginRange { origin: origin.into(), stamp: stamp.into(), records, finished, forgotten: false }
}

#[tokio::test]
async fn manifests_say_which_records_of_which_origins_they_are() {
    let shelf = Shelf::default();
    shelf.add("one", &["a", "b", "c"], true);
    shelf.add("two", &["d"], false);
    let mut lab = lab(&shelf);
    lab.settings.batch_rows_max = 2;
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(lab.kept.all(), [(10_000, rows(&["a", "b"])), (11_000, rows(&["c", "d"]))]);
    let archive = lab.archive().await;
    let ranges = |time| {
        let (manifest, _) = archive.batch(millstream_model::BatchTime::from_ms(time)).unwrap();
        let Records::Direct(ranges) = &manifest.inputs[0].records else { panic!("it is direct") };
        ranges.clone()
    };
    assert_eq!(ranges(10_000), [range("one", "1", 0..2, false)]);
    assert_eq!(ranges(11_000), [range("one", "1", 2..3, true), range("two", "1", 0..1, false)]);
    assert_eq!(origins(&lab).await, [("one".into(), 3, true), ("two".into(), 1, false)]);
    assert_eq!(archive.unprocessed().await.unwrap(), BTreeMap::new(), "nothing of it is logged");
}

#[tokio::test]
async fn a_batch_that_was_begun_reads_its_ranges_again_and_the_source_goes_on_behind_them() {
    let shelf = Shelf::default();
    let mut lab = lab(&shelf);
    lab.settings.batch_rows_max = 3;
    let life = lab.start(Mode::Continuous).await;
    shelf.add("one", &["wait", "b"], true);
    shelf.add("two", &["c", "d", "e"], true);
    until_delivered(&shelf, 5).await;
    lab.clock.set(11_000);
    lab.kept.wait_until(|state| state.begun.contains(&11_000)).await;
    lab.kill(life).await;
    lab.counting.gate.send_replace(true);
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(lab.kept.all(), [(11_000, rows(&["wait", "b", "c"])), (12_000, rows(&["d", "e"]))]);
    let again = shelf.0.read_again.lock().unwrap().clone();
    assert_eq!(again, [range("one", "1", 0..2, true), range("two", "1", 0..1, false)]);
    let delivered = shelf.0.delivered.lock().unwrap().clone();
    assert_eq!(delivered[5..], rows(&["d", "e"]), "what a batch has is not delivered again");
}

async fn until_delivered(shelf: &Shelf, records: usize) {
    super::lab::until(|| shelf.0.delivered.lock().unwrap().len() >= records).await;
    // The last of them is in the queue, and the end of its origin.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_origin_that_grows_goes_on_and_one_that_is_finished_is_not_read_again() {
    let shelf = Shelf::default();
    let lab = lab(&shelf);
    let grow: [(&'static str, &[&'static str], bool); 4] =
        [("one", &["a"], false), ("two", &["b"], true), ("one", &["c"], false), ("one", &["d"], true)];
    for (origin, records, is_complete) in grow {
        shelf.add(origin, records, is_complete);
        lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    }
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b", "c", "d"]));
    assert_eq!(*shelf.0.delivered.lock().unwrap(), rows(&["a", "b", "c", "d"]));
    assert_eq!(origins(&lab).await, [("one".into(), 3, true), ("two".into(), 1, true)]);
}

#[tokio::test]
async fn an_origin_that_is_gone_is_forgotten_and_may_come_back() {
    let shelf = Shelf::default();
    let lab = lab(&shelf);
    shelf.add("one", &["a"], true);
    shelf.add("two", &["b"], true);
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    shelf.remove("one");
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(origins(&lab).await, [("two".into(), 1, true)]);
    shelf.add("one", &["c"], true);
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b", "c"]));
    assert_eq!(origins(&lab).await, [("one".into(), 1, true), ("two".into(), 1, true)]);
}

#[tokio::test]
async fn an_origin_that_goes_and_comes_back_within_a_batch_is_new() {
    let shelf = Shelf::default();
    let lab = lab(&shelf);
    let life = lab.start(Mode::Continuous).await;
    shelf.add("one", &["a"], true);
    until_delivered(&shelf, 1).await;
    shelf.remove("one");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    shelf.add("one", &["b"], true);
    until_delivered(&shelf, 2).await;
    life.stop().await.unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
    assert_eq!(origins(&lab).await, [("one".into(), 1, true)]);
    lab.start(Mode::Once).await.running.await.unwrap().unwrap();
    assert_eq!(lab.kept.rows(), rows(&["a", "b"]));
}

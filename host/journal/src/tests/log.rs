use std::path::Path;
use std::sync::Arc;

use millstream_model::{BatchTime, Commit, FileEnd, LaneInput, Manifest, OriginRange, Records};
use millstream_platform::{Disk, Fault, FaultyDisk, MemoryDisk, Operation};

use super::{FOLDER, commit, lane, manifest, open};
use crate::{Cut, JournalError, Ledger, Limits, Record, Taken};

fn time(ms: i64) -> BatchTime {
    BatchTime::from_ms(ms)
}

fn direct(ms: i64, ranges: &[(&str, &str, std::ops::Range<u64>)]) -> Manifest {
    let range = |(origin, stamp, records): &(&str, &str, std::ops::Range<u64>)| OriginRange {
        origin: (*origin).to_owned(),
        stamp: (*stamp).to_owned(),
        records: records.clone(),
        finished: stamp.ends_with('!'),
        forgotten: stamp.ends_with('-'),
    };
    let records = Records::Direct(ranges.iter().map(range).collect());
    Manifest { inputs: vec![LaneInput { lane: lane("files"), records }], ..manifest(ms, &[]) }
}

fn folded(records: &[Record]) -> Ledger {
    let mut ledger = Ledger::default();
    records.iter().for_each(|record| ledger.apply(record).unwrap());
    ledger
}

#[test]
fn records_that_contradict_those_before_them_are_refused_and_change_nothing() {
    let a = lane("a");
    let begun = |ms, range| Record::Begin(manifest(ms, &[(&a, range)]));
    let before =
        [begun(10, 0..5), begun(20, 5..5), Record::Begin(direct(30, &[("f", "1", 0..4), ("g", "1!", 0..2)]))];
    let done = [&before[..], &[Record::Commit(commit(10, 5))]].concat();
    let refused: Vec<(&[Record], Record)> = vec![
        (&before, begun(30, 5..6)),
        (&before, begun(40, 4..6)),
        (&before, begun(40, 6..7)),
        (&before, Record::Begin(manifest(40, &[(&a, 5..6), (&a, 5..6)]))),
        (&before, Record::Begin(direct(40, &[("f", "1", 3..5)]))),
        (&before, Record::Begin(direct(40, &[("f", "1", 0..5)]))),
        (&before, Record::Begin(direct(40, &[("g", "1!", 2..3)]))),
        (&before, Record::Begin(direct(40, &[("new", "1", 1..3)]))),
        (&before, Record::Begin(manifest(40, &[(&lane("files"), 0..1)]))),
        (&before, Record::Commit(commit(20, 0))),
        (&before, Record::Published { time: time(10) }),
        (&done, Record::Commit(commit(20, 0))),
        (&done, Record::Published { time: time(20) }),
        (&[], Record::Commit(commit(10, 0))),
    ];
    for (before, record) in refused {
        let mut ledger = folded(before);
        assert!(ledger.apply(&record).is_err(), "{record:?}");
        assert_eq!(ledger, folded(before));
    }
}

#[test]
fn a_ledger_tells_what_was_taken_committed_and_is_needed() {
    let a = lane("a");
    let mut ledger = folded(&[
        Record::Begin(manifest(10, &[(&a, 0..5)])),
        Record::Begin(manifest(20, &[(&a, 5..9)])),
        Record::Commit(Commit {
            accumulators: [("seen".to_owned(), 3)].into(),
            dead_letters: 2,
            dead_letters_end: FileEnd { generation: 0, bytes: 77 },
            ..commit(10, 5)
        }),
    ]);
    assert_eq!(ledger.released()[&a], 0);
    ledger.apply(&Record::Published { time: time(10) }).unwrap();
    assert_eq!(ledger.released()[&a], 5);
    ledger
        .apply(&Record::Commit(Commit { accumulators: [("seen".to_owned(), 4)].into(), ..commit(20, 4) }))
        .unwrap();
    ledger.apply(&Record::Published { time: time(20) }).unwrap();
    assert_eq!(ledger.released()[&a], 9);
    assert_eq!((ledger.batches, ledger.records, ledger.dead_letters), (2, 9, 2));
    assert_eq!(ledger.accumulators["seen"], 7);
    assert_eq!(ledger.dead_letters_end.bytes, 77);
    let json = serde_json::to_string(&ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&json).unwrap(), ledger);
}

#[test]
fn origins_go_on_begin_anew_and_are_forgotten() {
    let ledger = folded(&[
        Record::Begin(direct(10, &[("f", "1", 0..4), ("g", "1!", 0..2), ("h", "1", 0..1)])),
        Record::Begin(direct(20, &[("f", "2", 4..6), ("g", "2", 0..1), ("h", "1-", 1..1)])),
        Record::Begin(direct(30, &[("f", "2!", 6..7), ("f", "3", 0..2), ("h", "9", 0..3)])),
    ]);
    let Cut::Direct { origins } = &ledger.lanes[&lane("files")] else { panic!("a direct lane") };
    let taken = |stamp: &str, records| Taken { stamp: stamp.to_owned(), records, finished: false };
    let expected = [("f", taken("3", 2)), ("g", taken("2", 1)), ("h", taken("9", 3))];
    assert_eq!(*origins, expected.map(|(name, taken)| (name.to_owned(), taken)).into());
}

#[tokio::test]
async fn a_failure_is_counted_until_its_batch_is_committed() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut running = open(&disk, Limits::default()).await.unwrap();
    running.batches.begin(manifest(1, &[])).await.unwrap();
    running.batches.failed(time(1), "trap").await.unwrap();
    running.batches.failed(time(1), "trap").await.unwrap();
    running.stop().await.unwrap();
    let mut running = open(&disk, Limits::default()).await.unwrap();
    let failure = running.batches.ledger().failure.clone().unwrap();
    assert_eq!((failure.time, failure.attempts, failure.error.as_str()), (time(1), 2, "trap"));
    assert_eq!(running.batches.ledger().pending.len(), 1);
    running.batches.commit(commit(1, 0)).await.unwrap();
    assert_eq!(running.batches.ledger().failure, None);
}

#[tokio::test]
async fn only_so_many_segments_are_kept() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let limits = Limits { log_segment_bytes: 400, log_segments_kept: 3, ..Limits::default() };
    let mut running = open(&disk, limits).await.unwrap();
    for ms in 1..50 {
        running.batches.begin(manifest(ms, &[])).await.unwrap();
        running.batches.commit(commit(ms, 1)).await.unwrap();
        running.batches.published(time(ms)).await.unwrap();
    }
    assert_eq!(disk.list(&Path::new(FOLDER).join("log")).await.unwrap().len(), 3);
    let ledger = running.batches.ledger().clone();
    running.stop().await.unwrap();
    let running = open(&disk, limits).await.unwrap();
    assert_eq!(*running.batches.ledger(), Ledger { unpublished: None, ..ledger });
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_the_call_may_be_repeated() {
    for log_segment_bytes in [1 << 20, 1] {
        for room in 0..600 {
            let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 1);
            let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
            let limits = Limits { log_segment_bytes, ..Limits::default() };
            let mut running = open(&disk, limits).await.unwrap();
            faulty.limit_room(room);
            let mut last = 0;
            let mut full = 0;
            while last < 4 {
                let before = running.batches.ledger().clone();
                match running.batches.begin(manifest(last + 1, &[])).await {
                    Ok(()) => last += 1,
                    Err(error) => {
                        assert!(error.is_full(), "{error}");
                        assert_eq!(*running.batches.ledger(), before);
                        full += 1;
                        faulty.limit_room(1 << 20);
                    }
                }
            }
            assert!(room > 300 || full == 1);
            running.stop().await.unwrap();
            let running = open(&disk, limits).await.unwrap();
            assert_eq!(running.batches.ledger().pending.len(), 4);
        }
    }
}

#[tokio::test]
async fn after_a_failed_sync_the_batch_log_refuses_everything_and_says_what_has_failed() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 1);
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let mut running = open(&disk, Limits::default()).await.unwrap();
    faulty.fail(Operation::Sync, 0, Fault::Refused);
    let error = running.batches.begin(manifest(1, &[])).await.unwrap_err();
    assert!(matches!(error, JournalError::Disk { .. }), "{error}");
    let again = running.batches.begin(manifest(1, &[])).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
}

use std::path::Path;
use std::sync::Arc;

use millstream_model::{BatchTime, Manifest, Payload, Records};
use millstream_platform::{Disk, MemoryDisk, Seeded};

use super::{FOLDER, commit, lane, manifest, open};
use crate::{Archive, JournalError, Limits, Verdict, examine, repair};

const LINES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

fn limits(wal_segment_bytes: u64) -> Limits {
    Limits { wal_segment_bytes, log_segment_bytes: 700, log_segments_kept: 3, history_bytes: 1 << 20 }
}

async fn written(limits: Limits) -> MemoryDisk {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut running = open(&disk, limits).await.unwrap();
    for line in LINES {
        running.receive(&lane("a"), &[line]).await;
    }
    for time in 1..=4 {
        let at = time as u64;
        running.batches.begin(manifest(time, &[(&lane("a"), at - 1..at)])).await.unwrap();
        if time < 4 {
            running.batches.commit(commit(time, 1)).await.unwrap();
            running.batches.published(BatchTime::from_ms(time)).await.unwrap();
        }
    }
    running.stop().await.unwrap();
    memory
}

/// The records from `first` on after opening, lost ones as nothing.
async fn records(memory: &MemoryDisk, limits: Limits) -> Result<(u64, Vec<Option<String>>), JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let running = open(&disk, limits).await?;
    let first = running.batches.ledger().released().get(&lane("a")).copied().unwrap_or(0);
    let end = running.wal.end(&lane("a")).map_or(0, |end| end.next);
    let mut records = Vec::new();
    for block in running.wal.read(&lane("a"), first..end).await? {
        match block.payload {
            Payload::Lines(bytes) => {
                records.push(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()))
            }
            Payload::Rejected(_) => records.extend((0..block.rows).map(|_| None)),
            Payload::Rows(_) => unreachable!(),
        }
    }
    running.stop().await?;
    Ok((first, records))
}

async fn check_repairs(wal_segment_bytes: u64) {
    let limits = limits(wal_segment_bytes);
    let whole = written(limits).await;
    let seeded = Seeded::new(3);
    let mut repaired = 0;
    for kind in ["wal", "log"] {
        let folder = Path::new(FOLDER).join(kind);
        for name in whole.list(&folder).await.unwrap() {
            let path = folder.join(&name);
            for byte in (0..whole.length(&path).await.unwrap()).step_by(3) {
                let memory = whole.fork();
                memory.flip_bit(&path, byte * 8 + seeded.below(8)).unwrap();
                let disk: Arc<dyn Disk> = Arc::new(memory.clone());
                let before = memory.read(&path).await.unwrap();
                let report = repair(disk, Path::new(FOLDER)).await.unwrap();
                assert!(
                    !matches!(report.verdict, Verdict::Refused(_)),
                    "{path:?} {byte}: {}",
                    report.verdict
                );
                let file = report.files.iter().find(|file| file.file == path).unwrap();
                let kept = file.kept_as.as_ref().unwrap_or_else(|| panic!("{path:?} {byte}"));
                assert_eq!(memory.read(kept).await.unwrap(), before);
                let (first, found) = records(&memory, limits).await.unwrap();
                let lost = found.iter().filter(|line| line.is_none()).count();
                assert!(
                    lost <= 1 && found.len() + 1 >= LINES.len() - first as usize,
                    "{path:?} {byte}: {found:?}"
                );
                let is_same = |(at, line): (usize, &Option<String>)| {
                    line.as_deref().is_none_or(|line| line == LINES[first as usize + at])
                };
                assert!(found.iter().enumerate().all(is_same), "{path:?} {byte}: {first} {found:?}");
                repaired += 1;
            }
        }
    }
    assert!(repaired > 300);
}

#[tokio::test]
async fn a_journal_of_many_segments_with_a_flipped_bit_is_repaired_with_at_most_one_record_lost() {
    check_repairs(1).await;
}

#[tokio::test]
async fn a_journal_of_few_segments_with_a_flipped_bit_is_repaired_with_at_most_one_record_lost() {
    check_repairs(1 << 20).await;
}

#[tokio::test]
async fn a_missing_segment_is_made_up_for_by_a_note_of_what_is_lost() {
    for missing in 1..=6_u64 {
        let memory = written(limits(1)).await;
        let path = Path::new(FOLDER).join("wal").join(format!("{missing:020}.wal"));
        memory.remove(&path).await.unwrap();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let report = repair(disk, Path::new(FOLDER)).await.unwrap();
        assert!(!matches!(report.verdict, Verdict::Refused(_)), "{missing}: {}", report.verdict);
        records(&memory, limits(1)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_batch_had_taken_whose_beginning_is_lost_is_the_next_ones_unless_it_was_committed() {
    for (committed, left) in [(0, [(0, 2), (2, 6)].as_slice()), (1, &[(2, 6)]), (2, &[(4, 6)]), (3, &[])] {
        let memory = MemoryDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let mut running = open(&disk, Limits::default()).await.unwrap();
        for line in LINES {
            running.receive(&lane("a"), &[line]).await;
        }
        for time in 1..=3 {
            let end = 2 * time as u64;
            running.batches.begin(manifest(time, &[(&lane("a"), end - 2..end)])).await.unwrap();
        }
        for time in 1..=committed {
            running.batches.commit(commit(time, 2)).await.unwrap();
            running.batches.published(BatchTime::from_ms(time)).await.unwrap();
        }
        running.stop().await.unwrap();
        let path = Path::new(FOLDER).join("log/00000000000000000001.log");
        let bytes = memory.read(&path).await.unwrap();
        let second = b"{\"begin\":{\"time\":2,";
        let at = bytes.windows(second.len()).position(|window| window == second).unwrap();
        memory.flip_bit(&path, at as u64 * 8).unwrap();
        let report = repair(Arc::clone(&disk), Path::new(FOLDER)).await.unwrap();
        assert!(report.lost.is_empty(), "{committed}: {:?}", report.lost);
        let running = open(&disk, Limits::default()).await.unwrap();
        let ledger = running.batches.ledger();
        let range = |manifest: &Manifest| match &manifest.inputs[0].records {
            Records::Logged(range) => (range.records.start, range.records.end),
            Records::Direct(_) => unreachable!(),
        };
        assert_eq!(ledger.pending.iter().map(range).collect::<Vec<_>>(), left, "{committed}");
        assert_eq!(ledger.batches, committed as u64);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn examining_writes_nothing_and_tells_whole_from_damaged() {
    let memory = written(limits(1)).await;
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let report = examine(Arc::clone(&disk), Path::new(FOLDER)).await.unwrap();
    assert!(matches!(report.verdict, Verdict::Whole), "{}", report.verdict);
    assert!(report.lost.is_empty() && report.files.iter().all(|file| file.damages.is_empty()));
    let path = Path::new(FOLDER).join("wal/00000000000000000004.wal");
    let length = memory.length(&path).await.unwrap();
    memory.flip_bit(&path, (length - 1) * 8).unwrap();
    let spoiled = memory.read(&path).await.unwrap();
    let report = examine(disk, Path::new(FOLDER)).await.unwrap();
    assert!(matches!(report.verdict, Verdict::Refused(_)), "{}", report.verdict);
    assert_eq!(report.lost, [(lane("a"), 1)]);
    assert_eq!(memory.read(&path).await.unwrap(), spoiled);
}

#[tokio::test]
async fn an_archive_tells_of_old_batches_and_their_records_beside_a_running_host() {
    let memory = written(limits(1)).await;
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let running = open(&disk, limits(1)).await.unwrap();
    running.receive(&lane("a"), &["seven"]).await;
    let archive = Archive::open(Arc::clone(&disk), Path::new(FOLDER)).await.unwrap();
    assert_eq!(archive.ledger(), running.batches.ledger());
    let times: Vec<i64> = archive.batches().map(BatchTime::as_ms).collect();
    assert_eq!(times, [1, 2, 3, 4]);
    let (_, commit) = archive.batch(BatchTime::from_ms(3)).unwrap();
    assert_eq!(commit.unwrap().records, 1);
    assert!(archive.batch(BatchTime::from_ms(4)).unwrap().1.is_none());
    let blocks = archive.read(&lane("a"), 1..7).await.unwrap();
    assert_eq!(super::lines_of(&blocks), ["two", "three", "four", "five", "six", "seven"]);
    let error = archive.read(&lane("a"), 1..8).await.unwrap_err();
    assert!(matches!(error, JournalError::Gone { .. }), "{error}");
    assert_eq!(archive.unprocessed().await.unwrap().into_iter().collect::<Vec<_>>(), [(lane("a"), 3)]);
}

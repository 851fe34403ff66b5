use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_model::{Block, Position};
use millstream_platform::{Disk, Fault, FaultyDisk, MemoryDisk, Operation, SystemDisk};

use super::{commit, lane, lines_block, lines_of, manifest, open};
use crate::{JournalError, LaneEnd, Limits};

fn faulty() -> (FaultyDisk, Arc<dyn Disk>) {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 1);
    (faulty.clone(), Arc::new(faulty))
}

#[tokio::test]
async fn many_blocks_share_one_sync() {
    let (faulty, disk) = faulty();
    let running = open(&disk, Limits::default()).await.unwrap();
    let before = faulty.operations_of(Operation::Sync);
    let mut last = 0;
    for at in 0..1_000 {
        last = running.wal.submit(&lane("a"), at, &lines_block(at, &["line"]));
    }
    running.wal.wait_durable(last).await.unwrap();
    assert_eq!(running.wal.durable(), last);
    let syncs = faulty.operations_of(Operation::Sync) - before;
    assert!(syncs <= 3, "{syncs} syncs");
    let blocks = running.wal.read(&lane("a"), 0..1_000).await.unwrap();
    assert_eq!(lines_of(&blocks).len(), 1_000);
}

#[tokio::test]
async fn exactly_the_records_that_are_asked_for_are_read() {
    let (_, disk) = faulty();
    let running = open(&disk, Limits { wal_segment_bytes: 200, ..Limits::default() }).await.unwrap();
    let all: Vec<String> = (0..30).map(|at| format!("line {at}")).collect();
    for lines in all.chunks(4) {
        running.receive(&lane("a"), &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    for start in 0..30 {
        for end in start..30 {
            let blocks = running.wal.read(&lane("a"), start..end).await.unwrap();
            assert_eq!(lines_of(&blocks), all[start as usize..end as usize]);
            let mut next = start;
            for block in &blocks {
                assert_eq!(block.position.record, next);
                next += block.rows as u64;
            }
        }
    }
    let error = running.wal.read(&lane("a"), 20..31).await.unwrap_err();
    assert!(matches!(error, JournalError::Gone { .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let (faulty, disk) = faulty();
    let running = open(&disk, Limits { wal_segment_bytes: 400, ..Limits::default() }).await.unwrap();
    running.receive(&lane("a"), &["before"]).await;
    for room in [0, 1, 50, 300] {
        faulty.limit_room(room);
        let first = running.wal.end(&lane("a")).unwrap().next;
        let line = "x".repeat(500);
        let entry = running.wal.submit(&lane("a"), first, &lines_block(first, &[&line]));
        while running.wal.trouble().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(running.wal.durable() < entry);
        faulty.limit_room(1 << 20);
        running.clock.advance(Duration::from_secs(10));
        running.wal.wait_durable(entry).await.unwrap();
        assert_eq!(running.wal.trouble(), None);
    }
    running.stop().await.unwrap();
    let running = open(&disk, Limits::default()).await.unwrap();
    assert_eq!(lines_of(&running.wal.read(&lane("a"), 0..5).await.unwrap()).len(), 5);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_becomes_durable_and_only_opening_helps() {
    let (faulty, disk) = faulty();
    let running = open(&disk, Limits::default()).await.unwrap();
    running.receive(&lane("a"), &["safe"]).await;
    faulty.fail(Operation::Sync, 0, Fault::Refused);
    let entry = running.wal.submit(&lane("a"), 1, &lines_block(1, &["doubtful"]));
    assert!(matches!(running.wal.wait_durable(entry).await, Err(JournalError::Disk { .. })));
    let syncs = faulty.operations_of(Operation::Sync);
    let later = running.wal.submit(&lane("a"), 2, &lines_block(2, &["late"]));
    assert!(running.wal.wait_durable(later).await.is_err());
    assert_eq!(running.wal.durable(), 1);
    assert_eq!(faulty.operations_of(Operation::Sync), syncs, "a failed sync is not tried again");
    assert!(running.stop().await.is_err());
    let running = open(&disk, Limits::default()).await.unwrap();
    assert_eq!(lines_of(&running.wal.read(&lane("a"), 0..1).await.unwrap()), ["safe"]);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nobody_waiting() {
    let (_, disk) = faulty();
    let running = open(&disk, Limits::default()).await.unwrap();
    running.writer.abort();
    tokio::task::yield_now().await;
    let entry = running.wal.submit(&lane("a"), 0, &lines_block(0, &["line"]));
    assert!(matches!(running.wal.wait_durable(entry).await, Err(JournalError::Closed)));
}

#[tokio::test]
async fn segments_go_once_nobody_needs_them_and_the_lanes_still_go_on() {
    let (_, disk) = faulty();
    let limits = Limits { wal_segment_bytes: 1, history_bytes: 300, ..Limits::default() };
    let mut running = open(&disk, limits).await.unwrap();
    for at in 0..10 {
        let block = Block {
            resume: Some(Bytes::from(vec![at])),
            ..lines_block(at.into(), &["a line of some length"])
        };
        let entry = running.wal.submit(&lane("a"), at.into(), &block);
        running.wal.wait_durable(entry).await.unwrap();
    }
    let all = running.wal.bytes();
    // Let go by whoever runs batches, and still needed by the batch log.
    running.wal.release(&lane("a"), 10);
    running.wal.clean().await.unwrap();
    assert_eq!(running.wal.bytes(), all);
    running.batches.begin(manifest(1, &[(&lane("a"), 0..10)])).await.unwrap();
    running.batches.commit(commit(1, 10)).await.unwrap();
    running.batches.published(millstream_model::BatchTime::from_ms(1)).await.unwrap();
    running.wal.clean().await.unwrap();
    assert_eq!(running.wal.bytes(), all, "that the batch is published is not on disk yet");
    running.batches.begin(manifest(2, &[])).await.unwrap();
    running.wal.clean().await.unwrap();
    assert!(running.wal.bytes() < all && running.wal.bytes() > 300, "{}", running.wal.bytes());
    assert_eq!(running.wal.unreleased(), []);
    running.stop().await.unwrap();
    for _ in 0..2 {
        let running = open(&disk, limits).await.unwrap();
        let end = LaneEnd { next: 10, resume: Some(Bytes::from(vec![9])) };
        assert_eq!(running.wal.end(&lane("a")), Some(end));
        assert_eq!(running.wal.unreleased(), []);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_no_batch_has_taken_is_found_again() {
    let (_, disk) = faulty();
    let mut running = open(&disk, Limits::default()).await.unwrap();
    running.receive(&lane("a"), &["1", "2", "3"]).await;
    running.receive(&lane("b"), &["4"]).await;
    running.batches.begin(manifest(1, &[(&lane("a"), 0..1)])).await.unwrap();
    running.batches.commit(commit(1, 1)).await.unwrap();
    running.batches.published(millstream_model::BatchTime::from_ms(1)).await.unwrap();
    running.batches.begin(manifest(2, &[])).await.unwrap();
    running.stop().await.unwrap();
    let running = open(&disk, Limits::default()).await.unwrap();
    let found: Vec<_> = running.wal.unreleased();
    let ranges: Vec<_> = found
        .iter()
        .flat_map(|(lane, all)| all.iter().map(|one| (lane.clone(), one.records.clone())))
        .collect();
    assert_eq!(ranges, [(lane("a"), 1..3), (lane("b"), 0..1)]);
}

#[tokio::test]
#[should_panic(expected = "without gaps")]
async fn a_gap_in_the_numbers_of_a_lane_is_a_mistake_of_the_caller() {
    let (_, disk) = faulty();
    let running = open(&disk, Limits::default()).await.unwrap();
    running.wal.submit(&lane("a"), 1, &lines_block(1, &["line"]));
}

#[tokio::test]
async fn a_record_that_is_too_large_becomes_a_dead_letter_and_a_large_block_is_divided() {
    let (_, disk) = faulty();
    let running = open(&disk, Limits::default()).await.unwrap();
    let huge = Bytes::from(vec![b'x'; 65 << 20]);
    let position = Position { origin: "peer".into(), record: 0 };
    running.wal.submit(&lane("a"), 0, &Block::lines(huge, 1, position));
    let line = "y".repeat(30 << 20);
    let entry = running.wal.submit(&lane("a"), 1, &lines_block(1, &[&line, &line, &line]));
    running.wal.wait_durable(entry).await.unwrap();
    let blocks = running.wal.read(&lane("a"), 0..4).await.unwrap();
    assert!(matches!(blocks[0].payload, millstream_model::Payload::Rejected(_)));
    assert_eq!(lines_of(&blocks[1..]), [line.as_str(), &line, &line]);
}

#[tokio::test]
async fn the_machines_own_disk_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(millstream_platform::ManualClock::new(0));
    for life in 0..3 {
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let path = folder.path().join("deep/checkpoint");
        let journal = crate::Journal::open(disk, clock.clone(), &path, Limits::default()).await.unwrap();
        let writer = tokio::spawn(journal.writer.run());
        let entry = journal.wal.submit(&lane("a"), life, &lines_block(life, &["line"]));
        journal.wal.wait_durable(entry).await.unwrap();
        assert_eq!(
            lines_of(&journal.wal.read(&lane("a"), 0..life + 1).await.unwrap()).len() as u64,
            life + 1
        );
        drop((journal.wal, journal.batches));
        writer.await.unwrap().unwrap();
    }
}

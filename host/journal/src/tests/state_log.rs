use std::path::Path;
use std::sync::Arc;

use millstream_model::BatchTime;
use millstream_platform::{Disk, MemoryDisk, Randomness, Seeded};

use super::FOLDER;
use super::codec::some_rows;
use crate::{
    Appended, JournalError, Operation, Operations, ShardSnapshot, SnapshotPart, StateEnd, StateFiles,
    StateLog, StateRecord, StateRecords, StateStart,
};

fn at(ms: i64) -> BatchTime {
    BatchTime::from_ms(ms)
}

fn files(memory: &MemoryDisk) -> StateFiles {
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    StateFiles::new(&disk, Path::new(FOLDER), 0)
}

async fn open(memory: &MemoryDisk, end: Option<StateEnd>, segment_bytes: u64) -> (StateFiles, StateLog) {
    files(memory).settle(end, &[], segment_bytes).await.unwrap()
}

/// A record that gives one key a state.
fn put(time: i64, key: &str) -> StateRecords {
    let mut operations = Operations::default();
    operations.put(key.as_bytes(), b"state");
    let mut records = StateRecords::default();
    records.keyed(1, at(time), [(3, &operations)].into_iter()).unwrap();
    records
}

async fn append(log: &mut StateLog, from: Option<StateEnd>, records: &StateRecords) -> Appended {
    let start = move || StateStart { before: from, ..StateStart::default() };
    log.append(from, &start, records).await.unwrap()
}

/// The keys that the segments give a state.
async fn keys(files: &StateFiles, end: StateEnd) -> Vec<String> {
    let mut keys = Vec::new();
    for number in 1..=end.segment {
        let segment =
            files.read_segment(number, (number == end.segment).then_some(end.offset)).await.unwrap();
        for record in segment.records() {
            let (_, StateRecord::Keyed { shards, .. }) = record.unwrap() else {
                panic!("only keys are written")
            };
            for operation in shards.iter().flat_map(|(_, bytes)| Operations::read(bytes)) {
                let Ok(Operation::Put { key, .. }) = operation else { panic!("{operation:?}") };
                keys.push(String::from_utf8(key.to_vec()).unwrap());
            }
        }
    }
    keys
}

#[test]
fn operations_are_read_as_they_were_made() {
    for seed in Seeded::seeds(0..200) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let bytes = |length_max| -> Vec<u8> {
            (0..seeded.below(length_max)).map(|_| seeded.next_u64() as u8).collect()
        };
        let made: Vec<(u64, Vec<u8>, Vec<u8>, u64)> = (0..seeded.below(30))
            .map(|_| (seeded.below(4), bytes(200), bytes(20_000), seeded.next_u64() >> seeded.below(64)))
            .collect();
        let mut operations = Operations::default();
        for (kind, key, state, later_ms) in &made {
            match kind {
                0 => operations.put(key, state),
                1 => operations.remove(key),
                2 => operations.touch(key),
                _ => operations.entry(key, state, *later_ms),
            }
        }
        let expected = made.iter().map(|(kind, key, state, later_ms)| match kind {
            0 => Operation::Put { key, state },
            1 => Operation::Remove { key },
            2 => Operation::Touch { key },
            _ => Operation::Entry { key, state, later_ms: *later_ms },
        });
        assert!(operations.iter().map(Result::unwrap).eq(expected));
        // And whatever else is read ends.
        let mut spoiled = operations.into_bytes();
        for _ in 0..20.min(spoiled.len()) {
            let place = seeded.below(spoiled.len() as u64) as usize;
            spoiled[place] = seeded.next_u64() as u8;
            assert!(Operations::read(&spoiled).count() <= spoiled.len());
        }
    }
}

#[tokio::test]
async fn what_is_behind_the_last_commit_is_cut_off() {
    for segment_bytes in [1, 1 << 20] {
        let memory = MemoryDisk::new();
        let (_, mut log) = open(&memory, None, segment_bytes).await;
        let first = append(&mut log, None, &put(1, "first")).await.end;
        append(&mut log, Some(first), &put(2, "failed")).await;
        let second = append(&mut log, Some(first), &put(3, "second")).await.end;
        append(&mut log, Some(second), &put(4, "unfinished")).await;
        memory.kill();
        let (files, mut log) = open(&memory, Some(second), segment_bytes).await;
        assert_eq!(keys(&files, second).await, ["first", "second"]);
        let third = append(&mut log, Some(second), &put(5, "third")).await.end;
        assert_eq!(keys(&files, third).await, ["first", "second", "third"]);
    }
}

#[tokio::test]
async fn rows_of_panes_are_read_from_their_places() {
    let memory = MemoryDisk::new();
    let (files, mut log) = open(&memory, None, 1).await;
    let rows = some_rows(&Seeded::new(1), 100);
    let mut records = StateRecords::default();
    records.pane(7, at(1), &rows).unwrap();
    records.expire(7, at(0));
    let appended = append(&mut log, None, &records).await;
    let [pane] = appended.panes[..] else { panic!("{appended:?}") };
    assert_eq!(files.read_pane(7, at(1), &pane.place).await.unwrap(), rows);
    for (table, time) in [(8, at(1)), (7, at(2))] {
        let error = files.read_pane(table, time, &pane.place).await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
    let segment = files.read_segment(1, None).await.unwrap();
    let read: Vec<StateRecord> = segment.records().map(|record| record.unwrap().1).collect();
    let expected =
        [StateRecord::Pane { table: 7, time: at(1) }, StateRecord::Expire { table: 7, before: at(0) }];
    assert_eq!(read, expected);
}

#[tokio::test]
async fn what_is_larger_than_a_frame_is_written_in_several() {
    let mut operations = Operations::default();
    for key in 0..40_u32 {
        operations.put(&key.to_le_bytes(), &vec![key as u8; 1 << 20]);
    }
    let mut records = StateRecords::default();
    records.keyed(1, at(1), [(0, &operations), (5, &operations)].into_iter()).unwrap();
    let memory = MemoryDisk::new();
    let (files, mut log) = open(&memory, None, 1).await;
    append(&mut log, None, &records).await;
    let segment = files.read_segment(1, None).await.unwrap();
    let mut read = [Vec::new(), Vec::new()];
    for record in segment.records() {
        let (_, StateRecord::Keyed { shards, .. }) = record.unwrap() else { panic!("only keys are written") };
        for (shard, bytes) in shards {
            read[usize::from(shard == 5)].extend_from_slice(&bytes);
        }
    }
    let expected = operations.into_bytes();
    assert!(read.iter().all(|bytes| *bytes == expected));
    let mut oversized = Operations::default();
    oversized.put(b"key", &vec![0; 60 << 20]);
    assert!(StateRecords::default().keyed(1, at(1), [(0, &oversized)].into_iter()).is_err());
}

#[tokio::test]
async fn a_snapshot_is_read_as_it_was_written_and_refused_when_it_is_cut() {
    let memory = MemoryDisk::new();
    let (files, _) = open(&memory, None, 1).await;
    let shards: Vec<ShardSnapshot> = (0..3_u32)
        .map(|shard| {
            let mut entries = Operations::default();
            for key in 0..shard {
                entries.entry(&key.to_le_bytes(), &vec![9; 9 << 20], 5);
            }
            let as_of = StateEnd { segment: 1, offset: 2, ..StateEnd::default() };
            let bytes = entries.bytes() as u64;
            let part = SnapshotPart { table: 4, shard, as_of, since_ms: -1, keys: shard.into(), bytes };
            ShardSnapshot { part, entries: entries.into_bytes().into() }
        })
        .collect();
    files.write_snapshot(8, &shards).await.unwrap();
    assert_eq!(files.snapshot_numbers().await.unwrap(), [8]);
    let parts: Vec<SnapshotPart> = shards.iter().map(|shard| shard.part).collect();
    assert_eq!(files.snapshot_parts(8).await.unwrap(), parts);
    let read = files.read_snapshot(8).await.unwrap();
    assert!(read.iter().map(|shard| &shard.entries).eq(shards.iter().map(|shard| &shard.entries)));
    let path = files.snapshot_file(8);
    let length = memory.length(&path).await.unwrap();
    for cut in [length - 1, 24, 10] {
        let torn = memory.fork();
        torn.truncate(&path, cut).await.unwrap();
        let error = self::files(&torn).read_snapshot(8).await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
    memory.append(&path).await.unwrap().append(vec!["more".into()]).await.unwrap();
    assert!(matches!(files.read_snapshot(8).await, Err(JournalError::Damaged { .. })));
}

#[test]
fn an_end_of_the_first_generation_is_written_as_when_there_was_one_alone() {
    let first = StateEnd { segment: 2, offset: 7, ..StateEnd::default() };
    let later = StateEnd { generation: 3, ..first };
    for (end, json) in
        [(first, r#"{"segment":2,"offset":7}"#), (later, r#"{"generation":3,"segment":2,"offset":7}"#)]
    {
        assert_eq!(serde_json::to_string(&end).unwrap(), json);
        assert_eq!(serde_json::from_str::<StateEnd>(json).unwrap(), end);
    }
}

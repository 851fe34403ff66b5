use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::BatchTime;
use millstream_platform::{Disk, MemoryDisk, Seeded};

use super::{FOLDER, commit, lane, lines_of, manifest, open};
use crate::{JournalError, Ledger, Limits};

const LINES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// Segments so small that each group has its own.
fn tiny() -> Limits {
    Limits { wal_segment_bytes: 1, log_segment_bytes: 700, log_segments_kept: 3, history_bytes: 0 }
}

fn file(kind: &str, number: u64) -> PathBuf {
    Path::new(FOLDER).join(kind).join(format!("{number:020}.{kind}"))
}

/// A disk with a journal on it that ended well: six lines, one group each, and some batches.
async fn written(limits: Limits) -> (MemoryDisk, Ledger) {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut running = open(&disk, limits).await.unwrap();
    for line in LINES {
        running.receive(&lane("a"), &[line]).await;
    }
    for time in 1..=3 {
        running.batches.begin(manifest(time, &[(&lane("a"), 0..0)])).await.unwrap();
        running.batches.commit(commit(time, 0)).await.unwrap();
        running.batches.published(BatchTime::from_ms(time)).await.unwrap();
    }
    running.batches.begin(manifest(4, &[(&lane("a"), 0..2)])).await.unwrap();
    let ledger = running.batches.ledger().clone();
    running.stop().await.unwrap();
    (memory, ledger)
}

/// What a journal says after opening: its ledger and the lines of lane `a`.
async fn reopened(memory: &MemoryDisk, limits: Limits) -> Result<(Ledger, Vec<String>), JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let running = open(&disk, limits).await?;
    let end = running.wal.end(&lane("a")).map_or(0, |end| end.next);
    let lines = lines_of(&running.wal.read(&lane("a"), 0..end).await?);
    let ledger = running.batches.ledger().clone();
    running.stop().await?;
    Ok((ledger, lines))
}

async fn files(memory: &MemoryDisk, kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(FOLDER).join(kind);
    memory.list(&folder).await.unwrap().iter().map(|name| folder.join(name)).collect()
}

#[tokio::test]
async fn a_write_ahead_log_torn_at_any_byte_keeps_what_is_whole() {
    let limits = Limits::default();
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let running = open(&disk, limits).await.unwrap();
    let mut ends = Vec::new();
    for line in LINES {
        running.receive(&lane("a"), &[line]).await;
        ends.push(running.wal.bytes());
    }
    running.stop().await.unwrap();
    for length in 0..memory.length(&file("wal", 1)).await.unwrap() {
        let torn = memory.fork();
        torn.truncate(&file("wal", 1), length).await.unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count();
        let (_, lines) = reopened(&torn, limits).await.unwrap();
        assert_eq!(lines, LINES[..whole], "cut to {length} bytes");
        // And it goes on from there, with nothing left of the cut.
        let disk: Arc<dyn Disk> = Arc::new(torn.clone());
        let running = open(&disk, limits).await.unwrap();
        running.receive(&lane("a"), &["new"]).await;
        running.stop().await.unwrap();
        let (_, lines) = reopened(&torn, limits).await.unwrap();
        assert_eq!(lines, [&LINES[..whole], &["new"]].concat());
    }
}

#[tokio::test]
async fn a_batch_log_torn_at_any_byte_keeps_what_is_whole() {
    let limits = Limits { log_segment_bytes: 1 << 20, ..tiny() };
    let (memory, ledger) = written(limits).await;
    let path = file("log", 1);
    let mut found = Vec::new();
    for length in 0..=memory.length(&path).await.unwrap() {
        let torn = memory.fork();
        torn.truncate(&path, length).await.unwrap();
        match reopened(&torn, limits).await {
            Ok((ledger, _)) => found.push((ledger.batches, ledger.last)),
            // Its beginning was on disk before it had its name.
            Err(error) => {
                assert!(matches!(error, JournalError::Damaged { .. }) && found.is_empty(), "{error}")
            }
        }
    }
    assert!(found.is_sorted(), "{found:?}");
    found.dedup();
    assert_eq!(found.len(), 8, "each begin and each commit is there or not: {found:?}");
    assert_eq!(found.last(), Some(&(ledger.batches, ledger.last)));
}

/// A flipped bit is noticed wherever it is: opening is refused with the file and a place at or before the bit, or all
/// is there nevertheless.
async fn check_flips(limits: Limits, kind: &str, mut may_be_lost: impl FnMut(&Path, u64) -> bool) {
    let (memory, ledger) = written(limits).await;
    let seeded = Seeded::new(7);
    let mut refused = 0;
    for path in files(&memory, kind).await {
        for byte in 0..memory.length(&path).await.unwrap() {
            let flipped = memory.fork();
            flipped.flip_bit(&path, byte * 8 + seeded.below(8)).unwrap();
            match reopened(&flipped, limits).await {
                Ok(found) if found == (ledger.clone(), LINES.map(str::to_owned).to_vec()) => {}
                Ok(found) => assert!(may_be_lost(&path, byte), "{path:?} byte {byte}: {found:?}"),
                Err(JournalError::Damaged { file, offset, .. }) => {
                    assert_eq!(file, path);
                    assert!(offset <= byte, "{offset} {byte}");
                    refused += 1;
                }
                Err(error) => panic!("{path:?} byte {byte}: {error}"),
            }
        }
    }
    assert!(refused > 100, "only {refused} were refused");
}

#[tokio::test]
async fn a_flipped_bit_in_any_segment_of_the_write_ahead_log_is_refused() {
    // The newest segment is full, so that no mark is behind its last group.
    let newest = file("wal", 6);
    check_flips(tiny(), "wal", |path, _| path == newest).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_only_segment_of_the_write_ahead_log_is_refused() {
    check_flips(Limits { wal_segment_bytes: 1 << 20, ..tiny() }, "wal", |_, _| false).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_batch_log_is_refused_or_made_up_for() {
    let (memory, _) = written(tiny()).await;
    let newest = files(&memory, "log").await.pop().unwrap();
    let bytes = memory.read(&newest).await.unwrap();
    // Nothing says yet that the last group was on disk: that a batch is published, and the next one's manifest.
    let last = last_frames(&bytes, 2);
    check_flips(tiny(), "log", |path, byte| path == newest && byte >= last).await;
}

/// Where the last `count` frames begin.
fn last_frames(bytes: &Bytes, count: usize) -> u64 {
    let marker = &bytes[24..28];
    let mut found: Vec<usize> = (24..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == marker).collect();
    found.drain(..found.len() - count);
    found[0] as u64
}

#[tokio::test]
async fn a_missing_segment_in_the_middle_or_in_front_is_refused() {
    for missing in 1..=5 {
        let (memory, _) = written(tiny()).await;
        memory.remove(&file("wal", missing)).await.unwrap();
        let error = reopened(&memory, tiny()).await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn batches_whose_records_are_missing_altogether_are_refused() {
    let (memory, _) = written(tiny()).await;
    for number in 1..=6 {
        memory.remove(&file("wal", number)).await.unwrap();
    }
    let error = reopened(&memory, tiny()).await.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn segments_that_were_swapped_are_refused() {
    for (kind, one, other) in [("wal", 2, 3), ("log", 2, 3)] {
        let (memory, _) = written(tiny()).await;
        let (one, other) = (file(kind, one), file(kind, other));
        memory.rename(&one, Path::new("aside")).await.unwrap();
        memory.rename(&other, &one).await.unwrap();
        memory.rename(Path::new("aside"), &other).await.unwrap();
        let error = reopened(&memory, tiny()).await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    for (kind, mark) in [("wal", b"wal "), ("log", b"log ")] {
        let (memory, _) = written(Limits::default()).await;
        let path = file(kind, 1);
        let mut header = [b"MLST".as_slice(), mark, &2_u32.to_le_bytes(), &1_u64.to_le_bytes()].concat();
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        overwrite(&memory, &path, &[&header, b"whatever comes then".as_slice()].concat()).await;
        let error = reopened(&memory, Limits::default()).await.unwrap_err();
        assert!(matches!(error, JournalError::Newer { format: 2, newest: 1, .. }), "{error}");
        assert_eq!(memory.read(&path).await.unwrap()[..24], header);
    }
}

async fn overwrite(memory: &MemoryDisk, path: &Path, bytes: &[u8]) {
    memory.remove(path).await.unwrap();
    let mut file = memory.create(path).await.unwrap();
    file.append(vec![Bytes::copy_from_slice(bytes)]).await.unwrap();
    file.sync().await.unwrap();
}

#[tokio::test]
async fn any_bytes_in_any_file_open_or_are_refused() {
    let (memory, _) = written(tiny()).await;
    for seed in Seeded::seeds(0..300) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let spoiled = memory.fork();
        let kind = ["wal", "log"][seeded.below(2) as usize];
        let paths = files(&spoiled, kind).await;
        let path = &paths[seeded.below(paths.len() as u64) as usize];
        let mut bytes = spoiled.read(path).await.unwrap().to_vec();
        seeded.spoil(&mut bytes);
        overwrite(&spoiled, path, &bytes).await;
        if let Err(error) = reopened(&spoiled, tiny()).await {
            assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        }
    }
}

use std::path::{Path, PathBuf};

use bytes::Bytes;
use millstream_journal::JournalError;
use millstream_platform::{Disk, MemoryDisk, Seeded};

use super::{FOLDER, all, all_panes, at, commit, numbers, open, put, rows, words};
use crate::{Change, Limits, StateEnd, StateError, Store};

type Content = (Vec<(String, i64, i64)>, Vec<(i64, Vec<i64>)>);

/// A disk with states on it of so many batches, where they end, and what they are.
struct Written {
    memory: MemoryDisk,
    end: StateEnd,
    content: Content,
    limits: Limits,
}

fn content(store: &Store) -> Content {
    let (table, panes) =
        (store.keyed("running", words()).unwrap(), store.panes("recent", numbers()).unwrap());
    (all(&table), all_panes(&panes))
}

async fn written(batches: i64, limits: Limits) -> Written {
    let memory = MemoryDisk::new();
    let store = open(&memory, limits, None).await.unwrap();
    content(&store);
    let table = store.keyed("running", words()).unwrap();
    let mut end = None;
    for time in 1..=batches {
        let mut change = Change::new(at(time));
        for word in 0..3 {
            put(&mut change, &table, &((time * 3 + word) % 70).to_string(), time);
        }
        change.keyed("running").touch(&super::key_of(&table, "5"));
        change.panes("recent").add(&rows(&[time, -time]));
        change.panes("recent").drop_before(at(time - 3));
        end = commit(&store, change).await;
        store.maintain().await.unwrap();
    }
    let content = content(&store);
    memory.kill();
    Written { memory, end: end.unwrap(), content, limits }
}

/// Few batches in small files; not every shard has a snapshot.
fn small() -> Limits {
    Limits { log_segment_bytes: 3_000, snapshot_every: 2, snapshot_bytes_min: 1, ..Limits::default() }
}

/// So many batches that every shard has two snapshots.
async fn long() -> Written {
    let limits = Limits { log_segment_bytes: 4_000, snapshot_every: 1, snapshot_bytes_min: 6_000, ..small() };
    written(150, limits).await
}

impl Written {
    async fn files(&self, extension: &str) -> Vec<PathBuf> {
        let folder = Path::new(FOLDER).join("state");
        let names = self.memory.list(&folder).await.unwrap();
        names.iter().filter(|name| name.ends_with(extension)).map(|name| folder.join(name)).collect()
    }

    async fn reopened(&self, memory: &MemoryDisk) -> Result<Content, StateError> {
        open(memory, self.limits, Some(self.end)).await.map(|store| content(&store))
    }

    /// What was damaged is refused, with a file and a place, or does no harm.
    async fn check(&self, memory: &MemoryDisk, what: &str) -> bool {
        match self.reopened(memory).await {
            Ok(found) => assert_eq!(found, self.content, "{what}"),
            Err(error) => {
                assert!(
                    matches!(error, StateError::Journal(JournalError::Damaged { .. })),
                    "{what}: {error}"
                );
                return false;
            }
        }
        true
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_or_does_no_harm() {
    let written = written(5, small()).await;
    let seeded = Seeded::new(7);
    let (mut refused, mut harmless) = (0, 0);
    for extension in [".state", ".snapshot"] {
        for path in written.files(extension).await {
            for byte in 0..written.memory.length(&path).await.unwrap() {
                let flipped = written.memory.fork();
                flipped.flip_bit(&path, byte * 8 + seeded.below(8)).unwrap();
                match written.check(&flipped, &format!("{path:?} byte {byte}")).await {
                    true => harmless += 1,
                    false => refused += 1,
                }
            }
        }
    }
    assert!(refused > 1_000 && harmless > 500, "{refused} were refused and {harmless} harmless");
}

#[tokio::test]
async fn one_damaged_or_missing_snapshot_does_no_harm() {
    let written = long().await;
    let files = written.files(".snapshot").await;
    assert!(files.len() > 1, "{files:?}");
    for path in &files {
        let bytes = written.memory.read(path).await.unwrap();
        for place in [0, 30, 200, bytes.len() as u64 - 1] {
            let flipped = written.memory.fork();
            flipped.flip_bit(path, place * 8).unwrap();
            assert!(written.check(&flipped, &format!("{path:?} byte {place}")).await);
        }
        let without = written.memory.fork();
        without.remove(path).await.unwrap();
        assert!(written.check(&without, &format!("without {path:?}")).await);
    }
}

#[tokio::test]
async fn without_any_snapshot_that_can_be_read_one_of_them_is_named() {
    let written = long().await;
    let files = written.files(".snapshot").await;
    for path in &files {
        written.memory.flip_bit(path, 300 * 8).unwrap();
    }
    let error = written.reopened(&written.memory).await.unwrap_err();
    let StateError::Journal(JournalError::Damaged { file, .. }) = &error else { panic!("{error}") };
    assert!(files.contains(file), "{error}");
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let written = long().await;
    let files = written.files(".state").await;
    assert!(files.len() > 3, "{files:?}");
    let mut refused = 0;
    for path in &files {
        let without = written.memory.fork();
        without.remove(path).await.unwrap();
        refused += usize::from(!written.check(&without, &format!("without {path:?}")).await);
    }
    // The first ones may be kept for the older snapshots only.
    assert!(refused >= 2, "{refused} of {} were refused", files.len());
}

#[tokio::test]
async fn a_log_that_ends_before_the_last_commit_is_refused() {
    let written = written(8, small()).await;
    let newest = written.files(".state").await.pop().unwrap();
    let torn = written.memory.fork();
    torn.truncate(&newest, written.end.offset - 1).await.unwrap();
    assert!(!written.check(&torn, "cut").await);
    for end in [
        StateEnd { offset: written.end.offset - 1, ..written.end },
        StateEnd { segment: written.end.segment + 1, offset: 100, ..written.end },
        StateEnd { offset: 0, ..written.end },
    ] {
        let error = open(&written.memory.fork(), written.limits, Some(end)).await.unwrap_err();
        assert!(matches!(error, StateError::Journal(JournalError::Damaged { .. })), "{error}");
    }
}

#[tokio::test]
async fn states_of_many_commits_are_not_taken_for_states_of_none() {
    let written = long().await;
    let error = open(&written.memory, written.limits, None).await.unwrap_err();
    assert!(matches!(error, StateError::Journal(JournalError::Damaged { .. })), "{error}");
    assert!(written.check(&written.memory, "nothing was removed").await);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    for (extension, mark) in [(".state", b"stat"), (".snapshot", b"snap")] {
        let written = long().await;
        let path = written.files(extension).await.pop().unwrap();
        let bytes = written.memory.read(&path).await.unwrap();
        let mut header = [b"MLST".as_slice(), mark, &9_u32.to_le_bytes(), &bytes[12..20]].concat();
        header.extend_from_slice(&crc32(&header).to_le_bytes());
        overwrite(&written.memory, &path, &[&header, b"whatever comes then".as_slice()].concat()).await;
        let error = written.reopened(&written.memory).await.unwrap_err();
        assert!(matches!(error, StateError::Journal(JournalError::Newer { format: 9, .. })), "{error}");
        assert_eq!(written.memory.read(&path).await.unwrap()[..24], header);
    }
}

#[tokio::test]
async fn any_bytes_in_any_file_open_or_are_refused() {
    let written = written(8, small()).await;
    for seed in Seeded::seeds(0..300) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let spoiled = written.memory.fork();
        let paths = written.files(["state", "snapshot"][seeded.below(2) as usize]).await;
        let path = &paths[seeded.below(paths.len() as u64) as usize];
        let mut bytes = spoiled.read(path).await.unwrap().to_vec();
        seeded.spoil(&mut bytes);
        overwrite(&spoiled, path, &bytes).await;
        written.check(&spoiled, &format!("{path:?}")).await;
    }
}

async fn overwrite(memory: &MemoryDisk, path: &Path, bytes: &[u8]) {
    memory.remove(path).await.unwrap();
    let mut file = memory.create(path).await.unwrap();
    file.append(vec![Bytes::copy_from_slice(bytes)]).await.unwrap();
    file.sync().await.unwrap();
}

/// The checksum of headers, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

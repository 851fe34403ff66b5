//! Files of format 1 as they were written once. What is checked in under `fixture` must be readable for ever;
//! `MILLSTREAM_WRITE_FIXTURE=1 cargo test -p millstream-journal fixture` writes it anew, which only a new format may do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{BatchTime, Block, Payload, Position};
use millstream_platform::{Disk, MemoryDisk, Seeded};

use super::codec::some_rows;
use super::{FOLDER, commit, lane, lines_block, lines_of, manifest, open};
use crate::Limits;

/// Each group of entries has a segment of its own.
const LIMITS: Limits =
    Limits { wal_segment_bytes: 1, log_segment_bytes: 1 << 20, log_segments_kept: 4, history_bytes: 1 << 20 };
/// Whether another version of Arrow writes the same columns is not for us to say.
const SAME_BYTES: [&str; 3] =
    ["log/00000000000000000001.log", "wal/00000000000000000001.wal", "wal/00000000000000000002.wal"];
const COLUMNS: &str = "wal/00000000000000000003.wal";

fn checked_in(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixture").join(name)
}

async fn written() -> MemoryDisk {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut running = open(&disk, LIMITS).await.unwrap();
    let position = || Position { origin: "peer".into(), record: 9 };
    let lines = Block { resume: Some(Bytes::from("offset 2")), ..lines_block(0, &["one", "two"]) };
    let rejected = Block::rejected("no UTF-8", Bytes::from(vec![0xFF, 0x00]), position());
    let payload = Payload::Rows(some_rows(&Seeded::new(1), 5));
    let columns = Block { payload, rows: 5, position: position(), resume: None };
    for (source, block) in [("lines", lines), ("rejected", rejected), ("columns", columns)] {
        let entry = running.wal.submit(&lane(source), 0, &block);
        running.wal.wait_durable(entry).await.unwrap();
    }
    running.batches.begin(manifest(1_000, &[(&lane("lines"), 0..1)])).await.unwrap();
    running.batches.commit(commit(1_000, 1)).await.unwrap();
    running.batches.published(BatchTime::from_ms(1_000)).await.unwrap();
    running.batches.begin(manifest(2_000, &[(&lane("lines"), 1..2)])).await.unwrap();
    running.batches.failed(BatchTime::from_ms(2_000), "trap").await.unwrap();
    running.stop().await.unwrap();
    memory
}

#[tokio::test]
async fn the_fixture_is_what_is_written_today() {
    let memory = written().await;
    for name in SAME_BYTES.into_iter().chain([COLUMNS]) {
        let bytes = memory.read(&Path::new(FOLDER).join(name)).await.unwrap();
        if std::env::var_os("MILLSTREAM_WRITE_FIXTURE").is_some() {
            std::fs::create_dir_all(checked_in(name).parent().unwrap()).unwrap();
            std::fs::write(checked_in(name), &bytes).unwrap();
        }
        if name != COLUMNS {
            assert!(std::fs::read(checked_in(name)).unwrap() == bytes, "{name} is written in another form");
        }
    }
}

#[tokio::test]
async fn the_fixture_can_be_read() {
    let memory = MemoryDisk::new();
    for name in SAME_BYTES.into_iter().chain([COLUMNS]) {
        let path = Path::new(FOLDER).join(name);
        memory.create_folder(path.parent().unwrap()).await.unwrap();
        let bytes = std::fs::read(checked_in(name)).unwrap();
        memory.create(&path).await.unwrap().append(vec![bytes.into()]).await.unwrap();
    }
    let disk: Arc<dyn Disk> = Arc::new(memory);
    let running = open(&disk, LIMITS).await.unwrap();
    let ledger = running.batches.ledger();
    assert_eq!((ledger.batches, ledger.pending.len()), (1, 1));
    assert_eq!(ledger.failure.as_ref().unwrap().error, "trap");
    assert_eq!(lines_of(&running.wal.read(&lane("lines"), 0..2).await.unwrap()), ["one", "two"]);
    let end = running.wal.end(&lane("lines")).unwrap();
    assert_eq!((end.next, end.resume), (2, Some(Bytes::from("offset 2"))));
    let rejected = running.wal.read(&lane("rejected"), 0..1).await.unwrap();
    let Payload::Rejected(found) = &rejected[0].payload else { panic!("{rejected:?}") };
    assert_eq!((found.error.as_str(), &found.record[..]), ("no UTF-8", &[0xFF, 0x00][..]));
    let columns = running.wal.read(&lane("columns"), 0..5).await.unwrap();
    let Payload::Rows(found) = &columns[0].payload else { panic!("{columns:?}") };
    assert_eq!(*found, some_rows(&Seeded::new(1), 5));
}

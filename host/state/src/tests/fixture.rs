//! Files of format 1 as they were written once. What is checked in under `fixture` must be readable for ever;
//! `MILLSTREAM_WRITE_FIXTURE=1 cargo test -p millstream-state fixture` writes it anew, which only a new format may do.
//!
//! That Arrow encodes keys and states in the same form as ever is checked here, too: if the first test fails after an update of
//! Arrow, then old states cannot be read by what is new.

use std::path::{Path, PathBuf};

use millstream_platform::{Disk, MemoryDisk};

use super::{FOLDER, all, all_panes, at, commit, numbers, open, put, rows, words};
use crate::{Change, Limits, StateEnd};

const LIMITS: Limits = Limits {
    memory_bytes: u64::MAX,
    log_segment_bytes: 1_000,
    snapshot_every: 1,
    snapshot_bytes_min: 1 << 20,
};
/// Whether another version of Arrow writes the rows of panes in the same bytes is not for us to say.
const SAME_BYTES: [&str; 2] = ["00000000000000000001.state", "00000000000000000001.snapshot"];
const WITH_PANES: &str = "00000000000000000002.state";

fn checked_in(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixture").join(name)
}

fn on_disk(name: &str) -> PathBuf {
    Path::new(FOLDER).join("state").join(name)
}

async fn written() -> (MemoryDisk, StateEnd) {
    let memory = MemoryDisk::new();
    let store = open(&memory, LIMITS, None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    store.panes("recent", numbers()).unwrap();
    let mut change = Change::new(at(1_000));
    let long = "a word that takes more than one block of bytes, as it is longer than thirty-two";
    for (count, word) in ["one", "", long, "removed"].into_iter().enumerate() {
        put(&mut change, &table, word, count as i64 - 1);
    }
    commit(&store, change).await;
    // Enough for the copy of all shards.
    let mut change = Change::new(at(2_000));
    for word in 0..900 {
        change.keyed("running").touch(&super::key_of(&table, &word.to_string()));
    }
    change.keyed("running").remove(&super::key_of(&table, "removed"));
    commit(&store, change).await;
    store.maintain().await.unwrap();
    let mut change = Change::new(at(3_000));
    put(&mut change, &table, "two", 2);
    change.keyed("running").touch(&super::key_of(&table, "one"));
    change.panes("recent").add(&rows(&[7, 8]));
    change.panes("recent").drop_before(at(500));
    let end = commit(&store, change).await.unwrap();
    memory.kill();
    (memory, end)
}

#[tokio::test]
async fn the_fixture_is_what_is_written_today() {
    let (memory, _) = written().await;
    for name in SAME_BYTES.into_iter().chain([WITH_PANES]) {
        let bytes = memory.read(&on_disk(name)).await.unwrap();
        if std::env::var_os("MILLSTREAM_WRITE_FIXTURE").is_some() {
            std::fs::create_dir_all(checked_in(name).parent().unwrap()).unwrap();
            std::fs::write(checked_in(name), &bytes).unwrap();
        }
        if name != WITH_PANES {
            assert!(std::fs::read(checked_in(name)).unwrap() == bytes, "{name} is written in another form");
        }
    }
}

#[tokio::test]
async fn the_fixture_can_be_read() {
    let memory = MemoryDisk::new();
    memory.create_folder(&Path::new(FOLDER).join("state")).await.unwrap();
    let mut end = StateEnd { segment: 2, ..StateEnd::default() };
    for name in SAME_BYTES.into_iter().chain([WITH_PANES]) {
        let bytes = std::fs::read(checked_in(name)).unwrap();
        end.offset = bytes.len() as u64;
        memory.create(&on_disk(name)).await.unwrap().append(vec![bytes.into()]).await.unwrap();
    }
    let store = open(&memory, LIMITS, Some(end)).await.unwrap();
    let mut found = all(&store.keyed("running", words()).unwrap());
    found.retain(|(word, ..)| word.len() < 10);
    let expected = [("", 0, 1_000), ("one", -1, 3_000), ("two", 2, 3_000)];
    assert_eq!(found, expected.map(|(word, count, time)| (word.to_owned(), count, time)));
    assert_eq!(all_panes(&store.panes("recent", numbers()).unwrap()), [(3_000, vec![7, 8])]);
}

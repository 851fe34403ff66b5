//! The write-ahead log: blocks as receivers were given them.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Checkpoint, FOLDER, block_on, lane};
use millstream_journal::{Archive, Journal, Limits, examine, repair};
use millstream_platform::ManualClock;

static RIGHT: LazyLock<Checkpoint> = LazyLock::new(|| block_on(Checkpoint::of_journal()));

fuzz_target!(|edits: &[u8]| {
    let right = &*RIGHT;
    block_on(async {
        let disk = right.edited(&["wal"], edits).await;
        let at = Path::new(FOLDER);
        drop(examine(Arc::clone(&disk), at).await);
        if let Ok(archive) = Archive::open(Arc::clone(&disk), at).await {
            drop(archive.read(&lane(), 0..30).await);
        }
        let clock = Arc::new(ManualClock::new(0));
        if let Ok(journal) = Journal::open(Arc::clone(&disk), clock, at, Limits::default()).await {
            for (lane, extents) in journal.wal.unreleased() {
                for extent in extents {
                    drop(journal.wal.read(&lane, extent.records).await);
                }
            }
            drop(journal.wal.read(&lane(), 10..30).await);
        }
        drop(repair(disk, at).await);
    });
});

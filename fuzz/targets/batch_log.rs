//! The batch log: begun, committed and published batches, with their manifests and commit records.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Checkpoint, FOLDER, block_on};
use millstream_journal::{Archive, Journal, Limits, examine, repair};
use millstream_platform::ManualClock;

static RIGHT: LazyLock<Checkpoint> = LazyLock::new(|| block_on(Checkpoint::of_journal()));

fuzz_target!(|edits: &[u8]| {
    let right = &*RIGHT;
    block_on(async {
        let disk = right.edited(&["log"], edits).await;
        let at = Path::new(FOLDER);
        if let Ok(archive) = Archive::open(Arc::clone(&disk), at).await {
            for time in archive.batches() {
                assert!(archive.batch(time).is_some(), "a batch that is listed is there");
            }
            drop(archive.unprocessed().await);
        }
        drop(examine(Arc::clone(&disk), at).await);
        let clock = Arc::new(ManualClock::new(0));
        drop(Journal::open(Arc::clone(&disk), clock.clone(), at, Limits::default()).await);
        if repair(Arc::clone(&disk), at).await.is_ok() {
            drop(Journal::open(disk, clock, at, Limits::default()).await);
        }
    });
});

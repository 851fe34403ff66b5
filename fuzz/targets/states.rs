//! The state log and its snapshots: keyed states and the rows of windows.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Checkpoint, FOLDER, block_on, keyed, let_panics_be_caught, limits, panes};
use millstream_state::Store;

static RIGHT: LazyLock<Checkpoint> = LazyLock::new(|| block_on(Checkpoint::of_states()));

fuzz_target!(init: let_panics_be_caught(), |edits: &[u8]| {
    let right = &*RIGHT;
    block_on(async {
        let disk = right.edited(&["state", "snapshot"], edits).await;
        let Ok(store) = Store::open(disk, Path::new(FOLDER), limits(), right.end).await else { return };
        if let Ok(table) = store.keyed("running", keyed()) {
            table.scan().for_each(drop);
        }
        if let Ok(panes) = store.panes("recent", panes()) {
            drop(panes.range(..));
        }
        drop(store.check_reads());
        store.statistics();
    });
});

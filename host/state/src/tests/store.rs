use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use millstream_journal::JournalError;
use millstream_model::{DataType, Field, Schema};
use millstream_platform::{Disk, Fault, FaultyDisk, MemoryDisk, Operation};

use super::{FOLDER, all, all_panes, at, commit, numbers, open, put, rows, words};
use crate::{Change, KeyedSpec, Limits, PaneSpec, StateError, Store};

/// Small files, and every shard copied as soon as there is anything to pay for it.
fn tiny() -> Limits {
    Limits { log_segment_bytes: 500, snapshot_every: 2, snapshot_bytes_min: 1, ..Limits::default() }
}

/// Gives one word of `words` the batch's time as its count, in a batch of its own.
async fn count(store: &Store, time: i64, word: &str) -> Option<crate::StateEnd> {
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(time));
    put(&mut change, &table, word, time);
    commit(store, change).await
}

#[tokio::test]
async fn a_change_is_read_when_it_is_applied_and_not_before() {
    let memory = MemoryDisk::new();
    let store = open(&memory, Limits::default(), None).await.unwrap();
    let (table, panes) =
        (store.keyed("running", words()).unwrap(), store.panes("recent", numbers()).unwrap());
    let mut change = Change::new(at(1));
    put(&mut change, &table, "a", 1);
    change.panes("recent").add(&rows(&[1, 2]));
    let end = store.write(&change).await.unwrap();
    assert!(all(&table).is_empty() && all_panes(&panes).is_empty());
    store.apply(change);
    assert_eq!(all(&table), [("a".to_owned(), 1, 1)]);
    assert_eq!(all_panes(&panes), [(1, vec![1, 2])]);
    // A batch that changes nothing leaves the log as it is.
    assert_eq!(commit(&store, Change::new(at(2))).await, end);
}

#[tokio::test]
async fn a_change_that_was_not_applied_is_replaced_by_the_next() {
    for log_segment_bytes in [1, 1 << 20] {
        let limits = Limits { log_segment_bytes, ..Limits::default() };
        let memory = MemoryDisk::new();
        let store = open(&memory, limits, None).await.unwrap();
        let table = store.keyed("running", words()).unwrap();
        count(&store, 1, "first").await;
        for time in [2, 3] {
            let mut failed = Change::new(at(time));
            put(&mut failed, &table, "failed", time);
            store.write(&failed).await.unwrap();
        }
        let end = count(&store, 4, "last").await;
        memory.kill();
        let store = open(&memory, limits, end).await.unwrap();
        let table = store.keyed("running", words()).unwrap();
        assert_eq!(all(&table), [("first".to_owned(), 1, 1), ("last".to_owned(), 4, 4)]);
    }
}

#[tokio::test]
async fn a_table_of_another_kind_or_shape_is_refused_with_the_difference() {
    let memory = MemoryDisk::new();
    let store = open(&memory, Limits::default(), None).await.unwrap();
    let mut change = Change::new(at(1));
    put(&mut change, &store.keyed("running", words()).unwrap(), "a", 1);
    store.panes("recent", numbers()).unwrap();
    change.panes("recent").add(&rows(&[1]));
    let end = commit(&store, change).await;
    memory.kill();
    let store = open(&memory, Limits::default(), end).await.unwrap();
    let field = |name: &str| Schema::new([Field::new(name, DataType::Utf8)]);
    let texts = Arc::new(ArrowSchema::new(vec![ArrowField::new("number", ArrowType::Utf8View, true)]));
    let cases = [
        (store.keyed("running", KeyedSpec { version: 2, ..words() }).map(drop), ["version", "2"]),
        (store.keyed("running", KeyedSpec { key: field("line"), ..words() }).map(drop), ["key", "line"]),
        (store.keyed("running", KeyedSpec { state: field("text"), ..words() }).map(drop), ["state", "text"]),
        (store.keyed("recent", words()).map(drop), ["window", "key"]),
        (store.panes("running", numbers()).map(drop), ["window", "key"]),
        (store.panes("recent", PaneSpec { columns: texts }).map(drop), ["Int64", "Utf8View"]),
    ];
    for (found, told) in cases {
        let Err(StateError::Mismatch { what, .. }) = found else { panic!("{found:?}") };
        assert!(told.iter().all(|part| what.contains(part)), "{what}");
    }
    assert_eq!(store.orphans(), ["recent", "running"]);
    store.keyed("running", words()).unwrap();
    assert_eq!(store.orphans(), ["recent"]);
}

#[tokio::test]
async fn a_table_that_nobody_asks_for_stays_until_it_is_dropped() {
    let memory = MemoryDisk::new();
    let mut end = None;
    for life in 1..=3 {
        let store = open(&memory, tiny(), end).await.unwrap();
        if life == 1 {
            count(&store, 1, "kept").await;
        }
        let panes = store.panes("recent", numbers()).unwrap();
        for time in 0..20 {
            let mut change = Change::new(at(life * 100 + time));
            change.panes("recent").add(&rows(&[time]));
            change.panes("recent").drop_before(at(life * 100 + time - 2));
            end = commit(&store, change).await;
            store.maintain().await.unwrap();
        }
        assert_eq!(all_panes(&panes).len(), 3);
        memory.kill();
    }
    let store = open(&memory, tiny(), end).await.unwrap();
    assert_eq!(store.orphans(), ["recent", "running"]);
    store.drop_table("running");
    let end = commit(&store, Change::new(at(900))).await;
    memory.kill();
    let store = open(&memory, tiny(), end).await.unwrap();
    assert_eq!(store.orphans(), ["recent"]);
    // Under its name there may be another one.
    let spec = KeyedSpec { version: 7, ..words() };
    assert!(all(&store.keyed("running", spec).unwrap()).is_empty());
}

#[tokio::test]
async fn the_log_and_the_snapshots_do_not_grow_without_end() {
    let limits = Limits {
        log_segment_bytes: 8 << 10,
        snapshot_every: 16,
        snapshot_bytes_min: 4 << 10,
        ..Limits::default()
    };
    let memory = MemoryDisk::new();
    let store = open(&memory, limits, None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    let panes = store.panes("recent", numbers()).unwrap();
    let (mut end, mut largest) = (None, 0);
    for time in 0..1_500 {
        let mut change = Change::new(at(time));
        for word in 0..20 {
            put(&mut change, &table, &((time * 20 + word) % 1_000).to_string(), time);
        }
        change.panes("recent").add(&rows(&[time]));
        change.panes("recent").drop_before(at(time - 5));
        end = commit(&store, change).await;
        store.maintain().await.unwrap();
        let found = store.statistics();
        largest = largest.max(found.log_bytes + found.snapshot_bytes);
    }
    // A thousand keys of some twenty bytes, and 128 bytes for each shard.
    assert!(largest < 10 * 40_000, "{largest} bytes of files");
    assert!(end.unwrap().segment > 20);
    let (before, panes_before) = (all(&table), all_panes(&panes));
    memory.kill();
    let store = open(&memory, limits, end).await.unwrap();
    assert_eq!(all(&store.keyed("running", words()).unwrap()), before);
    assert_eq!(all_panes(&store.panes("recent", numbers()).unwrap()), panes_before);
    assert_eq!(store.statistics().tables[1].keys, 1_000);
}

#[tokio::test]
async fn no_more_is_written_for_snapshots_than_for_the_log() {
    let limits = Limits { snapshot_every: 4, snapshot_bytes_min: 1 << 10, ..Limits::default() };
    let memory = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()), 1);
    let store = Store::open(Arc::new(faulty.clone()), Path::new(FOLDER), limits, None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(0));
    for word in 0..5_000 {
        put(&mut change, &table, &word.to_string(), 0);
    }
    commit(&store, change).await;
    let before = faulty.operations_of(Operation::Rename);
    for time in 1..=100 {
        count(&store, time, "a").await;
        store.maintain().await.unwrap();
    }
    // A hundred changes of one key do not pay for a copy of a hundred thousand bytes.
    let written = faulty.operations_of(Operation::Rename) - before;
    assert!(written <= 8, "{written} snapshots were written");
}

#[tokio::test]
async fn without_room_nothing_changes_and_it_goes_on_when_there_is_some() {
    let memory = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()), 1);
    let store = Store::open(Arc::new(faulty.clone()), Path::new(FOLDER), tiny(), None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    let (mut end, mut refused) = (None, 0);
    for time in 1..=100_i64 {
        faulty.limit_room(time.cast_unsigned() * 37 % 2_000);
        let mut change = Change::new(at(time));
        put(&mut change, &table, &time.to_string(), time);
        loop {
            match store.write(&change).await {
                Ok(written) => break end = written,
                Err(error) => assert!(error.is_full(), "{error}"),
            }
            refused += 1;
            faulty.free(1 << 20);
        }
        store.apply(change);
        while let Err(error) = store.maintain().await {
            assert!(error.is_full(), "{error}");
            refused += 1;
            faulty.free(1 << 20);
        }
    }
    assert!(refused > 8, "there was no room only {refused} times");
    let before = all(&table);
    assert_eq!(before.len(), 100);
    memory.kill();
    let store = open(&memory, tiny(), end).await.unwrap();
    assert_eq!(all(&store.keyed("running", words()).unwrap()), before);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_any_more() {
    let memory = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()), 1);
    let store = Store::open(Arc::new(faulty.clone()), Path::new(FOLDER), tiny(), None).await.unwrap();
    let end = count(&store, 1, "a").await;
    faulty.fail(Operation::Sync, 0, Fault::Refused);
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(2));
    put(&mut change, &table, "b", 2);
    assert!(matches!(store.write(&change).await, Err(StateError::Journal(JournalError::Disk { .. }))));
    assert!(matches!(store.write(&change).await, Err(StateError::Journal(JournalError::Closed))));
    memory.kill();
    let store = open(&memory, tiny(), end).await.unwrap();
    assert_eq!(all(&store.keyed("running", words()).unwrap()).len(), 1);
}

#[tokio::test]
async fn the_states_can_be_read_beside_a_running_host() {
    let memory = MemoryDisk::new();
    let store = open(&memory, tiny(), None).await.unwrap();
    for time in 1..=30 {
        count(&store, time, &(time % 7).to_string()).await;
        store.maintain().await.unwrap();
    }
    let end = count(&store, 31, "last").await;
    let table = store.keyed("running", words()).unwrap();
    let mut unfinished = Change::new(at(32));
    put(&mut unfinished, &table, "unfinished", 1);
    store.write(&unfinished).await.unwrap();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let copy = Store::read(&disk, Path::new(FOLDER), end).await.unwrap();
    assert_eq!(all(&copy.find_keyed("running").unwrap()), all(&table));
    // What is written and not committed is still there for the host.
    store.apply(unfinished);
    count(&store, 33, "more").await;
}

#[tokio::test]
async fn changes_of_several_threads_become_one() {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    store.panes("recent", numbers()).unwrap();
    let mut change = Change::new(at(1));
    for part in 0..3 {
        let mut of_thread = Change::new(at(1));
        put(&mut of_thread, &table, &part.to_string(), part);
        of_thread.panes("recent").add(&rows(&[part]));
        change.merge(of_thread);
    }
    commit(&store, change).await;
    assert_eq!(all(&table).len(), 3);
    assert_eq!(all_panes(&store.panes("recent", numbers()).unwrap()), [(1, vec![0, 1, 2])]);
}

#[tokio::test]
async fn a_change_of_what_is_not_there_is_refused() {
    let store = Store::in_memory(Limits::default());
    store.panes("recent", numbers()).unwrap();
    let mut unknown = Change::new(at(1));
    unknown.keyed("nobody").remove(b"key");
    let mut other_kind = Change::new(at(1));
    other_kind.keyed("recent").remove(b"key");
    for change in [unknown, other_kind] {
        assert!(matches!(store.write(&change).await, Err(StateError::Unknown { .. })));
    }
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
    let mut other_columns = Change::new(at(1));
    other_columns.panes("recent").add(&RecordBatch::try_from_iter([("number", texts)]).unwrap());
    assert!(matches!(store.write(&other_columns).await, Err(StateError::Columns { .. })));
}

#[tokio::test]
async fn rows_that_are_a_small_part_of_their_memory_are_copied() {
    let many: Vec<String> =
        (0..10_000).map(|at| format!("a text that is too long to be inline: {at}")).collect();
    let texts: ArrayRef = Arc::new(StringViewArray::from(many));
    let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(0..10_000));
    let batch = RecordBatch::try_from_iter([("text", texts), ("number", numbers)]).unwrap();
    let store = Store::in_memory(Limits::default());
    let panes = store.panes("recent", PaneSpec { columns: batch.schema() }).unwrap();
    let mut change = Change::new(at(1));
    change.panes("recent").add(&batch.slice(500, 3));
    commit(&store, change).await;
    assert_eq!(panes.get(at(1)).unwrap()[0], batch.slice(500, 3));
    let bytes = store.statistics().tables[0].bytes;
    assert!(bytes < 2_000, "three rows take {bytes} bytes");
}

#[tokio::test]
async fn states_can_be_recovered_as_of_the_commit_before_the_last() {
    let limits =
        Limits { log_segment_bytes: 1, snapshot_every: 1, snapshot_bytes_min: 1, ..Limits::default() };
    let memory = MemoryDisk::new();
    let store = open(&memory, limits, None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    let panes = store.panes("recent", numbers()).unwrap();
    let mut end = None;
    for time in 1..=8 {
        let mut change = Change::new(at(time));
        for word in 0..1_000 {
            put(&mut change, &table, &word.to_string(), time);
        }
        if time == 7 {
            change.panes("recent").add(&rows(&[7]));
        }
        end = commit(&store, change).await;
        store.maintain().await.unwrap();
    }
    let before = (all(&table), all_panes(&panes));
    // The last commit drops whatever there is.
    store.drop_table("running");
    let mut change = Change::new(at(9));
    change.panes("recent").drop_before(at(9));
    let last = commit(&store, change).await;
    store.maintain().await.unwrap();
    memory.kill();
    // Also where it was recovered, and went on without another one.
    let store = open(&memory, limits, last).await.unwrap();
    assert!(store.find_keyed("running").is_none());
    store.maintain().await.unwrap();
    memory.kill();
    let store = open(&memory, limits, end).await.unwrap();
    let (table, panes) =
        (store.keyed("running", words()).unwrap(), store.panes("recent", numbers()).unwrap());
    assert!((all(&table), all_panes(&panes)) == before);
}

#[tokio::test]
async fn panes_that_the_last_commit_dropped_are_still_there_as_of_the_one_before() {
    let limits = Limits { log_segment_bytes: 1, ..Limits::default() };
    let memory = MemoryDisk::new();
    let store = open(&memory, limits, None).await.unwrap();
    store.panes("recent", numbers()).unwrap();
    let mut ends = Vec::new();
    for time in 1..=6 {
        let mut change = Change::new(at(time));
        change.panes("recent").add(&rows(&[time]));
        change.panes("recent").drop_before(at(if time == 6 { 6 } else { 2 }));
        ends.push(commit(&store, change).await);
        store.maintain().await.unwrap();
    }
    memory.kill();
    let store = open(&memory, limits, ends[4]).await.unwrap();
    let panes = store.panes("recent", numbers()).unwrap();
    assert_eq!(all_panes(&panes), [2, 3, 4, 5].map(|time| (time, vec![time])));
}

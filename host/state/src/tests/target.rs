//! Rows of one table made into rows of another, with keys that become the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use millstream_model::Groups;
use millstream_platform::{Disk, FaultyDisk, MemoryDisk};

use super::{FOLDER, all, at, commit, open, put, words};
use crate::{Change, KeyedRows, KeyedSpec, Limits, StateEnd, StateError, Store, Target};

/// A word, its count, and when it was seen.
type Row<'a> = (&'a str, i64, i64);

fn spec() -> KeyedSpec {
    KeyedSpec { version: 2, ..words() }
}

fn rows_of(rows: &[Row<'_>]) -> KeyedRows {
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.0)));
    let states: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    KeyedRows {
        keys: RecordBatch::try_new(spec().key_schema(), vec![keys]).unwrap(),
        states: RecordBatch::try_new(spec().state_schema(), vec![states]).unwrap(),
        times: rows.iter().map(|row| at(row.2)).collect(),
    }
}

/// A merge as of a plugin: the sum of each group.
async fn sums(states: &RecordBatch, groups: &Groups) -> RecordBatch {
    assert_eq!(states.num_rows(), groups.of.len());
    let mut sums = vec![None; groups.count as usize];
    for (group, state) in groups.of.iter().zip(states.column(0).as_primitive::<Int64Type>().values()) {
        *sums[*group as usize].get_or_insert(0) += state;
    }
    let sums: ArrayRef = Arc::new(Int64Array::from_iter_values(sums.into_iter().map(Option::unwrap)));
    RecordBatch::try_new(states.schema(), vec![sums]).unwrap()
}

/// Takes rows in as an upgrade does it.
async fn take_in(target: &Target<'_>, rows: KeyedRows) -> Result<(), StateError> {
    let rows = match target.collisions(&rows)? {
        None => rows,
        Some(collisions) => {
            let merged = sums(&collisions.states, &collisions.groups).await;
            collisions.merged(&merged).unwrap()
        }
    };
    target.put(&rows).await
}

fn listed(rows: &[Row<'_>]) -> Vec<(String, i64, i64)> {
    rows.iter().map(|(word, count, time)| ((*word).to_owned(), *count, *time)).collect()
}

fn found(store: &Store) -> Vec<(String, i64, i64)> {
    all(&store.keyed("running", spec()).unwrap())
}

#[tokio::test]
async fn rows_whose_keys_are_the_same_are_merged_with_each_other_and_with_what_is_there() {
    let store = Store::in_memory(Limits::default());
    let target = Target::new(&store, "running", spec()).unwrap();
    let chunks: [(&[Row], &[Row]); 4] = [
        (&[("a", 1, 1), ("b", 2, 1)], &[("a", 1, 1), ("b", 2, 1)]),
        (&[("c", 4, 2), ("d", 8, 2), ("c", 16, 3)], &[("a", 1, 1), ("b", 2, 1), ("c", 20, 3), ("d", 8, 2)]),
        (
            &[("a", 32, 4), ("e", 64, 5)],
            &[("a", 33, 4), ("b", 2, 1), ("c", 20, 3), ("d", 8, 2), ("e", 64, 5)],
        ),
        (
            &[("e", 1, 6), ("f", 1, 6), ("b", 1, 7), ("e", 1, 7), ("e", 1, 7), ("g", 5, 8)],
            &[("a", 33, 4), ("b", 3, 7), ("c", 20, 3), ("d", 8, 2), ("e", 67, 7), ("f", 1, 6), ("g", 5, 8)],
        ),
    ];
    for (chunk, expected) in chunks {
        take_in(&target, rows_of(chunk)).await.unwrap();
        assert_eq!(found(&store), listed(expected));
    }
}

#[tokio::test]
async fn keys_of_their_own_collide_with_nothing_and_rows_that_do_not_fit_are_refused() {
    let store = Store::in_memory(Limits::default());
    let target = Target::new(&store, "running", spec()).unwrap();
    assert!(target.collisions(&rows_of(&[("a", 1, 1), ("b", 2, 1)])).unwrap().is_none());
    let rows = rows_of(&[("a", 1, 1), ("a", 2, 1)]);
    let collisions = target.collisions(&rows).unwrap().unwrap();
    assert_eq!((collisions.groups.count, collisions.groups.of.as_slice()), (1, [0, 0].as_slice()));
    assert!(collisions.merged(&rows.states).is_err(), "two states for one group");
    let confused = KeyedRows { keys: rows.states.clone(), ..rows.clone() };
    assert!(matches!(target.put(&confused).await, Err(StateError::Columns { .. })));
    let short = KeyedRows { times: vec![at(1)], ..rows };
    assert!(matches!(target.put(&short).await, Err(StateError::Columns { .. })));
    assert!(matches!(target.collisions(&short), Err(StateError::Columns { .. })));
    assert_eq!(found(&store), []);
    let other = Target::new(&store, "running", words()).unwrap_err();
    assert!(matches!(other, StateError::Mismatch { .. }), "{other}");
}

/// Words that were counted with their lengths' parity in front, made into the words alone.
#[tokio::test]
async fn a_migrated_table_is_there_as_of_the_commit_that_names_it_and_not_before() {
    let disk = MemoryDisk::new();
    // Most keys are on disk, both those that are read and those that are written.
    let limits = Limits { memory_bytes: 150_000, log_segment_bytes: 20_000, ..Limits::default() };
    let old = open(&disk, limits, None).await.unwrap();
    let table = old.keyed("running", words()).unwrap();
    let mut model: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut old_end = None;
    for time in 1..=20 {
        let mut change = Change::new(at(time));
        for number in 0..300 {
            let word = ((time * 97 + number * 13) % 2_000).to_string();
            put(&mut change, &table, &format!("{}-{word}", (time + number) % 2), time);
        }
        old_end = commit(&old, change).await;
    }
    for (word, count, time) in all(&table) {
        let known = model.entry(word[2..].to_owned()).or_insert((0, 0));
        *known = (known.0 + count, known.1.max(time));
    }
    let expected: Vec<_> = model.into_iter().map(|(word, (count, time))| (word, count, time)).collect();
    let copies = old.fork(None).copy().await.unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let new = Store::begin(shared, Path::new(FOLDER), limits).await.unwrap();
    let target = Target::new(&new, "running", spec()).unwrap();
    let mut reader = copies.read("running").unwrap().unwrap();
    while let Some(chunk) = reader.next(256).unwrap() {
        take_in(&target, without_prefix(&chunk)).await.unwrap();
    }
    assert_eq!(found(&new), expected);
    let new_end = commit(&new, Change::new(at(21))).await;
    disk.kill();
    let as_of = async |end: Option<StateEnd>| open(&disk.fork(), limits, end).await.unwrap();
    assert_eq!(all(&as_of(old_end).await.keyed("running", words()).unwrap()), all(&table));
    assert_eq!(found(&as_of(new_end).await), expected);
}

fn without_prefix(rows: &KeyedRows) -> KeyedRows {
    let words = rows.keys.column(0).as_string_view().iter().map(|word| word.unwrap()[2..].to_owned());
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
    KeyedRows { keys: RecordBatch::try_new(spec().key_schema(), vec![keys]).unwrap(), ..rows.clone() }
}

#[tokio::test]
async fn filling_goes_on_when_a_full_disk_has_room_again() {
    let memory = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()), 1);
    let store = Store::begin(Arc::new(faulty.clone()), Path::new(FOLDER), Limits::default()).await.unwrap();
    let target = Target::new(&store, "running", spec()).unwrap();
    target.put(&rows_of(&[("a", 1, 1)])).await.unwrap();
    faulty.limit_room(10);
    let rows = rows_of(&[("b", 2, 2), ("c", 3, 3)]);
    let full = target.put(&rows).await.unwrap_err();
    assert!(full.is_full(), "{full}");
    assert_eq!(found(&store), listed(&[("a", 1, 1)]));
    faulty.free(1 << 20);
    target.put(&rows).await.unwrap();
    let end = commit(&store, Change::new(at(4))).await;
    memory.kill();
    let store = open(&memory, Limits::default(), end).await.unwrap();
    assert_eq!(found(&store), listed(&[("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]));
}

use std::path::Path;
use std::sync::Arc;

use millstream_journal::JournalError;
use millstream_platform::{Disk, Fault, FaultyDisk, MemoryDisk, Operation};

use super::{FOLDER, all, at, commit, open, put, words};
use crate::{Change, Limits, StateEnd, StateError, Store};

fn shared(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

async fn begin(disk: &MemoryDisk) -> Store {
    Store::begin(shared(disk), Path::new(FOLDER), Limits::default()).await.unwrap()
}

async fn count(store: &Store, time: i64, word: &str) -> Option<StateEnd> {
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(time));
    put(&mut change, &table, word, time);
    commit(store, change).await
}

fn counted(store: &Store) -> Vec<String> {
    all(&store.keyed("running", words()).unwrap()).into_iter().map(|(word, ..)| word).collect()
}

async fn folders(disk: &MemoryDisk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).await.unwrap()
}

/// A store with a first generation, and one beside it.
async fn both(disk: &MemoryDisk) -> ([Store; 2], [Option<StateEnd>; 2]) {
    let old = open(disk, Limits::default(), None).await.unwrap();
    let new = begin(disk).await;
    let ends = [count(&old, 1, "old").await, count(&new, 1, "new").await];
    ([old, new], ends)
}

#[tokio::test]
async fn what_is_opened_is_the_generation_that_the_commit_names() {
    for (at, word) in ["old", "new"].into_iter().enumerate() {
        let disk = MemoryDisk::new();
        let (_, ends) = both(&disk).await;
        assert_eq!(ends.map(|end| end.unwrap().generation), [0, 1]);
        disk.kill();
        let read = Store::read(&shared(&disk), Path::new(FOLDER), ends[at]).await.unwrap();
        assert_eq!(counted(&read), [word]);
        let store = open(&disk, Limits::default(), ends[at]).await.unwrap();
        assert_eq!(counted(&store), [word]);
        assert_eq!(store.generation(), ends[at].map(|end| end.generation));
        let end = count(&store, 2, "more").await;
        disk.kill();
        assert_eq!(counted(&open(&disk, Limits::default(), end).await.unwrap()), ["more", word]);
    }
}

#[tokio::test]
async fn other_generations_go_when_neither_of_the_last_two_commits_needs_them() {
    for (at, left) in ["state", "state-1"].into_iter().enumerate() {
        let disk = MemoryDisk::new();
        let ([_, new], ends) = both(&disk).await;
        // The commit that has named the new one may be lost.
        new.retire_others().await.unwrap();
        disk.kill();
        let store = open(&disk, Limits::default(), ends[at]).await.unwrap();
        store.maintain().await.unwrap();
        assert_eq!(folders(&disk).await, ["state", "state-1"]);
        count(&store, 2, "more").await;
        store.maintain().await.unwrap();
        assert_eq!(folders(&disk).await, [left]);
    }
}

#[tokio::test]
async fn one_that_a_commit_has_named_is_not_taken_for_one_that_was_only_begun() {
    let disk = MemoryDisk::new();
    let ([_, new], [old, _]) = both(&disk).await;
    new.end_beginning().await.unwrap();
    disk.kill();
    assert_eq!(counted(&open(&disk, Limits::default(), old).await.unwrap()), ["old"]);
    assert_eq!(folders(&disk).await, ["state", "state-1"]);
}

#[tokio::test]
async fn those_that_no_commit_has_named_go_with_the_process_after_that_which_began_them() {
    let disk = MemoryDisk::new();
    let (_, [old, _]) = both(&disk).await;
    for _ in 0..3 {
        drop(begin(&disk).await);
    }
    assert_eq!(folders(&disk).await, ["state", "state-1", "state-2", "state-3", "state-4"]);
    disk.kill();
    assert_eq!(counted(&open(&disk, Limits::default(), old).await.unwrap()), ["old"]);
    assert_eq!(folders(&disk).await, ["state"]);
    assert_eq!(begin(&disk).await.generation(), Some(1));
}

#[tokio::test]
async fn what_cannot_be_begun_leaves_nothing() {
    let disk = MemoryDisk::new();
    count(&open(&disk, Limits::default(), None).await.unwrap(), 1, "old").await;
    let faulty = FaultyDisk::new(shared(&disk), 1);
    for operation in [Operation::Create, Operation::CreateFolder, Operation::SyncFolder] {
        faulty.fail(operation, 0, Fault::Refused);
        let refused = Store::begin(Arc::new(faulty.clone()), Path::new(FOLDER), Limits::default()).await;
        assert!(matches!(refused, Err(StateError::Journal(JournalError::Disk { .. }))), "{operation:?}");
        assert_eq!(folders(&disk).await, ["state"], "{operation:?}");
    }
}

#[tokio::test]
async fn a_generation_that_takes_over_leaves_the_one_before_until_the_next_batch() {
    let disk = MemoryDisk::new();
    let ([_, new], ends) = both(&disk).await;
    count(&new, 2, "caught up").await;
    new.maintain().await.unwrap();
    assert_eq!(folders(&disk).await, ["state", "state-1"]);
    new.retire_others().await.unwrap();
    new.maintain().await.unwrap();
    let read = Store::read(&shared(&disk), Path::new(FOLDER), ends[0]).await.unwrap();
    assert_eq!(counted(&read), ["old"]);
    count(&new, 3, "more").await;
    new.maintain().await.unwrap();
    assert_eq!(folders(&disk).await, ["state-1"]);
    // Numbers are taken again, and the first generation's is not.
    let next = begin(&disk).await;
    assert_eq!(next.generation(), Some(2));
}

#[tokio::test]
async fn a_generation_that_has_just_begun_can_be_named_by_a_commit_of_nothing() {
    let disk = MemoryDisk::new();
    count(&open(&disk, Limits::default(), None).await.unwrap(), 1, "old").await;
    let end = commit(&begin(&disk).await, Change::new(at(2))).await;
    disk.kill();
    let store = open(&disk, Limits::default(), end).await.unwrap();
    assert_eq!((store.generation(), counted(&store).len()), (Some(1), 0));
}

#[tokio::test]
async fn a_discarded_generation_is_gone_and_takes_no_change() {
    let disk = MemoryDisk::new();
    let ([old, new], _) = both(&disk).await;
    new.maintain().await.unwrap();
    new.discard().await.unwrap();
    assert_eq!(folders(&disk).await, ["state"]);
    let mut change = Change::new(at(2));
    put(&mut change, &new.keyed("running", words()).unwrap(), "late", 1);
    let refused = new.write(&change).await.unwrap_err();
    assert!(matches!(refused, StateError::Journal(JournalError::Closed)), "{refused}");
    count(&old, 2, "more").await;
}

#[tokio::test]
async fn what_somebody_else_has_put_there_stays() {
    let disk = MemoryDisk::new();
    let (_, ends) = both(&disk).await;
    for name in ["state/notes", "state-x"] {
        disk.create(&Path::new(FOLDER).join(name)).await.unwrap();
    }
    disk.kill();
    let store = open(&disk, Limits::default(), ends[1]).await.unwrap();
    count(&store, 2, "more").await;
    store.maintain().await.unwrap();
    assert_eq!(folders(&disk).await, ["state", "state-1", "state-x"]);
    assert_eq!(disk.list(&Path::new(FOLDER).join("state")).await.unwrap(), ["notes"]);
}

#[tokio::test]
async fn a_later_generation_is_not_taken_for_states_of_no_commit() {
    let disk = MemoryDisk::new();
    let (_, ends) = both(&disk).await;
    disk.kill();
    let store = open(&disk, Limits::default(), ends[1]).await.unwrap();
    count(&store, 2, "more").await;
    store.maintain().await.unwrap();
    let refused = open(&disk, Limits::default(), None).await.unwrap_err();
    assert!(matches!(refused, StateError::Journal(JournalError::Damaged { .. })), "{refused}");
    // One that was begun where there were no states yet was never real.
    let disk = MemoryDisk::new();
    count(&begin(&disk).await, 1, "new").await;
    disk.kill();
    assert_eq!(counted(&open(&disk, Limits::default(), None).await.unwrap()).len(), 0);
}

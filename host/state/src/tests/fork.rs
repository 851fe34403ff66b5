//! Forks, and what is made of them, beside batches that go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_platform::{MemoryDisk, Seeded};

use super::{all, all_panes, at, commit, key_of, numbers, open, put, rows, words};
use crate::{Change, Copies, Limits, SHARDS, Spec, StateError, Store, Tables};

const WORDS: u64 = 2_000;

type Model = BTreeMap<String, (i64, i64)>;

fn expected(model: &Model) -> Vec<(String, i64, i64)> {
    model.iter().map(|(word, (count, time))| (word.clone(), *count, *time)).collect()
}

/// A batch that gives some words a count, touches some, and removes some.
fn batch(seeded: &Seeded, store: &Store, time: i64, model: &mut Model) -> Change {
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(time));
    for _ in 0..seeded.below(60) {
        let word = seeded.below(WORDS).to_string();
        match seeded.below(6) {
            0 => {
                change.keyed("running").remove(&key_of(&table, &word));
                model.remove(&word);
            }
            1 | 2 => {
                change.keyed("running").touch(&key_of(&table, &word));
                model.entry(word).and_modify(|(_, seen)| *seen = time);
            }
            _ => {
                put(&mut change, &table, &word, time);
                model.insert(word, (time, time));
            }
        }
    }
    change
}

/// The keys that a reader gives, and whether the oldest come first.
fn read(copies: &Copies, rows_max: usize) -> Vec<(String, i64, i64)> {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    let (mut reader, mut found, mut last) = (copies.read("running").unwrap().unwrap(), Vec::new(), i64::MIN);
    while let Some(chunk) = reader.next(rows_max).unwrap() {
        assert!(!chunk.times.is_empty() && chunk.times.len() <= rows_max);
        let mut entries = crate::Entries::default();
        let keys = table.encode_keys(chunk.keys.columns()).unwrap();
        let states = table.encode_states(chunk.states.columns()).unwrap();
        for (row, time) in chunk.times.iter().enumerate() {
            assert!(time.as_ms() >= last, "{} comes before {last}", time.as_ms());
            last = time.as_ms();
            entries.push(keys.row(row).data(), states.row(row).data(), *time);
        }
        found.extend(super::listed(&table, &entries));
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_fork_is_what_the_tables_were_while_batches_go_on() {
    let (mut beside, mut copied, mut cold) = (0, 0, 0);
    for seed in Seeded::seeds(0..20) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let memory_bytes = [u64::MAX, 80_000][seeded.below(2) as usize];
        let limits = Limits { memory_bytes, ..Limits::default() };
        let store = match seeded.chance(1, 2) {
            true => Store::in_memory(limits),
            false => open(&MemoryDisk::new(), limits, None).await.unwrap(),
        };
        let tables = Arc::new(Tables::new(store));
        let (mut model, mut time) = (Model::new(), 0);
        for _ in 0..3 {
            for _ in 0..seeded.below(80) {
                time += 1;
                let change = batch(&seeded, tables.store(), time, &mut model);
                tables.write(&change).await.unwrap();
                tables.apply(change);
            }
            tables.store().keyed("running", words()).unwrap();
            let (fork, forked) = (tables.fork(), model.clone());
            assert_eq!(fork.applied(), (time > 0).then(|| at(time)));
            let copying = tokio::spawn(fork.copy());
            while !copying.is_finished() {
                for _ in 0..seeded.below(30) {
                    tokio::task::yield_now().await;
                }
                time += 1;
                let change = batch(&seeded, tables.store(), time, &mut model);
                tables.write(&change).await.unwrap();
                tables.apply(change);
                beside += 1;
                if seeded.chance(1, 3) {
                    tables.store().maintain().await.unwrap();
                }
            }
            assert_eq!(all(&tables.store().keyed("running", words()).unwrap()), expected(&model));
            let copies = match copying.await.unwrap() {
                Err(StateError::ForkTooLarge { .. }) => continue,
                copies => copies.unwrap(),
            };
            copied += 1;
            cold += tables.store().statistics().tables[0].cold_keys;
            assert_eq!(copies.keys("running"), Some(forked.len() as u64));
            assert_eq!(read(&copies, 1 + seeded.below(100) as usize), expected(&forked));
            assert_eq!(read(&copies, usize::MAX), expected(&forked));
        }
    }
    println!("{beside} batches beside {copied} copies, {cold} keys on disk");
    let is_enough = beside > 200 && copied > 40 && cold > 2_000;
    assert!(std::env::var("MILLSTREAM_SEED").is_ok() || is_enough, "too little came about");
}

#[tokio::test]
async fn a_fork_that_begins_between_writing_and_applying_is_without_that_batch() {
    // So little memory that nearly all keys are on disk.
    let limits = Limits { memory_bytes: 60_000, ..Limits::default() };
    let tables = Arc::new(Tables::new(open(&MemoryDisk::new(), limits, None).await.unwrap()));
    let table = tables.store().keyed("running", words()).unwrap();
    let mut change = Change::new(at(1));
    (0..3_000).for_each(|word| put(&mut change, &table, &word.to_string(), 1));
    for part in 0..10 {
        let mut change = Change::new(at(part));
        (0..300).for_each(|word| put(&mut change, &table, &(300 * part + word).to_string(), 1));
        tables.write(&change).await.unwrap();
        tables.apply(change);
    }
    assert!(tables.store().statistics().tables[0].cold_keys > 1_000);
    let before = all(&table);
    let mut change = Change::new(at(11));
    for word in 0..20 {
        put(&mut change, &table, &word.to_string(), 2);
        change.keyed("running").remove(&key_of(&table, &(100 + word).to_string()));
        change.keyed("running").touch(&key_of(&table, &(200 + word).to_string()));
    }
    tables.write(&change).await.unwrap();
    let fork = tables.fork();
    tables.apply(change);
    assert_eq!(read(&fork.copy().await.unwrap(), 1_000), before);
    assert_eq!(all(&table).len(), before.len() - 20);
}

#[tokio::test]
async fn a_fork_for_which_memory_is_too_short_is_given_up_and_batches_go_on() {
    let limits = Limits { memory_bytes: 100_000, ..Limits::default() };
    let store = Store::in_memory(limits);
    let table = store.keyed("running", words()).unwrap();
    let fill = async |time: i64| {
        let mut change = Change::new(at(time));
        (0..600).for_each(|word| put(&mut change, &table, &word.to_string(), time));
        commit(&store, change).await;
    };
    fill(1).await;
    let fork = store.fork(None);
    let small = store.fork(None);
    drop(small);
    fill(2).await;
    let refused = fork.copy().await.unwrap_err();
    assert!(matches!(refused, StateError::ForkTooLarge { .. }), "{refused}");
    fill(3).await;
    assert!(all(&table).iter().all(|(_, count, _)| *count == 3));
    assert_eq!(read(&store.fork(None).copy().await.unwrap(), 1_000), all(&table));
}

#[tokio::test]
async fn a_fork_gives_way_to_a_batch_that_does_not_fit_beside_it() {
    let limits = Limits { memory_bytes: 200_000, ..Limits::default() };
    let store = Store::in_memory(limits);
    let (table, panes) =
        (store.keyed("running", words()).unwrap(), store.panes("recent", numbers()).unwrap());
    let count = async |time: i64, words: u64| {
        let mut change = Change::new(at(time));
        (0..words).for_each(|word| put(&mut change, &table, &word.to_string(), time));
        commit(&store, change).await;
    };
    count(1, 400).await;
    let fork = store.fork(None);
    count(2, 400).await;
    // What the fork has noted is nowhere but in memory, as the rows of panes are.
    let mut change = Change::new(at(3));
    change.panes("recent").add(&rows(&vec![0; 22_500]));
    commit(&store, change).await;
    assert_eq!(panes.range(..).len(), 1);
    assert!(matches!(fork.copy().await, Err(StateError::ForkTooLarge { .. })));
}

#[tokio::test]
async fn panes_are_copied_as_they_were_also_those_that_nobody_has_asked_for() {
    let disk = MemoryDisk::new();
    let store = open(&disk, Limits::default(), None).await.unwrap();
    store.panes("recent", numbers()).unwrap();
    store.panes("daily", numbers()).unwrap();
    let mut end = None;
    let large: Vec<i64> = (0..900_000).collect();
    for time in 1..=4_i64 {
        let mut change = Change::new(at(time));
        change.panes("recent").add(&rows(&[time, -time]));
        change.panes("recent").add(&rows(&[time * 10]));
        if time == 2 {
            change.panes("daily").add(&rows(&large));
        }
        end = commit(&store, change).await;
    }
    disk.kill();
    let store = open(&disk, Limits::default(), end).await.unwrap();
    store.panes("recent", numbers()).unwrap();
    let fork = store.fork(None);
    let mut change = Change::new(at(5));
    change.panes("recent").drop_before(at(4));
    change.panes("recent").add(&rows(&[5]));
    commit(&store, change).await;
    let copies = fork.copy().await.unwrap();
    let specs = [("daily", Spec::Panes(numbers())), ("recent", Spec::Panes(numbers()))];
    assert_eq!(copies.tables(), specs);
    let other = MemoryDisk::new();
    let target = open(&other, Limits::default(), None).await.unwrap();
    for (table, _) in copies.tables() {
        copies.fill(table, &target).await.unwrap();
    }
    let end = commit(&target, Change::new(at(9))).await;
    other.kill();
    for target in [target, open(&other, Limits::default(), end).await.unwrap()] {
        let recent: Vec<_> = (1..=4).map(|time| (time, vec![time, -time, time * 10])).collect();
        assert_eq!(all_panes(&target.panes("recent", numbers()).unwrap()), recent);
        assert_eq!(all_panes(&target.panes("daily", numbers()).unwrap()), [(2, large.clone())]);
    }
}

#[tokio::test]
async fn tables_that_nobody_has_asked_for_are_filled_and_asked_for_later() {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(1));
    (0..100).for_each(|word| put(&mut change, &table, &word.to_string(), 1));
    commit(&store, change).await;
    let copies = store.fork(None).copy().await.unwrap();
    let target = Store::in_memory(Limits::default());
    copies.fill("running", &target).await.unwrap();
    assert_eq!(target.orphans(), ["running"]);
    assert_eq!(all(&target.keyed("running", words()).unwrap()), all(&table));
    assert_eq!((0..SHARDS).map(|shard| table.entries(shard).len()).sum::<usize>(), 100);
    let unknown = copies.fill("another", &target).await.unwrap_err();
    assert!(matches!(unknown, StateError::Unknown { .. }), "{unknown}");
    let other = Store::in_memory(Limits::default());
    other.panes("running", numbers()).unwrap();
    let refused = copies.fill("running", &other).await.unwrap_err();
    assert!(matches!(refused, StateError::Mismatch { .. }), "{refused}");
}

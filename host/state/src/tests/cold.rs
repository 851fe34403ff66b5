//! Nobody can tell from what is read whether keys are in memory or on disk.

use std::path::Path;
use std::sync::Arc;

use millstream_platform::{Disk, Fault, FaultyDisk, MemoryDisk, Operation, Randomness, Seeded};

use super::{FOLDER, all, at, commit, key_of, numbers, put, rows, words};
use crate::{Change, KeySet, Keyed, Limits, SHARDS, StateEnd, StateError, Statistics, Store};

const TABLES: [&str; 2] = ["running", "totals"];

/// So little that nearly all keys are on disk.
fn little_memory(seeded: &Seeded) -> Limits {
    Limits {
        memory_bytes: 90_000 + seeded.below(30_000),
        log_segment_bytes: 2_000 + seeded.below(60_000),
        snapshot_every: 1 + seeded.below(8),
        snapshot_bytes_min: seeded.below(2) * seeded.below(8_000),
    }
}

/// A store with all keys in memory and one with few, to which the same is done.
struct Twins {
    seeded: Seeded,
    memory: MemoryDisk,
    limits: Limits,
    end: Option<StateEnd>,
    all: Store,
    few: Store,
    time: i64,
    cold_keys_max: u64,
}

impl Twins {
    async fn new(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let (memory, limits) = (MemoryDisk::new(), little_memory(&seeded));
        let all = Store::in_memory(Limits { memory_bytes: u64::MAX, ..limits });
        let few = super::open(&memory, limits, None).await.unwrap();
        Self { seeded, memory, limits, end: None, all, few, time: 0, cold_keys_max: 0 }
    }

    fn tables(&self, name: &str) -> (Arc<Keyed>, Arc<Keyed>) {
        (self.all.keyed(name, words()).unwrap(), self.few.keyed(name, words()).unwrap())
    }

    fn word(&self) -> String {
        let word = self.seeded.below(3_000);
        // Some are longer than what is read at a time.
        let length = if word.is_multiple_of(50) { 300 } else { word as usize % 30 };
        "w".repeat(length) + &word.to_string()
    }

    fn change(&mut self) -> Change {
        self.time += 1 + i64::try_from(self.seeded.below(2)).unwrap();
        let mut change = Change::new(at(self.time));
        for name in TABLES {
            let (table, _) = self.tables(name);
            for _ in 0..self.seeded.below(120) {
                let word = self.word();
                match self.seeded.below(10) {
                    0 | 1 => change.keyed(name).remove(&key_of(&table, &word)),
                    2..=4 => change.keyed(name).touch(&key_of(&table, &word)),
                    _ => put(&mut change, &table, &word, self.seeded.next_u64() as i64),
                }
            }
        }
        change
    }

    async fn step(&mut self) {
        let change = self.change();
        if self.seeded.chance(1, 5) {
            // The batch fails after its change was written, and is tried again.
            self.few.write(&change).await.unwrap();
        }
        self.end = commit(&self.few, change.clone()).await.or(self.end);
        self.all.apply(change);
        if self.seeded.chance(1, 2) {
            self.few.maintain().await.unwrap();
        }
        let statistics = self.few.statistics();
        let cold_keys = statistics.tables.iter().map(|table| table.cold_keys).sum();
        self.cold_keys_max = self.cold_keys_max.max(cold_keys);
        self.compare_some();
    }

    async fn restart(&mut self) {
        self.memory.kill();
        self.few = super::open(&self.memory, self.limits, self.end).await.unwrap();
        self.compare_all().await;
    }

    fn compare_some(&self) {
        for name in TABLES {
            let (all, few) = self.tables(name);
            let keys: Vec<Vec<u8>> = (0..40).map(|_| key_of(&all, &self.word())).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let (expected, found) = (all.lookup(&keys), few.lookup(&keys));
            assert!(expected.iter().eq(found.iter()), "other states");
            let older_than = at(self.time - i64::try_from(self.seeded.below(40)).unwrap());
            let except: KeySet<'_> = keys.iter().copied().collect();
            let limit = 1 + self.seeded.below(200) as usize;
            let expected = all.timed_out(0..SHARDS, older_than, &except, limit);
            let found = few.timed_out(0..SHARDS, older_than, &except, limit);
            // In the same order, too.
            assert!(expected.keys.iter().eq(found.keys.iter()), "other keys time out");
            assert!(expected.states.iter().eq(found.states.iter()));
            assert_eq!(expected.times, found.times);
        }
    }

    async fn compare_all(&self) {
        let disk: Arc<dyn Disk> = Arc::new(self.memory.clone());
        let read = Store::read(&disk, Path::new(FOLDER), self.end).await.unwrap();
        for name in TABLES {
            let (all, few) = self.tables(name);
            let read = read.keyed(name, words()).unwrap();
            for shard in 0..SHARDS {
                let expected = all.entries(shard);
                for found in [few.entries(shard), read.entries(shard)] {
                    assert!(expected.keys.iter().eq(found.keys.iter()), "other keys in shard {shard}");
                    assert!(expected.states.iter().eq(found.states.iter()));
                    assert_eq!(expected.times, found.times);
                }
            }
            let scanned: Vec<_> = all.scan().map(Result::unwrap).collect();
            assert_eq!(few.scan().map(Result::unwrap).collect::<Vec<_>>(), scanned);
        }
        let keys = |statistics: Statistics| -> Vec<u64> {
            statistics.tables.iter().map(|table| table.keys).collect()
        };
        assert_eq!(keys(self.all.statistics()), keys(self.few.statistics()));
    }
}

#[tokio::test]
async fn states_are_the_same_wherever_they_are() {
    for seed in Seeded::seeds(0..6) {
        println!("MILLSTREAM_SEED={seed}");
        let mut twins = Twins::new(seed).await;
        for _ in 0..3 {
            for _ in 0..40 {
                twins.step().await;
            }
            twins.restart().await;
        }
        assert!(twins.cold_keys_max > 1_000, "only {} keys were on disk", twins.cold_keys_max);
    }
}

/// Puts so many keys, in batches.
async fn fill(store: &Store, keys: std::ops::Range<i64>) -> Option<StateEnd> {
    let table = store.keyed("running", words()).unwrap();
    let mut end = None;
    for from in keys.clone().step_by(200) {
        let mut change = Change::new(at(from + 1));
        for word in from..(from + 200).min(keys.end) {
            put(&mut change, &table, &word.to_string(), word);
        }
        end = commit(store, change).await;
        store.maintain().await.unwrap();
    }
    end
}

#[tokio::test]
async fn memory_stays_within_its_limit_also_while_states_are_loaded() {
    let memory = MemoryDisk::new();
    let limits = Limits { memory_bytes: 700_000, ..Limits::default() };
    let store = super::open(&memory, limits, None).await.unwrap();
    let end = fill(&store, 0..20_000).await;
    let check = |store: &Store| {
        let statistics = store.statistics();
        let table = &statistics.tables[0];
        assert_eq!(table.keys, 20_000);
        assert!(table.cold_keys > 10_000, "{statistics:?}");
        assert!(table.bytes <= limits.memory_bytes, "{statistics:?}");
        assert!(table.cold_bytes > 0 && statistics.cold_bytes >= table.cold_bytes, "{statistics:?}");
    };
    check(&store);
    drop(store);
    memory.kill();
    let store = super::open(&memory, limits, end).await.unwrap();
    check(&store);
    assert_eq!(all(&store.keyed("running", words()).unwrap()).len(), 20_000);
}

#[tokio::test]
async fn the_file_of_cold_keys_does_not_grow_for_ever() {
    let store = Store::in_memory(Limits { memory_bytes: 300_000, ..Limits::default() });
    let table = store.keyed("running", words()).unwrap();
    let mut largest = 0;
    for time in 1..600 {
        let mut change = Change::new(at(time));
        for word in 0..100 {
            put(&mut change, &table, &format!("{time} {word}"), time);
        }
        let timed_out = table.timed_out(0..SHARDS, at(time - 50), &KeySet::default(), usize::MAX);
        for key in timed_out.keys.iter().flatten() {
            change.keyed("running").remove(key);
        }
        commit(&store, change).await;
        store.maintain().await.unwrap();
        if time == 200 {
            largest = store.statistics().cold_bytes;
        }
    }
    let after = store.statistics();
    assert!(after.tables[0].keys <= 100 * 52 && largest > 0, "{after:?}");
    assert!(after.cold_bytes <= 2 * largest, "{largest} and then {after:?}");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_when_keys_are_to_go_there() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 1);
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let limits = Limits { memory_bytes: 50_000, ..Limits::default() };
    let store = Store::open(disk, Path::new(FOLDER), limits, None).await.unwrap();
    let table = store.keyed("running", words()).unwrap();
    let mut waited = 0;
    for time in 1..30 {
        let mut change = Change::new(at(time));
        for word in 0..40 {
            put(&mut change, &table, &format!("{time} {word}"), time);
        }
        faulty.limit_room(0);
        while let Err(error) = store.write(&change).await {
            assert!(error.is_full() && error.to_string().contains("state"), "{error}");
            waited += 1;
            faulty.free(1_500);
        }
        store.apply(change);
    }
    assert!(waited > 0);
    assert_eq!(all(&table).len(), 29 * 40);
}

#[tokio::test]
async fn nothing_is_committed_from_states_that_could_not_be_read() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 1);
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let limits = Limits { memory_bytes: 100_000, ..Limits::default() };
    let store = Store::open(disk, Path::new(FOLDER), limits, None).await.unwrap();
    fill(&store, 0..3_000).await;
    let table = store.keyed("running", words()).unwrap();
    assert!(store.statistics().tables[0].cold_keys > 0);
    faulty.fail(Operation::ReadAt, 0, Fault::Refused);
    store.check_reads().unwrap();
    table.lookup(&[&key_of(&table, "0")]);
    assert!(store.check_reads().is_err());
    for change in [Change::new(at(5_000)), Change::new(at(6_000))] {
        let error = store.write(&change).await.unwrap_err();
        assert!(matches!(error, StateError::Journal(_)) && !error.is_full(), "{error}");
        assert!(error.to_string().contains("cold"), "{error}");
    }
    assert!(table.scan().any(|rows| rows.is_err()));
}

#[tokio::test]
async fn rows_of_windows_stay_in_memory_and_keys_make_room_for_them() {
    let store = Store::in_memory(Limits { memory_bytes: 200_000, ..Limits::default() });
    fill(&store, 0..3_000).await;
    store.panes("recent", numbers()).unwrap();
    let mut time = 10_000;
    let error = loop {
        time += 1;
        let mut change = Change::new(at(time));
        change.panes("recent").add(&rows(&vec![7; 500]));
        match store.write(&change).await {
            Ok(_) => store.apply(change),
            Err(error) => break error,
        }
    };
    let StateError::TooLarge { table, bytes, limit } = &error else { panic!("{error}") };
    assert_eq!((table.as_str(), *limit), ("recent", 200_000));
    assert!(bytes > limit && error.to_string().contains("state-memory"), "{error}");
    let statistics = store.statistics();
    let [panes, keyed] = &statistics.tables[..] else { panic!("{statistics:?}") };
    assert_eq!(keyed.keys, keyed.cold_keys);
    assert!(panes.bytes > limit / 2, "{statistics:?}");
}

#[tokio::test]
async fn a_batch_that_does_not_fit_into_memory_is_refused_and_a_smaller_one_is_not() {
    let memory_bytes = 64 << 10;
    let store = Store::in_memory(Limits { memory_bytes, ..Limits::default() });
    let table = store.keyed("running", words()).unwrap();
    let change = |time: i64, words: i64| {
        let mut change = Change::new(at(time));
        for word in 0..words {
            put(&mut change, &table, &format!("{time} {word}"), time);
        }
        change
    };
    let error = store.write(&change(1, 2_000)).await.unwrap_err();
    let StateError::TooLarge { table: name, bytes, limit } = &error else { panic!("{error}") };
    assert!(name == "running" && bytes > limit && *limit == memory_bytes);
    assert!(error.to_string().contains("state-memory"), "{error}");
    assert_eq!(all(&table), []);
    for time in 2..22 {
        commit(&store, change(time, 100)).await;
    }
    assert_eq!(all(&table).len(), 2_000);
}

#[tokio::test]
async fn more_keys_than_memory_can_tell_the_places_of_are_refused_until_some_are_removed() {
    let store = Store::in_memory(Limits { memory_bytes: 20 << 10, ..Limits::default() });
    let table = store.keyed("running", words()).unwrap();
    let mut time = 0;
    let refused = loop {
        time += 1;
        let mut change = Change::new(at(time));
        for word in 0..20 {
            put(&mut change, &table, &format!("{time} {word}"), time);
        }
        match store.write(&change).await {
            Ok(_) => store.apply(change),
            Err(StateError::TooLarge { .. }) => break change,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(time > 20, "only {time} batches fit");
    let mut change = Change::new(at(time));
    for shard in 0..SHARDS {
        table.entries(shard).keys.iter().flatten().for_each(|key| change.keyed("running").remove(key));
    }
    commit(&store, change).await;
    store.maintain().await.unwrap();
    commit(&store, refused).await;
    assert_eq!(all(&table).len(), 20);
}

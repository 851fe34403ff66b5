//! Crashes at any operation of the disk, over and over, with the power cut or only the process ended; and upgrades meanwhile, which
//! copy all tables into a new generation beside the batches and go on with that.
//!
//! The oracle is a map of plain values for each commit: what the changes come to that had a commit record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_journal::JournalError;
use millstream_platform::{Disk, FaultyDisk, MemoryDisk, Operation, Randomness, Seeded};

use super::{FOLDER, all, all_panes, at, key_of, listed, numbers, put, rows, words};
use crate::{Change, KeySet, Limits, SHARDS, StateEnd, StateError, Store};

const KEYED: [&str; 2] = ["running", "totals"];
const PANES: [&str; 2] = ["recent", "daily"];

#[tokio::test]
async fn whatever_was_committed_is_there_after_any_crash() {
    let mut seen = Seen::default();
    for seed in Seeded::seeds(0..300) {
        println!("MILLSTREAM_SEED={seed}");
        let one = Simulation::new(seed).run().await;
        seen = Seen {
            commits: seen.commits + one.commits,
            begun: seen.begun + one.begun,
            upgrades: seen.upgrades + one.upgrades,
            given_up: seen.given_up + one.given_up,
        };
    }
    println!("{seen:?}");
    let is_enough =
        seen.commits > 5_000 && seen.upgrades > 50 && seen.begun > 2 * seen.upgrades && seen.given_up > 5;
    assert!(std::env::var("MILLSTREAM_SEED").is_ok() || is_enough, "only {seen:?} came about");
}

/// What came about.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    commits: u64,
    /// Upgrades that were begun, those that came to their end, and those for which batches changed too much.
    begun: u64,
    upgrades: u64,
    given_up: u64,
}

struct Simulation {
    seeded: Seeded,
    memory: MemoryDisk,
    limits: Limits,
    /// The last commit, and the one before, if it may be gone back to.
    committed: Commit,
    before: Option<Commit>,
    time: i64,
    seen: Seen,
}

#[derive(Clone, Default)]
struct Commit {
    end: Option<StateEnd>,
    model: Model,
}

/// What is in the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    /// For each key its state and its time.
    keyed: BTreeMap<String, BTreeMap<String, (i64, i64)>>,
    panes: BTreeMap<String, BTreeMap<i64, Vec<i64>>>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let limits = Limits {
            // For one half of them most keys are on disk most of the time.
            memory_bytes: if seeded.chance(1, 2) { u64::MAX } else { 2_000 + seeded.below(60_000) },
            log_segment_bytes: 200 + seeded.below(4_000),
            snapshot_every: 1 + seeded.below(8),
            snapshot_bytes_min: seeded.below(2) * seeded.below(8_000),
        };
        let (committed, before) = (Commit::default(), None);
        Self { seeded, memory: MemoryDisk::new(), limits, committed, before, time: 0, seen: Seen::default() }
    }

    async fn run(mut self) -> Seen {
        for _ in 0..2 + self.seeded.below(4) {
            self.live().await;
            match self.seeded.chance(2, 3) {
                true => self.memory.crash(&self.seeded),
                false => self.memory.kill(),
            }
            if self.seeded.chance(1, 3)
                && let Some(before) = self.before.take()
            {
                self.committed = before;
            }
        }
        // A last life without faults.
        let disk: Arc<dyn Disk> = Arc::new(self.memory.clone());
        let store = Store::open(disk, Path::new(FOLDER), self.limits, self.committed.end).await.unwrap();
        self.check(&store, None);
        self.seen
    }

    /// From opening to some fault, or to some steps.
    async fn live(&mut self) {
        let faulty = FaultyDisk::new(Arc::new(self.memory.clone()), self.seeded.next_u64());
        match self.seeded.below(6) {
            0 => faulty.stop_after(self.seeded.below(150)),
            1 => faulty.stop_within(self.seeded.below(150)),
            2 => faulty.fail_randomly(Operation::Sync, 40),
            3 => faulty.fail_randomly(Operation::Append, 60),
            4 => faulty.limit_room(self.seeded.below(200_000)),
            _ => {}
        }
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        let opened = Store::open(Arc::clone(&disk), Path::new(FOLDER), self.limits, self.committed.end).await;
        let mut store = match opened {
            Ok(store) => store,
            Err(error) => return expect_fault(&error),
        };
        self.check(&store, Some(&faulty));
        for _ in 0..self.seeded.below(60) {
            let stepped = match self.seeded.chance(1, 25) {
                true => self.upgrade(&mut store, &disk, &faulty).await,
                false => self.step(&store).await,
            };
            if let Err(error) = stepped {
                expect_fault(&error);
                if !error.is_full() {
                    return;
                }
                faulty.free(self.seeded.below(60_000));
            }
        }
        self.check(&store, Some(&faulty));
    }

    async fn step(&mut self, store: &Store) -> Result<(), StateError> {
        if self.seeded.chance(1, 3) {
            store.maintain().await?;
        }
        let mut model = self.committed.model.clone();
        if self.seeded.chance(1, 40) {
            let name = *self.choice(&KEYED);
            store.drop_table(name);
            model.keyed.remove(name);
            // From here on the table is gone in memory, so the next change has to be the one that drops it.
            self.time += 1;
            return self.commit(store, Change::new(at(self.time)), model).await;
        }
        self.time += 1 + i64::try_from(self.seeded.below(3)).unwrap();
        let change = self.change(store, &mut model);
        if self.seeded.chance(1, 6) {
            // The batch fails after its change was written.
            return unless_too_large(store.write(&change).await.map(|_| ()));
        }
        unless_too_large(self.commit(store, change, model).await)
    }

    /// Goes over to a copy of all tables in another generation, or gives that up somewhere on the way.
    async fn upgrade(
        &mut self,
        store: &mut Store,
        disk: &Arc<dyn Disk>,
        faulty: &FaultyDisk,
    ) -> Result<(), StateError> {
        self.seen.begun += 1;
        let (fork, forked) = (store.fork(None), self.committed.model.clone());
        let mut since = Vec::new();
        self.go_on(store, &mut since).await?;
        let copies = match fork.copy().await {
            Err(StateError::ForkTooLarge { .. }) => {
                self.seen.given_up += 1;
                return Ok(());
            }
            copied => copied?,
        };
        let new = Store::begin(Arc::clone(disk), Path::new(FOLDER), self.limits).await?;
        for (table, _) in copies.tables() {
            self.go_on(store, &mut since).await?;
            copies.fill(table, &new).await?;
        }
        self.check_model(&new, &forked, Some(faulty));
        for change in since {
            if let Err(error) = new.write(&change).await {
                return unless_too_large(Err(error));
            }
            new.apply(change);
            if self.seeded.chance(1, 3) {
                new.maintain().await?;
            }
        }
        if self.seeded.chance(1, 4) {
            return new.discard().await;
        }
        self.time += 1;
        let mut model = self.committed.model.clone();
        let change = self.change(&new, &mut model);
        let before = self.seen.commits;
        let committed = self.commit(&new, change, model).await;
        if self.seen.commits == before {
            return unless_too_large(committed);
        }
        self.seen.upgrades += 1;
        *store = new;
        committed?;
        store.retire_others().await
    }

    /// Some batches, which are noted.
    async fn go_on(&mut self, store: &Store, since: &mut Vec<Change>) -> Result<(), StateError> {
        for _ in 0..self.seeded.below(4) {
            let mut model = self.committed.model.clone();
            self.time += 1;
            let change = self.change(store, &mut model);
            let before = self.seen.commits;
            unless_too_large(self.commit(store, change.clone(), model).await)?;
            if self.seen.commits > before {
                since.push(change);
            }
        }
        Ok(())
    }

    async fn commit(&mut self, store: &Store, change: Change, model: Model) -> Result<(), StateError> {
        let end = match store.write(&change).await {
            // A table that is dropped in memory only would not be what the oracle has.
            Err(error) if error.is_full() && change.is_empty() => return Err(closed()),
            written => written?,
        };
        self.before = Some(std::mem::replace(&mut self.committed, Commit { end, model }));
        self.seen.commits += 1;
        if self.seeded.chance(1, 30) {
            return Err(closed());
        }
        store.apply(change);
        Ok(())
    }

    fn change(&self, store: &Store, model: &mut Model) -> Change {
        let mut change = Change::new(at(self.time));
        for _ in 0..self.seeded.below(4) {
            match self.seeded.chance(2, 3) {
                true => self.change_keys(store, &mut change, model),
                false => self.change_panes(store, &mut change, model),
            }
        }
        change
    }

    fn change_keys(&self, store: &Store, change: &mut Change, model: &mut Model) {
        let name = *self.choice(&KEYED);
        let table = store.keyed(name, words()).unwrap();
        if self.seeded.chance(1, 2) {
            // A key that there never is makes the log long enough to pay for snapshots.
            change.keyed(name).touch(&vec![0xFF; self.seeded.below(20_000) as usize]);
        }
        for _ in 0..self.seeded.below(8) {
            let known = model.keyed.entry(name.to_owned()).or_default();
            let word = self.word();
            let key = key_of(&table, &word);
            match self.seeded.below(10) {
                0 | 1 => {
                    change.keyed(name).remove(&key);
                    known.remove(&word);
                }
                2 | 3 => {
                    change.keyed(name).touch(&key);
                    known.entry(word).and_modify(|(_, time)| *time = self.time);
                }
                _ => {
                    let count = self.seeded.next_u64() as i64;
                    put(change, &table, &word, count);
                    known.insert(word, (count, self.time));
                }
            }
        }
    }

    fn change_panes(&self, store: &Store, change: &mut Change, model: &mut Model) {
        let name = *self.choice(&PANES);
        store.panes(name, numbers()).unwrap();
        let known = model.panes.entry(name.to_owned()).or_default();
        let added: Vec<i64> = (0..self.seeded.below(4)).map(|_| self.seeded.next_u64() as i64).collect();
        change.panes(name).add(&rows(&added));
        if !added.is_empty() {
            known.entry(self.time).or_default().extend(added);
        }
        if self.seeded.chance(1, 2) {
            let before = self.time - if name == "daily" { 200 } else { 10 };
            change.panes(name).drop_before(at(before));
            known.retain(|time, _| *time >= before);
        }
    }

    /// The store is as the last commit says, unless the disk stops while that is looked at.
    fn check(&self, store: &Store, faulty: Option<&FaultyDisk>) {
        self.check_model(store, &self.committed.model, faulty);
    }

    fn check_model(&self, store: &Store, model: &Model, faulty: Option<&FaultyDisk>) {
        let older_than = self.time - 5;
        for name in KEYED {
            let table = store.keyed(name, words()).unwrap();
            let known = model.keyed.get(name).cloned().unwrap_or_default();
            let expected: Vec<_> =
                known.iter().map(|(word, (count, time))| (word.clone(), *count, *time)).collect();
            let found = all(&table);
            let timed_out = table.timed_out(0..SHARDS, at(older_than), &KeySet::default(), usize::MAX);
            if faulty.is_some_and(FaultyDisk::stopped) {
                return;
            }
            assert_eq!(found, expected, "{name}");
            let expected: Vec<_> = expected.into_iter().filter(|(_, _, time)| *time < older_than).collect();
            assert_eq!(listed(&table, &timed_out), expected, "{name} before {older_than}");
        }
        for name in PANES {
            let panes = store.panes(name, numbers()).unwrap();
            let known = model.panes.get(name).cloned().unwrap_or_default();
            assert_eq!(all_panes(&panes), known.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    fn word(&self) -> String {
        "w".repeat(self.seeded.below(20) as usize) + &self.seeded.below(9).to_string()
    }

    fn choice<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.seeded.below(of.len() as u64) as usize]
    }
}

/// A batch that does not fit into memory has done nothing.
fn unless_too_large(done: Result<(), StateError>) -> Result<(), StateError> {
    match done {
        Err(StateError::TooLarge { .. }) => Ok(()),
        done => done,
    }
}

fn closed() -> StateError {
    JournalError::Closed.into()
}

/// What a fault brings about; anything else is a mistake of the store.
fn expect_fault(error: &StateError) {
    let is_fault = matches!(
        error,
        StateError::Journal(JournalError::Disk { .. } | JournalError::Full { .. } | JournalError::Closed)
    );
    assert!(is_fault, "{error}");
}

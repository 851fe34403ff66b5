//! Crashes at any operation of the disk, over and over, with the power cut or only the process ended.
//!
//! The oracle lives outside of the journal: what was submitted, what was said to be durable, and the ledgers that the
//! batch log may come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_model::{BatchTime, Lane, Records};
use millstream_platform::{Disk, FaultyDisk, MemoryDisk, Operation, Randomness, Seeded};

use super::{Running, commit, lane, lines_block, lines_of, manifest, open};
use crate::{Cut, Failure, JournalError, Ledger, Limits, Record};

#[tokio::test]
async fn whatever_was_durable_is_there_after_any_crash() {
    let mut crashes = 0;
    for seed in Seeded::seeds(0..1_200) {
        eprintln_seed(seed);
        crashes += Simulation::new(seed).run().await;
    }
    assert!(std::env::var("MILLSTREAM_SEED").is_ok() || crashes > 3_000, "only {crashes} crashes came about");
}

/// The seed that is being run is the last that a failing test prints.
fn eprintln_seed(seed: u64) {
    println!("MILLSTREAM_SEED={seed}");
}

struct Simulation {
    seeded: Seeded,
    memory: MemoryDisk,
    limits: Limits,
    oracle: Oracle,
}

/// What must be, and what may be.
#[derive(Default)]
struct Oracle {
    lanes: BTreeMap<Lane, Received>,
    /// The ledger as it is on disk at least, and what may have been written since.
    ledgers: Vec<Ledger>,
    time: i64,
    lives: u64,
}

#[derive(Default)]
struct Received {
    /// All that was submitted, in order.
    lines: Vec<String>,
    /// How many are durable.
    durable: usize,
    /// Those submitted and not known to be durable: the entry's number and how many lines there are with it.
    waiting: Vec<(u64, usize)>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let limits = Limits {
            wal_segment_bytes: 100 + seeded.below(1_500),
            log_segment_bytes: 200 + seeded.below(3_000),
            log_segments_kept: 1 + seeded.below(3) as usize,
            history_bytes: seeded.below(2) * seeded.below(2_000),
        };
        let memory = match seeded.chance(1, 3) {
            true => MemoryDisk::with_yields(seed, 3),
            false => MemoryDisk::new(),
        };
        let oracle = Oracle { ledgers: vec![Ledger::default()], ..Oracle::default() };
        Self { seeded, memory, limits, oracle }
    }

    async fn run(mut self) -> u64 {
        let lives = 2 + self.seeded.below(4);
        for _ in 0..lives {
            self.live().await;
            self.oracle.lives += 1;
            match self.seeded.chance(2, 3) {
                true => self.memory.crash(&self.seeded),
                false => self.memory.kill(),
            }
        }
        // A last life without faults.
        let disk: Arc<dyn Disk> = Arc::new(self.memory.clone());
        let running = open(&disk, self.limits).await.unwrap();
        self.oracle.check(&running).await.unwrap();
        running.stop().await.unwrap();
        lives
    }

    /// From opening to some fault, or to a hundred steps.
    async fn live(&mut self) {
        let faulty = FaultyDisk::new(Arc::new(self.memory.clone()), self.seeded.next_u64());
        match self.seeded.below(4) {
            0 => faulty.stop_after(self.seeded.below(250)),
            1 => faulty.stop_within(self.seeded.below(250)),
            2 => faulty.fail_randomly(Operation::Sync, 40),
            _ => faulty.fail_randomly(Operation::Append, 60),
        }
        let disk: Arc<dyn Disk> = Arc::new(faulty);
        let mut running = match open(&disk, self.limits).await {
            Ok(running) => running,
            Err(error) => return expect_fault(&error),
        };
        if let Err(error) = self.oracle.check(&running).await {
            running.writer.abort();
            return expect_fault(&error);
        }
        for _ in 0..100 {
            if let Err(error) = self.step(&mut running).await {
                expect_fault(&error);
                break;
            }
        }
        self.oracle.note_durable(&running);
        // Nothing is awaited: what the writer is doing now is what the crash interrupts.
        running.writer.abort();
    }

    async fn step(&mut self, running: &mut Running) -> Result<(), JournalError> {
        let seeded = &self.seeded;
        match seeded.below(9) {
            0..=2 => self.oracle.submit(seeded, running),
            3 => self.oracle.wait(seeded, running).await?,
            4 => tokio::task::yield_now().await,
            5 => self.oracle.begin(seeded, running).await?,
            6 => self.oracle.commit(running).await?,
            7 => self.oracle.publish(running).await?,
            _ => self.oracle.fail(seeded, running).await?,
        }
        self.oracle.note_durable(running);
        Ok(())
    }
}

impl Oracle {
    fn submit(&mut self, seeded: &Seeded, running: &Running) {
        let lane = lane(["a", "b", "c"][seeded.below(3) as usize]);
        let lives = self.lives;
        let received = self.lanes.entry(lane.clone()).or_default();
        let first = received.lines.len();
        // The life is in the text, so that a record of an earlier one is not taken for this one.
        let line = |at: u64| format!("{lives}:{lane}:{at}{}", "x".repeat(seeded.below(90) as usize));
        let lines: Vec<String> = (0..1 + seeded.below(4)).map(|at| line(first as u64 + at)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let entry = running.wal.submit(&lane, first as u64, &lines_block(first as u64, &lines));
        received.lines.extend(lines.iter().map(|line| (*line).to_owned()));
        received.waiting.push((entry, received.lines.len()));
    }

    async fn wait(&mut self, seeded: &Seeded, running: &Running) -> Result<(), JournalError> {
        let waiting: Vec<u64> = self
            .lanes
            .values()
            .flat_map(|received| received.waiting.iter().map(|(entry, _)| *entry))
            .collect();
        match waiting.get(seeded.below(waiting.len() as u64) as usize) {
            Some(entry) => running.wal.wait_durable(*entry).await,
            None => Ok(()),
        }
    }

    fn note_durable(&mut self, running: &Running) {
        let durable = running.wal.durable();
        for received in self.lanes.values_mut() {
            let passed = received.waiting.partition_point(|(entry, _)| *entry <= durable);
            if let Some((_, lines)) = received.waiting.drain(..passed).next_back() {
                received.durable = lines;
            }
        }
    }

    /// The ledger if all that was written is there.
    fn ledger(&self) -> &Ledger {
        self.ledgers.last().unwrap()
    }

    fn may_be(&mut self, record: Record) {
        let mut ledger = self.ledger().clone();
        ledger.apply(&record).unwrap();
        self.ledgers.push(ledger);
    }

    /// All that was written is there.
    fn must_be(&mut self) {
        self.ledgers.drain(..self.ledgers.len() - 1);
    }

    async fn begin(&mut self, seeded: &Seeded, running: &mut Running) -> Result<(), JournalError> {
        self.time += 1 + seeded.below(3) as i64;
        let mut inputs = Vec::new();
        for (lane, received) in &self.lanes {
            let next = cut(self.ledger(), lane);
            let there = received.durable as u64 - next;
            if seeded.chance(2, 3) {
                inputs.push((lane, next..next + seeded.below(there + 1)));
            }
        }
        let manifest = manifest(self.time, &inputs);
        self.may_be(Record::Begin(manifest.clone()));
        running.batches.begin(manifest).await?;
        self.must_be();
        Ok(())
    }

    async fn commit(&mut self, running: &mut Running) -> Result<(), JournalError> {
        let Some(time) = self.ledger().pending.front().map(|manifest| manifest.time) else { return Ok(()) };
        if self.ledger().unpublished.is_some() {
            return Ok(());
        }
        let commit = commit(time.as_ms(), 1);
        self.may_be(Record::Commit(commit.clone()));
        running.batches.commit(commit).await?;
        self.must_be();
        Ok(())
    }

    /// As a pipeline does it: published, let go, cleaned.
    async fn publish(&mut self, running: &mut Running) -> Result<(), JournalError> {
        let Some(time) = self.ledger().unpublished.as_ref().map(|(manifest, _)| manifest.time) else {
            return Ok(());
        };
        self.may_be(Record::Published { time });
        running.batches.published(time).await?;
        for (lane, below) in running.batches.ledger().released() {
            running.wal.release(&lane, below);
        }
        running.wal.clean().await
    }

    async fn fail(&mut self, seeded: &Seeded, running: &mut Running) -> Result<(), JournalError> {
        let times: Vec<BatchTime> = self.ledger().pending.iter().map(|manifest| manifest.time).collect();
        let Some(time) = times.get(seeded.below(times.len() as u64) as usize).copied() else { return Ok(()) };
        let failed = self.ledger().failure.as_ref().filter(|failure| failure.time == time);
        let attempts = failed.map_or(1, |failure| failure.attempts + 1);
        self.may_be(Record::Failed(Failure { time, error: "trap".to_owned(), attempts }));
        running.batches.failed(time, "trap").await?;
        self.must_be();
        Ok(())
    }

    /// After opening.
    async fn check(&mut self, running: &Running) -> Result<(), JournalError> {
        let found = running.batches.ledger();
        assert!(self.ledgers.contains(found), "{found:?} is none of {:?}", self.ledgers);
        self.ledgers = vec![found.clone()];
        let ends: Vec<(Lane, u64)> =
            self.lanes.keys().map(|lane| (lane.clone(), end(running, lane))).collect();
        for (lane, end) in ends {
            let received = self.lanes.get_mut(&lane).unwrap();
            assert!(received.durable as u64 <= end, "{lane} ends at {end} and not {}", received.durable);
            received.lines.truncate(end as usize);
            assert_eq!(received.lines.len() as u64, end, "{lane} has records that were never submitted");
            received.durable = received.lines.len();
            received.waiting.clear();
        }
        self.check_records(running).await
    }

    /// All records that are needed can be read, as they were submitted.
    async fn check_records(&self, running: &Running) -> Result<(), JournalError> {
        let ledger = self.ledger();
        for (lane, received) in &self.lanes {
            let released = ledger.released().get(lane).copied().unwrap_or(0);
            let blocks = running.wal.read(lane, released..received.lines.len() as u64).await?;
            assert_eq!(lines_of(&blocks), received.lines[released as usize..], "{lane} from {released}");
        }
        let unpublished = ledger.unpublished.iter().map(|(manifest, _)| manifest);
        for input in unpublished.chain(&ledger.pending).flat_map(|manifest| &manifest.inputs) {
            let Records::Logged(range) = &input.records else { unreachable!() };
            let blocks = running.wal.read(&input.lane, range.records.clone()).await?;
            let lines = &self.lanes[&input.lane].lines;
            assert_eq!(lines_of(&blocks), lines[range.records.start as usize..range.records.end as usize]);
        }
        Ok(())
    }
}

fn end(running: &Running, lane: &Lane) -> u64 {
    running.wal.end(lane).map_or(0, |end| end.next)
}

fn cut(ledger: &Ledger, lane: &Lane) -> u64 {
    match ledger.lanes.get(lane) {
        Some(Cut::Logged { next, .. }) => *next,
        _ => 0,
    }
}

/// What a fault brings about; anything else is a mistake of the journal.
fn expect_fault(error: &JournalError) {
    assert!(matches!(error, JournalError::Disk { .. } | JournalError::Closed), "{error}");
}

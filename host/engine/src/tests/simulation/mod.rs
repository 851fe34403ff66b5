//! The engine and the journal, unchanged, on a disk, a clock and a scheduler that are simulated.
//!
//! A seed makes a world of records and a few lives of a process with one pipeline. A life is cut off at any operation of
//! the disk or at any moment, or the disk fails, or has no room, or the clock is set, or it is told to stop; the power
//! is cut behind it or not. Last come lives without faults, and then every record must have been handed over, once.
//!
//! `MILLSTREAM_SEED=N` replays one seed and prints what happened; `MILLSTREAM_SEEDS=N` runs that many.

mod chance;
mod checks;
mod life;
mod numbering;
mod outside;
mod program;
mod renumbering;
mod sinks;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_platform::{Clock, Disk, FaultyDisk, ManualClock, MemoryDisk, Randomness};
use tokio::runtime::Runtime;

use crate::{Board, EngineError, Mode};
use chance::Chance;
use checks::{Remains, may_end};
use life::{Course, End, Event, OPERATIONS_MAX};
use outside::Outside;
use program::Workshop;

const FOLDER: &str = "checkpoint";
const LETTERS: &str = "letters/rejected.jsonl";
/// How many seeds are run, and by how many tests, which run side by side.
const SEEDS: u64 = 2_000;
const TESTS: u64 = 4;

#[test]
fn nothing_is_lost_and_nothing_twice_in_the_first_quarter_of_the_seeds() {
    check_seeds(0);
}

#[test]
fn nothing_is_lost_and_nothing_twice_in_the_second_quarter_of_the_seeds() {
    check_seeds(1);
}

#[test]
fn nothing_is_lost_and_nothing_twice_in_the_third_quarter_of_the_seeds() {
    check_seeds(2);
}

#[test]
fn nothing_is_lost_and_nothing_twice_in_the_fourth_quarter_of_the_seeds() {
    check_seeds(3);
}

#[test]
fn a_seed_goes_the_same_way_each_time() {
    let mut traces = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new();
        traces.push((0..20).map(|seed| Simulation::new(seed).run(&mut bench)).collect::<Vec<_>>());
    }
    let [first, second] = [&traces[0], &traces[1]];
    assert_eq!(first, second);
    assert!(first.iter().all(|trace| trace.len() > 10), "the traces say what happens");
}

/// Runs the seeds of one test.
fn check_seeds(test: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let mut bench = Bench::new();
    if let Some(seed) = number("MILLSTREAM_SEED") {
        let is_here = seed % TESTS == test;
        let trace = is_here.then(|| Simulation::new(seed).run(&mut bench));
        return trace.iter().flatten().for_each(|line| println!("{line}"));
    }
    for seed in (test..number("MILLSTREAM_SEEDS").unwrap_or(SEEDS)).step_by(TESTS as usize) {
        // The seed that is being run is the last that a failing test prints.
        println!("MILLSTREAM_SEED={seed}");
        Simulation::new(seed).run(&mut bench);
    }
    bench.check_variety();
}

/// What is used for many seeds, and what they came to.
struct Bench {
    runtime: Runtime,
    workshop: Workshop,
    /// How often lives ended in which way.
    seen: BTreeMap<&'static str, u64>,
}

/// What must come about in a few hundred seeds: a simulation in which nothing happens would show nothing.
const VARIETY: [&str; 16] = [
    "cut off",
    "disk error",
    "stopped at once",
    "stopped gracefully",
    "sink error",
    "source error",
    "batch error",
    "power cut",
    "process killed",
    life::FULL,
    "is recovered: Ok(Published)",
    "is in the database: false",
    "is read again",
    "the code of",
    "rows are numbered",
    renumbering::MIGRATED,
];

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, workshop: Workshop::new(), seen: BTreeMap::new() }
    }

    fn check_variety(&self) {
        println!("{:?}", self.seen);
        let is_enough = self.seen.get("cut off").is_some_and(|times| *times > 200);
        let missing: Vec<&&str> = VARIETY.iter().filter(|what| !self.seen.contains_key(**what)).collect();
        assert!(!is_enough || missing.is_empty(), "{missing:?} did not come about: {:?}", self.seen);
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Counts what only the trace says.
    fn see_trace(&mut self, trace: &[String]) {
        for what in VARIETY {
            let times = trace.iter().filter(|line| line.contains(what)).count();
            if times > 0 {
                *self.seen.entry(what).or_default() += times as u64;
            }
        }
    }
}

/// One seed.
struct Simulation {
    seed: u64,
    outside: Arc<Outside>,
    memory: MemoryDisk,
    chance: Chance,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let outside = Arc::new(Outside::new(seed, ManualClock::new(10_500)));
        outside.note(if outside.numbered { "rows are numbered" } else { "rows are as they are" });
        let memory = match outside.seeded.chance(1, 2) {
            true => MemoryDisk::with_yields(seed, 3),
            false => MemoryDisk::new(),
        };
        let chance = Chance::new(&outside);
        Self { seed, outside, memory, chance }
    }

    /// Gives the trace.
    fn run(self, bench: &mut Bench) -> Vec<String> {
        let told = TellOnPanic(&self);
        let memory = &self.memory;
        bench.runtime.block_on(async {
            memory.create_folder(Path::new(sinks::OUT)).await.unwrap();
            memory.sync_folder(Path::new("/")).await.unwrap();
        });
        for _ in 0..1 + self.outside.seeded.below(5) {
            let course = self.chance.course();
            self.live(bench, &course, true);
            self.outside.clock.advance(Duration::from_millis(self.outside.seeded.below(5_000)));
        }
        self.live_without_faults(bench);
        drop(told);
        let trace = std::mem::take(&mut self.outside.facts().trace);
        bench.see_trace(&trace);
        trace
    }

    /// The last lives: everything is handed over.
    fn live_without_faults(&self, bench: &mut Bench) {
        if self.outside.seeded.chance(1, 2) {
            let events = vec![(Duration::ZERO, Event::StopWhenAcknowledged)];
            self.live(bench, &Course { mode: Mode::Continuous, events }, false);
        }
        let left = self.outside.complete_from().saturating_sub(self.outside.clock.elapsed());
        self.outside.clock.advance(left);
        self.live(bench, &Course { mode: Mode::Once, events: Vec::new() }, false);
        let remains = bench.runtime.block_on(Remains::read(&self.memory));
        remains.check_all(&self.outside, self.chance.keeps_letters());
        self.expect_no_violation();
    }

    /// One life, and what it left.
    fn live(&self, bench: &mut Bench, course: &Course, is_faulty: bool) {
        let (outside, seeded) = (&self.outside, &self.outside.seeded);
        outside.note(format_args!("a life: {course:?}"));
        let faulty = FaultyDisk::new(Arc::new(self.memory.clone()), seeded.next_u64());
        faulty.stop_after(OPERATIONS_MAX);
        if is_faulty {
            self.chance.faults(&faulty, &bench.workshop);
        } else {
            bench.workshop.fail(0);
        }
        let made = bench.runtime.block_on(bench.workshop.made(outside, self.chance.programs()));
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        let application = bench.runtime.block_on(self.chance.application(disk, made, is_faulty));
        let board = Board::new("simulation");
        let end = life::run(outside, &faulty, course, application, &board);
        outside.note(format_args!("it ends after {} operations: {end:?}", faulty.operations()));
        bench.see(name(&end));
        self.leave(bench, &end);
        let remains = bench.runtime.block_on(Remains::read(&self.memory));
        remains.check(outside, &board);
        match &end {
            End::Returned(Ok(_)) => remains.check_stopped(outside),
            End::Returned(Err(error)) if is_faulty && may_end(error) => {}
            End::CutOff if is_faulty => {}
            other => outside.violate(format_args!("a life ends so: {other:?}")),
        }
        self.expect_no_violation();
    }

    /// What becomes of the disk when the process is gone.
    fn leave(&self, bench: &mut Bench, end: &End) {
        let one_in = if matches!(end, End::CutOff) { 2 } else { 4 };
        match self.outside.seeded.chance(1, one_in) {
            true => {
                self.outside.note("the power is cut");
                bench.see("power cut");
                self.memory.crash(&self.outside.seeded);
            }
            false => {
                bench.see("process killed");
                self.memory.kill();
            }
        }
    }

    fn expect_no_violation(&self) {
        let violations = self.outside.facts().violations.clone();
        assert!(violations.is_empty(), "seed {}: {violations:#?}", self.seed);
    }
}

/// Prints the end of the trace when a check fails.
struct TellOnPanic<'s>(&'s Simulation);

impl Drop for TellOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let facts = self.0.outside.facts();
            let is_replay = std::env::var("MILLSTREAM_SEED").is_ok();
            let shown = if is_replay { facts.trace.len() } else { 60 };
            let behind = facts.trace.len().saturating_sub(shown);
            facts.trace[behind..].iter().for_each(|line| println!("{line}"));
            println!("replay it with MILLSTREAM_SEED={}", self.0.seed);
        }
    }
}

fn name(end: &End) -> &'static str {
    match end {
        End::CutOff => "cut off",
        End::Stuck => "stuck",
        End::Returned(Ok(_)) => "stopped gracefully",
        End::Returned(Err(EngineError::Journal(_) | EngineError::State(_) | EngineError::Migration(_))) => {
            "disk error"
        }
        End::Returned(Err(EngineError::Sink { .. })) => "sink error",
        End::Returned(Err(EngineError::Source { .. })) => "source error",
        End::Returned(Err(EngineError::Batch { .. })) => "batch error",
        End::Returned(Err(EngineError::StoppedNow)) => "stopped at once",
        End::Returned(Err(_)) => "another error",
    }
}

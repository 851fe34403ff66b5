//! Kills at moments by chance.

use std::time::Duration;

use rustix::process::Signal;

use super::trial::Trial;
use crate::process::{Process, until};

const ROUNDS: u64 = 30;
/// Records on their way.
const WINDOW: u64 = 400;

#[test]
fn a_pipeline_that_is_killed_at_any_moment_neither_loses_nor_repeats_a_record() {
    let rounds = std::env::var("MILLSTREAM_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut trial = Trial::with_words("concurrent-batches = 2", WINDOW);
    for round in 0..rounds {
        let lines = trial.chance.below(500);
        trial.add_file("", lines);
        let connections = trial.feed.ledger().resumed.len();
        let process = trial.start();
        run(&mut trial, &process, connections);
        end(&mut trial, process);
        if round % 8 == 7 {
            let concurrent = 1 + trial.chance.below(3);
            trial.change(&format!("concurrent-batches = {concurrent}"));
        }
    }
    let process = trial.start();
    trial.wait_acknowledged(&process, 1_000);
    trial.stop(process);
    trial.finish();
    let ledger = trial.feed.ledger();
    assert!(ledger.resumed.len() as u64 > rounds / 2, "most lives get as far as the server: {ledger:?}");
}

/// Lets the process come to some point; before it, there were so many connections.
fn run(trial: &mut Trial, process: &Process, connections: usize) {
    process.wait_for("trial runs");
    match trial.chance.below(8) {
        // While it recovers, or when it has just begun.
        0 | 1 => {}
        2 => trial.feed.wait_connected(process, connections),
        3 => {
            // More than goes into one batch.
            let lines = trial.chance.below(8_000);
            trial.add_file("", lines);
            let batches = trial.batches();
            until("a batch", || (trial.batches() > batches).then_some(()));
            trial.feed.wait_connected(process, connections);
        }
        _ => {
            let more = 1 + trial.chance.below(3_000);
            trial.wait_acknowledged(process, more);
        }
    }
    // Anywhere between two such events.
    std::thread::park_timeout(Duration::from_micros(trial.chance.below(60_000)));
}

/// Ends the process in some way.
fn end(trial: &mut Trial, process: Process) {
    match trial.chance.below(10) {
        0 => drop(trial.stop(process)),
        1 => {
            process.signal(Signal::TERM);
            std::thread::park_timeout(Duration::from_micros(trial.chance.below(60_000)));
            process.kill();
        }
        2 => {
            process.signal(Signal::TERM);
            process.wait_for("stopping");
            process.signal(Signal::TERM);
            // It may have been done already.
            let (status, log) = process.end();
            assert!(status.code().is_some(), "{status}:\n{log}");
        }
        _ => drop(process.kill()),
    }
    trial.check();
}

//! Ends at every named point of the program.

use millstream_platform::CRASH_POINTS;

use super::trial::Trial;
use crate::process::Process;

const WINDOW: u64 = 300;
/// Points that a process passes seldom: at its start, or after much was written.
const SELDOM: &[&str] = &["segment-created", "segment-in-place", "log-rolled", "wal-cleaned", "recovered"];

/// Runs the pipeline until it ends at `point`, which it passes so often before; gives what it logged.
fn crash_at(trial: &mut Trial, point: &str, passes: u64) -> String {
    let process = Process::start(trial.command().env("MILLSTREAM_CRASH_AT", format!("{point}:{passes}")));
    let log = process.killed_at(point);
    trial.check();
    log
}

fn go_on_and_finish(trial: &mut Trial) {
    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_pipeline_that_ends_at_any_named_point_goes_on_behind_it() {
    let mut trial = Trial::new("", WINDOW, 0);
    // Every process begins with the recovery from the end of the one before.
    for point in CRASH_POINTS {
        if *point == "log-rolled" {
            // Every batch names the files that it read, so that the log grows fast.
            (0..2_500).for_each(|_| trial.add_file(&"n".repeat(230), 1));
        }
        let passes = if SELDOM.contains(point) { 1 } else { 1 + trial.chance.below(4) };
        crash_at(&mut trial, point, passes);
    }
    go_on_and_finish(&mut trial);
}

#[test]
fn a_recovery_that_ends_at_any_named_point_is_finished_by_the_next() {
    const FROM_BEGUN: &[&str] = &[
        "batch-run",
        "output-staged",
        "output-prepared",
        "states-written",
        "commit-written",
        "output-published",
        "batch-published",
        "recovered",
    ];
    const FROM_COMMITTED: &[&str] = &["output-published", "batch-published", "recovered"];
    let mut trial = Trial::new("", WINDOW, 0);
    for (begun, points) in [("manifest-written", FROM_BEGUN), ("commit-written", FROM_COMMITTED)] {
        // The first batch has them.
        trial.receive(1_000);
        crash_at(&mut trial, begun, 1);
        for point in points {
            let log = crash_at(&mut trial, point, 1);
            assert!(!log.contains("connected"), "{point} was not passed while recovering:\n{log}");
        }
    }
    go_on_and_finish(&mut trial);
}

#[test]
fn a_log_that_goes_over_to_a_new_segment_can_end_there() {
    // Two megabytes are on their way, of a segment's 64.
    let mut trial = Trial::new("receive-memory = \"16MiB\"", 100, 20_000);
    for point in ["segment-created:2", "segment-in-place:2"] {
        let (point, passes) = point.split_once(':').unwrap();
        crash_at(&mut trial, point, passes.parse().unwrap());
    }
    go_on_and_finish(&mut trial);
}

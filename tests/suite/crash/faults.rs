//! Faults of the system: calls of the program that fail, by `strace`, which answers in place of the kernel.
//!
//! Whatever fails, a process either goes on or ends with an error that says what failed; and the next one loses and
//! repeats nothing. Where calls cannot be made to fail, these tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::trial::Trial;
use crate::process::{Process, until};
use crate::support::entries;

const WINDOW: u64 = 300;
/// Calls that make names and bytes safe, which is never tried again where it has failed.
const SYNCS: &str = "fsync,fdatasync";

/// A kind of call that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    /// Each thread's call of that number fails, and no other.
    number: u64,
    scope: Scope,
}

/// On which files calls fail.
#[derive(Clone, Copy, Debug)]
enum Scope {
    All,
    /// The segment of received records that is made next.
    NextSegment,
}

/// How the pipeline took a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Taken {
    WentOn,
    Ended,
}

/// One call of a trace.
#[derive(Debug)]
struct Call {
    /// When it began, as a text that can be compared.
    time: String,
    text: String,
}

impl Call {
    fn has_failed(&self) -> bool {
        self.text.contains("(INJECTED)")
    }

    fn is_sync(&self) -> bool {
        SYNCS.split(',').any(|call| self.text.starts_with(&format!("{call}(")))
    }

    /// The file or folder that it is about: that of its first argument, or of its name. Of a name in a folder that is removed as a
    /// whole, it is the folder.
    fn path(&self) -> &Path {
        let between = |begin, end| Some(self.text.split_once(begin)?.1.split_once(end)?.0);
        let (first, named) = (between('<', '>'), between('"', '"'));
        let is_of_first = self.is_sync() || self.text.starts_with("writev");
        let named = named.filter(|named| !is_of_first && named.starts_with('/'));
        Path::new(named.or(first).unwrap())
    }
}

/// Whether calls can be made to fail here; if not, says why.
#[allow(clippy::print_stderr, reason = "whoever reads the results has to know that nothing was tested")]
fn is_possible() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "-e", "inject=fsync:error=EIO", "true"]);
    let tried = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let possible = tried.is_ok_and(|status| status.success());
    if !possible {
        eprintln!("NOTHING IS TESTED: strace is not installed, or may not trace");
    }
    possible
}

/// The pipeline as it is started with calls that fail, each of which it leaves a line of in files in `trace`. The tracer
/// is a process of its own, so that what is started is the pipeline itself.
fn command(trial: &Trial, trace: &Path, fault: Fault) -> Command {
    let Fault { call, error, number, scope } = fault;
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-ff", "-o"]).arg(trace.join("thread"));
    strace.args(["-e", &format!("trace={SYNCS},{call}")]);
    strace.args(["-e", &format!("inject={call}:error={error}:when={number}..{number}")]);
    if let Scope::NextSegment = scope {
        strace.arg("-P").arg(next_segment(trial));
    }
    let pipeline = trial.command();
    strace.arg("--").arg(pipeline.get_program()).args(pipeline.get_args());
    strace
}

fn next_segment(trial: &Trial) -> PathBuf {
    let folder = trial.project.path("checkpoint/wal");
    let newest = if folder.exists() { entries(&folder).pop() } else { None };
    let newest = newest.map_or(0, |path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    folder.join(format!("{:020}.wal", newest + 1))
}

/// All calls so far, in the order in which they began.
fn calls(trace: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    for thread in entries(trace) {
        let text = String::from_utf8_lossy(&std::fs::read(thread).unwrap()).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        calls.extend(lines.map(|(time, text)| Call { time: time.to_owned(), text: text.to_owned() }));
    }
    calls.sort_by(|a, b| a.time.cmp(&b.time));
    calls
}

/// Runs the pipeline with a fault until it ends, or has gone on for a while, and expects that of it which it is to do.
fn run(trial: &mut Trial, fault: Fault, expected: Option<Taken>) {
    let trace = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut command(trial, trace.path(), fault));
    until("a call that fails", || {
        (process.has_ended() || calls(trace.path()).iter().any(Call::has_failed)).then_some(())
    });
    let wanted = trial.feed.ledger().acknowledged + 2 * WINDOW;
    // One that is ending may go on with something else until it has.
    let goes_on = || expected != Some(Taken::Ended) && trial.feed.ledger().acknowledged >= wanted;
    until("an end or a going on", || (process.has_ended() || goes_on()).then_some(()));
    let taken = if process.has_ended() { Taken::Ended } else { Taken::WentOn };
    if taken == Taken::WentOn {
        process.signal(Signal::TERM);
    }
    let (status, log) = process.end();
    let calls = calls(trace.path());
    let failed: Vec<&Call> = calls.iter().filter(|call| call.has_failed()).collect();
    assert!(status.code().is_some() && !failed.is_empty(), "{fault:?}: {status}, {failed:?}:\n{log}");
    if !status.success() {
        expect_named(fault, &failed, &log);
    }
    expect_no_second_sync(trial, &calls);
    trial.check();
    assert!(expected.is_none_or(|expected| expected == taken), "{fault:?}: {taken:?}\n{log}");
}

/// The error of a process that has ended names the file or folder, and what to do where nobody knows what is on the disk.
fn expect_named(fault: Fault, failed: &[&Call], log: &str) {
    let error = log.lines().find(|line| line.starts_with("error: "));
    let error = error.unwrap_or_else(|| panic!("{fault:?}: no error is told:\n{log}"));
    let names = |call: &&&Call| {
        let path = call.path().to_str().unwrap();
        // A file that is being made may be called what it is going to be.
        let made = [".new", ".tmp"].into_iter().find_map(|suffix| path.strip_suffix(suffix));
        error.contains(path) || made.is_some_and(|path| error.contains(path))
    };
    let named = failed.iter().find(names);
    let named = named.unwrap_or_else(|| panic!("{fault:?}: {error:?} names none of {failed:?}"));
    let is_of_logs = named
        .path()
        .extension()
        .is_some_and(|extension| ["wal", "log", "state"].iter().any(|log| extension == *log));
    assert!(!(named.is_sync() && is_of_logs) || error.contains("start again"), "{fault:?}: {error}");
}

/// A sync that failed was not tried again: the second might answer well though the data is gone.
fn expect_no_second_sync(trial: &Trial, calls: &[Call]) {
    let syncs: Vec<&Call> = calls.iter().filter(|call| call.is_sync()).collect();
    // The folders into which every batch is renamed anew.
    let shared = ["out", "out/words", "out/counted", "out/files", "out/totals"]
        .map(|folder| trial.project.path(folder));
    for (at, failed) in syncs.iter().enumerate().filter(|(_, call)| call.has_failed()) {
        let again = syncs[at + 1..].iter().find(|call| call.path() == failed.path());
        let is_allowed = shared.iter().any(|folder| folder == failed.path());
        assert!(again.is_none() || is_allowed, "{again:?} after {failed:?}");
    }
}

/// Runs one trial through all faults, each of which is to be taken as `expected` says, and lets it come to its end without any.
fn check(
    faults: &[(&'static str, &'static str, &[u64])],
    scope: Scope,
    expected: impl Fn(Fault) -> Option<Taken>,
) {
    if !is_possible() {
        return;
    }
    let mut trial = Trial::new("", WINDOW, 0);
    for (call, error, numbers) in faults {
        for number in *numbers {
            let fault = Fault { call, error, number: *number, scope };
            trial.add_file("", 50);
            run(&mut trial, fault, expected(fault));
        }
    }
    let process = trial.start();
    trial.wait_acknowledged(&process, WINDOW);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_sync_of_the_logs_that_fails_ends_the_process_and_the_next_one_recovers() {
    const FAULTS: &[(&str, &str, &[u64])] =
        &[("fdatasync", "EIO", &[1, 2, 4, 9]), ("fdatasync", "ENOSPC", &[1, 3])];
    check(FAULTS, Scope::All, |_| Some(Taken::Ended));
}

#[test]
fn a_sync_of_a_folder_or_an_output_that_fails_loses_nothing() {
    const FAULTS: &[(&str, &str, &[u64])] =
        &[("fsync", "EIO", &[1, 2, 3, 4, 6, 9]), ("fsync", "ENOSPC", &[2, 5])];
    check(FAULTS, Scope::All, |_| None);
}

#[test]
fn a_write_of_the_logs_that_fails_loses_nothing() {
    const BROKEN: &[(&str, &str, &[u64])] = &[("writev", "EIO", &[1, 2, 4, 9])];
    check(BROKEN, Scope::All, |_| Some(Taken::Ended));
}

#[test]
fn a_disk_that_is_full_for_a_moment_is_waited_for() {
    // Two for the start of the process, which does not wait.
    const FULL: &[(&str, &str, &[u64])] =
        &[("writev", "ENOSPC", &[3, 4, 9]), ("mkdir", "ENOSPC", &[4]), ("rename", "EDQUOT", &[5])];
    check(FULL, Scope::All, |_| Some(Taken::WentOn));
}

#[test]
fn names_that_cannot_be_made_changed_or_removed_lose_nothing() {
    const FAULTS: &[(&str, &str, &[u64])] = &[
        ("rename", "EIO", &[1, 2, 4]),
        ("rename", "ENOSPC", &[2]),
        ("mkdir", "EIO", &[1, 3]),
        ("unlink", "EIO", &[1]),
        ("unlinkat", "EIO", &[1]),
    ];
    check(FAULTS, Scope::All, |_| None);
}

#[test]
fn a_segment_that_cannot_be_begun_loses_nothing() {
    const FAULTS: &[(&str, &str, &[u64])] = &[
        ("openat", "EIO", &[1]),
        ("openat", "EMFILE", &[1]),
        ("openat", "ENOSPC", &[1]),
        ("writev", "ENOSPC", &[1]),
        ("fdatasync", "EIO", &[1]),
    ];
    check(FAULTS, Scope::NextSegment, |fault| match fault.error {
        "ENOSPC" => Some(Taken::WentOn),
        _ => Some(Taken::Ended),
    });
}

//! A checkpoint folder that is not as the program left it: torn, changed, newer, incomplete, or with more in it.
//!
//! Files are taken apart here as the module docs of `host/journal` draw them: a header, and then frames whose length
//! is in their head.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::crash::trial::Trial;
use crate::process::{Process, until};
use crate::support::{entries, stderr, stdout};

/// What is behind the last whole record.
type Tail = fn(&[u8]) -> Vec<u8>;

const WINDOW: u64 = 300;
const HEADER_BYTES: usize = 24;
const HEAD_BYTES: usize = 20;

/// What is in a folder and the folders in it, by path.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Runs until so many records more are acknowledged, and is killed.
fn run_and_kill(trial: &mut Trial, records: u64) {
    let process = trial.start();
    trial.wait_acknowledged(&process, records);
    process.kill();
    trial.check();
}

/// A pipeline with many records in its log of which no batch has taken any, in so many segments.
fn waiting(segments: usize) -> Trial {
    let trial = Trial::new("", WINDOW, 0);
    (0..segments).for_each(|_| trial.receive(1_000));
    assert_eq!(entries(&trial.project.path("checkpoint/wal")).len(), segments);
    trial
}

fn go_on(trial: &mut Trial) -> String {
    let process = trial.start();
    trial.wait_acknowledged(&process, 300);
    trial.stop(process)
}

/// The newest segment in a folder of the checkpoint.
fn newest(trial: &Trial, folder: &str) -> PathBuf {
    let mut files = entries(&trial.project.path(&format!("checkpoint/{folder}"))).into_iter();
    files.rfind(|path| path.extension().is_some_and(|extension| extension == folder)).unwrap()
}

/// Where the frames of a file are: their beginnings, and how long they are.
fn frames(file: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while at + HEAD_BYTES <= file.len() {
        let length = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap());
        let length = HEAD_BYTES + usize::try_from(length).unwrap();
        frames.push((at, length));
        at += length;
    }
    frames
}

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    edit(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Changes a bit in the body of a frame that `choose` chooses out of all, and gives where the frame begins.
fn flip(path: &Path, choose: impl Fn(&[u8]) -> bool) -> usize {
    let mut flipped = 0;
    edit(path, |bytes| {
        let mut chosen = frames(bytes);
        // What comes last was perhaps not on disk, and the first frame says how the file begins.
        chosen.retain(|(at, length)| *length > HEAD_BYTES && choose(&bytes[at + HEAD_BYTES..at + length]));
        let (at, length) = chosen[chosen.len() / 2];
        bytes[at + HEAD_BYTES + (length - HEAD_BYTES) / 2] ^= 1;
        flipped = at;
    });
    flipped
}

fn contents(folder: &Path) -> Contents {
    let mut contents = Contents::new();
    for path in entries(folder) {
        match path.is_dir() {
            true => contents.extend(self::contents(&path)),
            false => drop(contents.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    contents
}

/// Expects the pipeline to be refused with nothing changed in its logs, and gives what it said.
fn refused(trial: &Trial) -> String {
    unchanged(trial, || {
        // It does not end where it is not refused.
        let (status, told) = Process::start(&mut trial.command()).end();
        assert!(!status.success(), "{told}");
        told
    })
}

/// What `repair` says, which fails and changes nothing in the logs.
fn examine(trial: &Trial, more: &[&str]) -> Output {
    unchanged(trial, || {
        let output = trial.project.run("repair", more);
        assert!(!output.status.success(), "{more:?}: {}{}", stdout(&output), stderr(&output));
        output
    })
}

fn unchanged<T>(trial: &Trial, run: impl FnOnce() -> T) -> T {
    let logs = || ["wal", "log"].map(|log| contents(&trial.project.path(&format!("checkpoint/{log}"))));
    let before = logs();
    let done = run();
    assert!(before == logs(), "the logs have changed");
    done
}

/// Expects a pipeline whose file is damaged to be refused with the place, and to go on after a repair; gives how many
/// records that says are lost.
fn repair(trial: &Trial, path: &Path, offset: usize) -> u64 {
    let (name, place) = (path.to_str().unwrap(), format!("at byte {offset}"));
    let told = refused(trial);
    let is_named = told.contains(name) && told.contains(&place) && told.contains("millstream repair");
    assert!(is_named, "{name} {place}: {told}");
    let shown = stdout(&examine(trial, &[]));
    assert!(shown.contains(name) && shown.contains("--apply"), "{shown}");
    let lost = lost(&examine(trial, &["--json"]));
    if lost > 0 {
        assert!(shown.contains(&format!("{lost} records")), "{lost}: {shown}");
    }
    let applied = trial.project.done("repair", &["--apply", "--json"]);
    assert_eq!(self::lost(&applied), lost, "lost, and foreseen to be lost");
    let again = trial.project.run("repair", &[]);
    assert!(again.status.success() && stdout(&again).contains("whole"), "{}", stdout(&again));
    lost
}

fn lost(report: &Output) -> u64 {
    let report: Value = serde_json::from_str(&stdout(report)).unwrap();
    report["lost"].as_array().unwrap().iter().map(|lost| lost["records"].as_u64().unwrap()).sum()
}

/// Lets a pipeline come to its end, and expects of all records that are safe each once, but for so many.
fn finish_without(trial: &Trial, lost: u64) {
    trial.feed.finish();
    trial.project.run_once();
    let ledger = trial.feed.ledger();
    assert!(ledger.faults.is_empty(), "{ledger:?}");
    for sink in ["out/words", "out/counted"] {
        let lines = trial.project.lines(sink);
        let number = |line: &String| line.split(' ').nth(1).unwrap().parse().unwrap();
        let numbers: BTreeSet<u64> = lines.iter().map(number).collect();
        assert_eq!(numbers.len(), lines.len(), "{sink} has records twice");
        let missing = (0..ledger.acknowledged).filter(|number| !numbers.contains(number)).count();
        assert_eq!(missing as u64, lost, "missing in {sink}, and lost");
    }
    let status = trial.status();
    assert_eq!(status["status"]["dead-letters"], lost, "{status}");
}

#[test]
fn what_a_crash_tore_off_is_cut_and_told() {
    let tails: [Tail; 3] = [
        |_| vec![0; 3_000],
        |_| b"no frame at all".to_vec(),
        // As a file that is cut short in the middle of a frame would end, at another place.
        |file| file[frames(file)[1].0..][..25].to_vec(),
    ];
    let mut trial = Trial::new("", WINDOW, 0);
    for folder in ["wal", "log"] {
        for tail in tails {
            run_and_kill(&mut trial, 500);
            let path = newest(&trial, folder);
            edit(&path, |bytes| bytes.extend(tail(bytes)));
            let report = trial.project.run("repair", &[]);
            assert!(report.status.success() && stdout(&report).contains("as a crash leaves it"));
            let log = go_on(&mut trial);
            assert!(log.contains("tore") && log.contains(path.to_str().unwrap()), "{log}");
        }
    }
    trial.finish();
}

#[test]
fn a_group_that_was_written_and_not_synced_may_be_torn_anywhere() {
    let mut trial = Trial::new("", WINDOW, 0);
    for cut_bytes in [1, 30, 100] {
        let process = Process::start(trial.command().env("MILLSTREAM_CRASH_AT", "wal-appended:10"));
        process.killed_at("wal-appended");
        edit(&newest(&trial, "wal"), |bytes| bytes.truncate(bytes.len() - cut_bytes));
        trial.check();
    }
    go_on(&mut trial);
    trial.finish();
}

#[test]
fn a_changed_bit_in_received_records_is_refused_and_repaired_at_the_cost_of_its_frame() {
    let trial = waiting(1);
    let path = newest(&trial, "wal");
    let offset = flip(&path, |_| true);
    let lost = repair(&trial, &path, offset);
    assert!(lost > 0);
    finish_without(&trial, lost);
}

#[test]
fn a_segment_of_received_records_that_is_missing_is_refused_and_repaired_at_the_cost_of_its_records() {
    let trial = waiting(3);
    let segments = entries(&trial.project.path("checkpoint/wal"));
    std::fs::remove_file(&segments[1]).unwrap();
    let lost = repair(&trial, &segments[2], 0);
    assert!(lost > 0);
    finish_without(&trial, lost);
}

#[test]
fn a_changed_bit_in_the_batch_log_is_refused_and_repaired_without_a_loss() {
    let mut trial = Trial::new("", WINDOW, 0);
    for kind in ["{\"begin\"", "{\"commit\"", "{\"published\""] {
        let process = trial.start();
        let before = trial.batches();
        // What comes last could be what a crash tore.
        until("many batches", || (trial.batches() > before + 8).then_some(()));
        process.kill();
        trial.check();
        let path = newest(&trial, "log");
        let offset = flip(&path, |body| body.starts_with(kind.as_bytes()));
        assert_eq!(repair(&trial, &path, offset), 0, "{kind}");
        go_on(&mut trial);
    }
}

#[test]
fn a_newer_format_is_refused_with_its_number_and_left_as_it_is() {
    let mut trial = Trial::new("", WINDOW, 0);
    run_and_kill(&mut trial, 500);
    for folder in ["wal", "log"] {
        let path = newest(&trial, folder);
        let original = std::fs::read(&path).unwrap();
        edit(&path, |bytes| {
            bytes[8..12].copy_from_slice(&77_u32.to_le_bytes());
            let mut crc = flate2::Crc::new();
            crc.update(&bytes[..20]);
            bytes[20..24].copy_from_slice(&crc.sum().to_le_bytes());
        });
        let said = |output: Output| stdout(&output) + &stderr(&output);
        let all = [refused(&trial), said(examine(&trial, &[])), said(examine(&trial, &["--apply"]))];
        for told in all {
            let is_named = told.contains(path.to_str().unwrap()) && told.contains("format 77");
            assert!(is_named && told.contains("newer millstream"), "{told}");
        }
        std::fs::write(&path, original).unwrap();
    }
    go_on(&mut trial);
    trial.finish();
}

#[test]
fn folders_that_are_empty_are_as_good_as_none() {
    let mut trial = Trial::new("", WINDOW, 0);
    for folder in ["checkpoint", "checkpoint/log", "checkpoint/wal", "checkpoint/versions", "out/words"] {
        std::fs::create_dir_all(trial.project.path(folder)).unwrap();
    }
    go_on(&mut trial);
    trial.finish();
}

#[test]
fn what_a_killed_process_and_others_left_in_the_folder_is_no_obstacle() {
    let mut trial = Trial::new("", WINDOW, 0);
    run_and_kill(&mut trial, 500);
    assert!(
        trial.project.path("checkpoint/lock").exists() && trial.project.path("checkpoint/control").exists()
    );
    for folder in ["", "log/", "wal/", "versions/"] {
        for name in
            ["README", "1.wal", "00000000000000000007.log.bak", "99999999999999999999.wal", "aside/file"]
        {
            trial.project.write(&format!("checkpoint/{folder}{name}"), "somebody's");
        }
    }
    trial.project.write("checkpoint/host.json", "no object");
    go_on(&mut trial);
    trial.finish();
    assert_eq!(std::fs::read(trial.project.path("checkpoint/wal/README")).unwrap(), b"somebody's");
}

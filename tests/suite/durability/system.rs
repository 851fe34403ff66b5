//! A system that gives too little: room on the disk, files that may be open, a folder that may be written to.
//!
//! A disk of a certain size is a file system in memory. Where none can be mounted, tests that need one say so and do
//! nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::crash::trial::Trial;
use crate::process::{Process, until};

const WINDOW: u64 = 300;

/// A disk in memory, until it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many mebibytes; none, where nothing can be mounted, which is told.
    #[allow(clippy::print_stderr, reason = "whoever reads the results has to know that nothing was tested")]
    fn mount(mebibytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("NOTHING IS TESTED: a file system cannot be mounted; that takes root");
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let status = Command::new("mount").args(["-o", &option]).arg(self.path()).status().unwrap();
        assert!(status.success(), "{option}: {status}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still have files open on it.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.unwrap().success() || std::thread::panicking(), "{} stays", self.path().display());
    }
}

/// Fills the disk under a pipeline until that says so.
fn fill(trial: &Trial) -> Process {
    let process = trial.start();
    process.wait_for("room");
    process
}

#[test]
fn a_pipeline_whose_disk_is_full_says_so_waits_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let mut trial = Trial::within(disk.path(), "", WINDOW, 1_000);
    for mebibytes in [12, 24, 512] {
        trial.add_file("", 100);
        let process = fill(&trial);
        let status = until("trouble in the status", || {
            Some(trial.status()).filter(|status| !status["status"]["trouble"].is_null())
        });
        let trouble = status["status"]["trouble"].as_str().unwrap();
        assert!(trouble.contains("No space left"), "{trouble}");
        disk.remount(&format!("size={mebibytes}m"));
        trial.wait_acknowledged(&process, 2 * WINDOW);
        trial.check();
        process.kill();
        trial.check();
    }
    trial.finish();
}

#[test]
fn a_pipeline_that_is_stopped_or_killed_while_its_disk_is_full_loses_nothing() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let mut trial = Trial::within(disk.path(), "", WINDOW, 1_000);
    fill(&trial).kill();
    trial.check();
    // Started on a full disk, it ends with an error or waits.
    let mut process = trial.start();
    until("an end or a wait", || (process.has_ended() || process.log().contains("room")).then_some(()));
    if process.has_ended() {
        let (status, log) = process.end();
        assert!(!status.success() && log.contains("No space left"), "{status}: {log}");
    } else {
        process.kill();
    }
    trial.check();
    disk.remount("size=6m");
    let process = fill(&trial);
    process.signal(rustix::process::Signal::TERM);
    process.wait_for("stopping");
    disk.remount("size=512m");
    let (status, log) = process.end();
    assert!(status.success(), "{status}: {log}");
    trial.check();
    trial.finish();
}

#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let mut trial = Trial::within(disk.path(), "", WINDOW, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 500);
    trial.stop(process);
    disk.remount("ro");
    expect_refused(&trial, "Read-only");
    disk.remount("rw");
    trial.finish();
}

#[test]
fn a_checkpoint_that_is_no_folder_is_named() {
    let trial = Trial::new("", WINDOW, 0);
    trial.project.write("checkpoint", "a file");
    expect_refused(&trial, "");
    std::fs::remove_file(trial.project.path("checkpoint")).unwrap();
    trial.project.write("checkpoint/wal", "a file");
    expect_refused(&trial, "wal");
}

/// Expects the pipeline to end at once, with an error that names its checkpoint folder and the reason.
fn expect_refused(trial: &Trial, reason: &str) {
    let (status, log) = Process::start(&mut trial.command()).end();
    assert!(matches!(status.code(), Some(1 | 78)), "{status}: {log}");
    let checkpoint = trial.project.path("checkpoint");
    let is_named = log.contains(checkpoint.to_str().unwrap()) && log.contains(reason);
    assert!(is_named && log.contains("error: "), "{log}");
}

#[test]
fn a_process_that_may_not_open_enough_files_says_so_and_loses_nothing() {
    let mut trial = Trial::new("", WINDOW, 0);
    for files in [4, 8, 12, 16, 20, 24, 32] {
        let run = trial.command();
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {files} && exec \"$@\""), "sh"]);
        let mut process = Process::start(limited.arg(run.get_program()).args(run.get_args()));
        let wanted = trial.feed.ledger().acknowledged + 2 * WINDOW;
        until("an end or a going on", || {
            (process.has_ended() || trial.feed.ledger().acknowledged >= wanted).then_some(())
        });
        if process.has_ended() {
            let (status, log) = process.end();
            let is_told = log.contains("Too many open files") || log.contains("cannot open shared object");
            assert!(status.code().is_some() && is_told, "{files} files: {status}: {log}");
        } else {
            process.kill();
        }
        trial.check();
    }
    trial.finish();
}

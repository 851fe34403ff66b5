//! Beginning, going on and ending, with and without somebody who watches over it.

use rustix::process::Signal;
use serde_json::Value;

use crate::crash::trial::Trial;
use crate::process::{Process, send, until};

const WINDOW: u64 = 300;

/// The id of the process that runs on the trial's checkpoint, as that says.
fn host(trial: &Trial) -> u32 {
    let text = std::fs::read(trial.project.path("checkpoint/host.json")).unwrap();
    let host: Value = serde_json::from_slice(&text).unwrap();
    u32::try_from(host["pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_second_process_is_refused_with_the_id_of_the_first_and_does_not_disturb_it() {
    let mut trial = Trial::new("", WINDOW, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 1);
    let told = trial.project.refused("run", &[]);
    assert!(told.contains("in use") && told.contains(&process.id().to_string()), "{told}");
    trial.wait_acknowledged(&process, 500);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_pipeline_that_is_started_again_counts_on_and_takes_no_file_twice() {
    let mut trial = Trial::new("", WINDOW, 0);
    let mut batches = 0;
    for _ in 0..3 {
        trial.add_file("", 100);
        let process = trial.start();
        trial.wait_acknowledged(&process, 500);
        trial.stop(process);
        let status = trial.status();
        assert_eq!(status["running"], false, "{status}");
        let (before, now) = (batches, status["status"]["batches"].as_u64().unwrap());
        assert!(now > before, "{now} batches, {before} before");
        batches = now;
    }
    trial.finish();
}

#[test]
fn a_stop_at_full_speed_leaves_nothing_that_was_acknowledged_out() {
    let mut trial = Trial::new("", 20_000, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 20_000);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_second_stop_is_immediate_and_loses_nothing() {
    let mut trial = Trial::new("", 3_000, 0);
    for _ in 0..3 {
        let process = trial.start();
        trial.wait_acknowledged(&process, 3_000);
        process.signal(Signal::TERM);
        process.wait_for("stopping");
        process.signal(Signal::TERM);
        let (status, log) = process.end();
        assert!(status.code().is_some(), "{status}: {log}");
        trial.check();
    }
    let process = trial.start();
    process.wait_for("trial runs");
    trial.project.done("stop", &["--now"]);
    process.end();
    trial.check();
    trial.finish();
}

#[test]
fn a_supervised_pipeline_is_started_again_when_it_is_killed_and_ends_when_it_is_told() {
    let mut trial = Trial::new("", WINDOW, 0);
    let process = Process::start(trial.command().arg("--supervise"));
    for _ in 0..2 {
        trial.wait_acknowledged(&process, 500);
        let killed = host(&trial);
        assert_ne!(killed, process.id());
        send(killed, Signal::KILL);
        until("another process", || (host(&trial) != killed).then_some(()));
    }
    trial.wait_acknowledged(&process, 500);
    let log = process.stop();
    assert_eq!(log.matches("starts again").count(), 2, "{log}");
    trial.check();
    trial.finish();
}

#[test]
fn a_supervised_pipeline_that_is_refused_is_not_started_again() {
    let trial = Trial::new("no-such-key = 1", WINDOW, 0);
    let (status, log) = Process::start(trial.command().arg("--supervise")).end();
    assert_eq!(status.code(), Some(78), "{log}");
    assert_eq!(log.matches("no-such-key").count(), 1, "{log}");
}

#[test]
fn a_pipeline_that_is_paused_for_long_goes_on() {
    let mut trial = Trial::new("catch-up = \"every-batch\"", WINDOW, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 500);
    process.signal(Signal::STOP);
    // Ten ticks go by, and nothing of it can be seen: it is the time that matters here.
    std::thread::park_timeout(std::time::Duration::from_secs(1));
    process.signal(Signal::CONT);
    trial.wait_acknowledged(&process, 500);
    trial.stop(process);
    trial.finish();
}

#[test]
fn a_batch_that_was_begun_is_finished_by_the_version_that_began_it() {
    let mut trial = Trial::new("", WINDOW, 0);
    trial.receive(1_000);
    Process::start(trial.command().env("MILLSTREAM_CRASH_AT", "manifest-written"))
        .killed_at("manifest-written");
    trial.check();
    let before = trial.batches();
    let text = std::fs::read_to_string(trial.project.path("pipeline.toml")).unwrap();
    let doubled = "[streams.counted]\nsql = \"SELECT value || '!' AS word FROM lines\"";
    let changed = text.replace("[streams.counted]\nfrom = \"lines\"\nmap = \"hostile.count\"", doubled);
    assert_ne!(changed, text);
    trial.project.write("pipeline.toml", changed);
    let process = trial.start();
    process.wait_for("another version");
    trial.wait_acknowledged(&process, 300);
    until("batches of both versions", || (trial.batches() > before + 2).then_some(()));
    process.stop();
    // The records of the first version end where those of the second begin.
    let marked: Vec<bool> =
        trial.project.lines("out/counted").iter().map(|line| line.contains('!')).collect();
    let switch = marked.iter().position(|marked| *marked).expect("the new version has run");
    assert!(switch > 0 && marked[switch..].iter().all(|marked| *marked), "one version, then the other");
    let mut folders = crate::support::entries(&trial.project.path("out/counted")).into_iter();
    assert!(folders.all(|folder| one_version(&folder)), "no batch is of both");
}

/// Whether all rows of a batch are of the same version.
fn one_version(folder: &std::path::Path) -> bool {
    let texts =
        crate::support::entries(folder).into_iter().map(|part| std::fs::read_to_string(part).unwrap());
    let text: String = texts.collect();
    let marked = text.lines().filter(|line| line.contains('!')).count();
    marked == 0 || marked == text.lines().count()
}

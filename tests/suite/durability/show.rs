//! `status`: of a pipeline that runs, that is too slow, and that does not run.

use serde_json::Value;

use crate::crash::trial::Trial;
use crate::process::until;
use crate::support::stdout;

/// The receiver of the socket.
fn receiver(status: &Value) -> &Value {
    let receivers = status["status"]["receivers"].as_array().unwrap();
    receivers.iter().find(|receiver| receiver["receiver"] == "lines").unwrap_or(&Value::Null)
}

#[test]
fn status_shows_a_pipeline_while_it_runs_and_where_it_was_left() {
    let mut trial = Trial::new("", 300, 0);
    let process = trial.start();
    trial.wait_acknowledged(&process, 1_000);
    // It is a second old at most.
    let status = until("a batch and what was received in the status", || {
        let is_shown = |status: &Value| {
            status["status"]["records"].as_u64() > Some(0)
                && receiver(status)["records"].as_u64() >= Some(1_000)
        };
        Some(trial.status()).filter(is_shown)
    });
    assert_eq!((&status["running"], &status["pid"]), (&true.into(), &process.id().into()), "{status}");
    assert_eq!(status["status"]["phase"], "running", "{status}");
    assert!(status["status"]["accumulators"]["hostile.rows"].as_u64() > Some(0), "{status}");
    assert!(status["status"]["log-bytes"].as_u64() > Some(0), "{status}");
    let recent = status["status"]["recent"].as_array().unwrap();
    assert!(recent.iter().all(|batch| batch["processing-ms"].as_f64() > Some(0.0)), "{status}");
    let text = stdout(&trial.project.run("status", &[]));
    let running = format!("trial: running, process {}", process.id());
    assert!(
        text.starts_with(&running) && text.contains("source lines") && text.contains("hostile.rows = "),
        "{text}"
    );
    process.kill();
    let text = stdout(&trial.project.run("status", &[]));
    assert!(text.starts_with("trial: not running") && text.contains("wait to be processed"), "{text}");
    trial.check();
    trial.finish();
}

#[test]
fn a_source_that_is_too_fast_waits_and_memory_stays_bounded() {
    // Far more than the memory may hold is on its way, and no batch is ever done: the first one sleeps for an hour.
    const MEMORY: u64 = 1 << 20;
    let trial = Trial::new("receive-memory = \"1MiB\"\nreceive-disk = \"4MiB\"", 1_000_000, 2_000);
    let file = trial.project.path("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("map = \"hostile.count\"", "map = \"hostile.sleep\"");
    let text = text.replace("[plugins.hostile]\n", "[plugins.hostile]\nlimit = { time = \"1h\" }\n");
    std::fs::write(&file, text).unwrap();
    let process = trial.start();
    process.wait_for("trial runs");
    let status = until("a receiver that waits", || {
        Some(trial.status()).filter(|status| receiver(status)["waiting"] == true)
    });
    let held = receiver(&status);
    assert!(held["memory-bytes"].as_u64() < Some(2 * MEMORY), "{status}");
    let on_disk = held["spilled-bytes"].as_u64().unwrap();
    assert!(on_disk < 6 << 20, "{status}");
    assert!(stdout(&trial.project.run("status", &[])).contains("held back"));
    let stopped = trial.project.run("stop", &["--now"]);
    assert!(stopped.status.success());
    let (status, log) = process.end();
    assert!(status.code().is_some(), "{log}");
}

#[test]
fn status_of_a_pipeline_that_never_ran() {
    let trial = Trial::new("", 300, 0);
    let shown = trial.status();
    assert_eq!((&shown["running"], &shown["status"]["batches"]), (&false.into(), &0.into()), "{shown}");
}

//! What batches notice of a migration: a pipeline with a million keys under an even load, whose states are made into those of
//! another version beside it, with keys that become the same.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Process, appeared, batches, now_ms};
use crate::sending::{Sending, connect, free_address, send_evenly};
use crate::state::{NEIGHBOURS, delays, median};

/// Words as they are written; every second one differs from the one before in its case alone, up to `MERGED`.
const KEYS: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
const MERGED: u64 = KEYS / 10;
/// Words a second, after the first of each.
const RATE: u64 = if cfg!(debug_assertions) { 5_000 } else { 50_000 };
const INTERVAL_MS: i64 = 100;
const AROUND: Duration = Duration::from_secs(5);

const PIPELINE: &str = r#"
name = "migrate"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"
[plugins.running]
component = "PLUGINS/running-1.wasm"
[sources.lines]
type = "socket"
listen = "ADDRESS"
[streams.words]
from = "lines"
flat-map = "running.words"
[streams.counts]
from = "words"
update-state = { by = ["word"], function = "running.running" }
[streams.seen]
sql = "SELECT count(*) AS words FROM counts"
[sinks.seen]
from = "seen"
type = "files"
path = "seen"
"#;

const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bin");

fn word(number: u64) -> String {
    match number < 2 * MERGED {
        true => format!("{}-{}", ["word", "Word"][(number % 2) as usize], number / 2),
        false => format!("word-{number}"),
    }
}

/// Sends each word once, then words at an even rate until it is told to end; gives how many of each were sent.
fn send(address: &str, has_begun: &AtomicBool, ended: &AtomicBool) -> Result<u64> {
    let mut stream = connect(address, ended).context("nobody listens")?;
    for numbers in (0..KEYS).collect::<Vec<_>>().chunks(10_000) {
        let lines: String = numbers.iter().map(|number| word(*number) + "\n").collect();
        stream.write_all(lines.as_bytes())?;
    }
    has_begun.store(true, Ordering::Relaxed);
    let sent = send_evenly(RATE, ended, |numbers| {
        // A stride that meets all keys in turn.
        let lines: String = numbers.map(|number| word(number * 7_919 % KEYS) + "\n").collect();
        Ok(stream.write_all(lines.as_bytes())?)
    })?;
    Ok(KEYS + sent)
}

/// The batches' times, and when their outputs appeared after those, in ms.
fn lateness(folder: &Path) -> Result<BTreeMap<i64, f64>> {
    let late =
        |(time, batch): (i64, PathBuf)| Ok((time, appeared(&batch)?.as_secs_f64() * 1e3 - time as f64));
    batches(folder)?.into_iter().map(late).collect()
}

/// Migrates the states of a running pipeline, and prints what its batches noticed.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let text = PIPELINE.replace("PLUGINS", PLUGINS).replace("ADDRESS", &address);
    let mut process = Process::start(folder.path(), &text)?;
    let has_begun = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&has_begun);
    let sending = Sending::start(move |ended| send(&address, &noted, ended));
    while !has_begun.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
    // Until the batches that were large are done, and then as long again without a migration as around it.
    thread::sleep(2 * AROUND);
    let asked_ms = now_ms()?;
    let report = process.upgrade("running", &Path::new(PLUGINS).join("running-2.wasm"))?;
    let answered_ms = now_ms()?;
    thread::sleep(AROUND);
    let sent = sending.end()??;
    process.stop()?;
    let (keys, words) = states(&process)?;
    ensure!((keys, words) == (KEYS - MERGED, sent), "{keys} keys with {words} words, and {sent} were sent");
    println!("{}", report["migrated"]);
    println!(
        "asked for and answered after {} ms; {keys} keys and all {words} words are there",
        answered_ms - asked_ms
    );
    print_delays(&lateness(&folder.path().join("seen"))?, asked_ms, answered_ms);
    Ok(())
}

/// How many keys have a state, and how many words they were given.
fn states(process: &Process) -> Result<(u64, u64)> {
    let mut shown = process.command("state").args(["counts", "--json"]).stdout(Stdio::piped()).spawn()?;
    let (mut keys, mut words) = (0, 0);
    for line in BufReader::new(shown.stdout.take().context("it is piped")?).lines() {
        let state: Value = serde_json::from_str(&line?)?;
        (keys, words) = (keys + 1, words + state["count"].as_u64().context("a word has a count")?);
    }
    ensure!(shown.wait()?.success(), "the states cannot be shown");
    Ok((keys, words))
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
fn print_delays(batches: &BTreeMap<i64, f64>, asked_ms: i64, answered_ms: i64) {
    let (times, late): (Vec<i64>, Vec<f64>) = batches.iter().map(|(time, late)| (*time, *late)).unzip();
    let delays = delays(&late);
    let quiet_from = asked_ms - AROUND.as_millis() as i64;
    let last = times[times.len() - 1 - NEIGHBOURS];
    let cases = [
        ("before", quiet_from..asked_ms - INTERVAL_MS),
        ("beside", asked_ms - INTERVAL_MS..answered_ms),
        ("after", answered_ms..last),
    ];
    println!("{:<10} {:>8} {:>10} {:>10} {:>10}", "batches", "number", "output ms", "longest", "delay max");
    for (name, range) in cases {
        let picked: Vec<usize> = (0..times.len()).filter(|at| range.contains(&times[*at])).collect();
        let of = |values: &[f64]| picked.iter().map(|at| values[*at]).collect::<Vec<f64>>();
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        println!(
            "{name:<10} {:>8} {:>10.1} {:>10.1} {:>10.1}",
            picked.len(),
            median(of(&late)),
            most(&of(&late)),
            most(&of(&delays))
        );
    }
    let pauses = times.windows(2).filter(|pair| pair[0] >= quiet_from).map(|pair| pair[1] - pair[0]);
    let longest = pauses.max().unwrap_or(0);
    println!("longest time between two batches {longest} ms, of {INTERVAL_MS} ms that are meant");
}

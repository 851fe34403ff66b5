//! Whether what is accounted for is what the process took: `cargo xtask bench accounting`.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use millstream_engine::{Cpu, Mode};
use millstream_model::Usage;
use millstream_platform::thread_cpu;
use millstream_plugins::Sandbox;

use crate::pipeline::{Executed, Feed, Totals, run_accounted};
use crate::{corpus, measure};

const LINES: usize = 1_000_000;
/// As many rows as a call is given at most, where the batch has them.
const BATCH_ROWS: usize = 400_000;
const CALL_ROWS_MAX: f64 = 65_536.0;
/// The sum may be as far off.
const APART_MAX: f64 = 0.05;
/// Readings of the clock that are timed together.
const READINGS: u32 = 100_000;

/// Counts words in a process of its own, which prints what it found.
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("corpus.txt");
    corpus::write(&corpus, LINES)?;
    let mut process = Command::new(env::current_exe()?);
    let process = process.arg("measure-accounting").arg(&corpus).stderr(Stdio::inherit());
    ensure!(process.status()?.success(), "measuring failed");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn measure(corpus: &Path) -> Result<()> {
    let feed = Feed {
        keys: &format!("type = \"files\"\npath = {:?}", corpus.display().to_string()),
        totals: Totals::Batch,
        source: Some(measure::memory(corpus)?),
        checkpoint: Some(corpus.with_extension("checkpoint")),
        max_batch_rows: BATCH_ROWS,
        mode: Mode::Once,
        words: corpus::words(corpus)?,
    };
    let Executed { functions, cpu, .. } = run_accounted(&Sandbox::new()?, feed)?;
    let (name, usage) = functions.first_key_value().context("no function was called")?;
    let parts = parts(usage, &cpu);
    let sum: f64 = parts.values().sum();
    println!("\n{name}: {usage:?}\n");
    println!("{:<28} {:>10} {:>7}", "part", "CPU ms", "share");
    for (part, ms) in &parts {
        println!("{part:<28} {ms:>10.1} {:>6.1}%", 100.0 * ms / cpu.process_ms);
    }
    println!("{:<28} {sum:>10.1}", "sum");
    println!("{:<28} {:>10.1}", "the process", cpu.process_ms);
    println!("\nsum / process: {:.4}", sum / cpu.process_ms);
    let call_ns = usage.cpu_ns as f64 / usage.calls as f64;
    let rows = usage.rows_in as f64 / usage.calls as f64;
    let largest_ns = call_ns * CALL_ROWS_MAX / rows;
    let reading_ns = reading_ns();
    println!(
        "a call of {rows:.0} rows: {:.2} ms; two readings of the clock, as each poll of a call makes: {:.0} ns, {:.4}% of a call of {CALL_ROWS_MAX} rows",
        call_ns / 1e6,
        2.0 * reading_ns,
        100.0 * 2.0 * reading_ns / largest_ns
    );
    ensure!((sum / cpu.process_ms - 1.0).abs() <= APART_MAX, "the parts are not the process");
    ensure!(usage.cpu_ns as f64 / 1e6 <= cpu.computing_ms(), "functions are a part of what computes");
    Ok(())
}

/// What the process took, each part as it is measured by itself.
fn parts(usage: &Usage, cpu: &Cpu) -> BTreeMap<String, f64> {
    let functions = usage.cpu_ns as f64 / 1e6;
    let others = cpu.threads_ms.iter().filter(|(name, _)| *name != Cpu::COMPUTING);
    let mut parts: BTreeMap<String, f64> =
        others.map(|(name, ms)| (format!("threads \"{name}\""), *ms)).collect();
    parts.insert("functions".to_owned(), functions);
    parts.insert("batches beside functions".to_owned(), cpu.computing_ms() - functions);
    parts
}

/// What it costs to read a thread's time once.
fn reading_ns() -> f64 {
    let begun = thread_cpu();
    let last = (0..READINGS).map(|_| std::hint::black_box(thread_cpu())).max().unwrap_or(begun);
    (last - begun).as_nanos() as f64 / f64::from(READINGS)
}

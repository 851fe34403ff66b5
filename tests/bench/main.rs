//! The word count, and states and windows, measured: `cargo xtask bench`.
//!
//! One run prints everything that is compared, so that a ratio is of the same machine at the same time. Each
//! measurement is a process of its own, which makes its peak memory its own; they take turns, and medians count.

mod accounting;
mod compile;
mod corpus;
mod durability;
mod fork;
mod gap;
mod limit;
mod measure;
mod migrate;
mod native;
mod numbered;
mod origin;
mod passed;
mod pipeline;
mod poison;
mod process;
mod receivers;
mod sending;
mod state;
mod swaps;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use measure::Measured;

/// Lines of the corpus: about 160 MB.
const LINES: usize = 4_000_000;
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", what, corpus] => print_measured(&measure::measure(what, Path::new(corpus))?),
        words if words.contains(&"--bench") && words.contains(&"recovery") => durability::recovery()?,
        words if words.contains(&"--bench") && words.contains(&"overload") => durability::overload()?,
        ["measure-accounting", corpus] => accounting::measure(Path::new(corpus))?,
        words if words.contains(&"--bench") && words.contains(&"accounting") => accounting::run()?,
        words if words.contains(&"--bench") && words.contains(&"compile") => compile::run()?,
        ["generate", address, corpus] => corpus::serve(address, Path::new(corpus))?,
        ["measure-state", case] => state::measure(case)?,
        words if words.contains(&"--bench") && words.contains(&"state") => state::run(words)?,
        words if words.contains(&"--bench") && words.contains(&"fork") => fork::run()?,
        words if words.contains(&"--bench") && words.contains(&"poison") => poison::run()?,
        words if words.contains(&"--bench") && words.contains(&"origin") => origin::run()?,
        words if words.contains(&"--bench") && words.contains(&"receivers") => receivers::run()?,
        words if words.contains(&"--bench") && words.contains(&"swaps") => swaps::run(words)?,
        words if words.contains(&"--bench") && words.contains(&"migrate") => migrate::run()?,
        words if words.contains(&"--bench") && words.contains(&"gap") => gap::run_all()?,
        words if words.contains(&"--bench") => run(words)?,
        // Built and started by `cargo test --all-targets` as well; there is nothing to test here.
        _ => {}
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answer to the process that asked")]
fn print_measured(measured: &Measured) {
    println!("{} {} {}", measured.rows, measured.seconds, measured.peak_memory_bytes);
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
fn run(words: &[&str]) -> Result<()> {
    let only = words.iter().find(|word| !word.starts_with("--"));
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("corpus.txt");
    corpus::write(&corpus, LINES)?;
    let measures: Vec<&str> =
        measure::ALL.iter().copied().filter(|name| only.is_none_or(|only| only == name)).collect();
    let mut all: Vec<(&str, Vec<Measured>)> = measures.iter().map(|name| (*name, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (name, measured) in &mut all {
            measured.push(in_a_process(name, &corpus)?);
        }
    }
    println!(
        "\nmedian of {ROUNDS} rounds, {LINES} lines of {} bytes on average\n",
        corpus::bytes_per_line(&corpus, LINES)?
    );
    println!("{:<16} {:>14} {:>12} {:>14}", "measure", "M lines/s", "ms/batch", "peak MiB");
    for (name, measured) in &all {
        let (rate, batch) =
            (median(measured, Measured::rows_per_second), median(measured, Measured::ms_per_batch));
        let memory = median(measured, |m| m.peak_memory_bytes as f64 / f64::from(1 << 20));
        println!("{name:<16} {:>14.2} {:>12} {memory:>14.0}", rate / 1e6, batch_column(name, batch));
    }
    println!();
    for (name, over) in [
        ("files", "native"),
        ("memory", "memory-native"),
        ("files", "limit"),
        ("socket", "limit"),
        ("socket-logged", "socket"),
        ("socket-window", "socket"),
    ] {
        if let Some((ratio, low, high)) = ratio(&all, name, over) {
            println!("{name} / {over}: {ratio:.2} (rounds: {low:.2} to {high:.2})");
        }
    }
    Ok(())
}

fn batch_column(name: &str, ms: f64) -> String {
    if name.starts_with("tiny") { format!("{ms:.3}") } else { "-".to_owned() }
}

fn in_a_process(name: &str, corpus: &Path) -> Result<Measured> {
    let mut process = Command::new(env::current_exe()?);
    let output = process.args(["measure", name]).arg(corpus).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "measuring {name} failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<&str> = text.split_whitespace().collect();
    let [rows, seconds, memory] = numbers.as_slice() else { bail!("measuring {name} answered {text:?}") };
    let measured =
        Measured { rows: rows.parse()?, seconds: seconds.parse()?, peak_memory_bytes: memory.parse()? };
    Ok(measured)
}

fn median(measured: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = measured.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median, least and greatest ratio of two measures, round by round.
fn ratio(all: &[(&str, Vec<Measured>)], name: &str, over: &str) -> Option<(f64, f64, f64)> {
    let of = |name| all.iter().find(|(other, _)| *other == name).map(|(_, measured)| measured);
    let rounds = of(name)?.iter().zip(of(over)?);
    let mut ratios: Vec<f64> = rounds.map(|(a, b)| a.rows_per_second() / b.rows_per_second()).collect();
    ratios.sort_by(f64::total_cmp);
    Some((ratios[ratios.len() / 2], ratios[0], *ratios.last()?))
}

/// A generator process that serves the corpus on `address`, once.
fn generator(address: &str, corpus: &Path) -> Result<std::process::Child> {
    let mut process = Command::new(env::current_exe()?);
    process.args(["generate", address]).arg(corpus).spawn().context("starting the generator")
}

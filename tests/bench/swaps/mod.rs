//! What a batch notices of a swap: a pipeline with states and a window under an even load, whose plugin is swapped again and
//! again while it runs.
//!
//! Lines are numbered, and what is in them follows from their numbers. Each batch puts out which lines it has, with digests of
//! what it made of them, so that a model computes afterwards what it should have put out: what it would have without swaps.

mod lines;
mod model;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use self::lines::send;
use self::model::{Batch, batches, check};
use crate::process::{Process, TEXT_PLUGIN, now_ms, variant};
use crate::sending::{Sending, free_address};
use crate::state::{NEIGHBOURS, delays, median};

/// Lines a second.
const RATE: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
const KEYS: u64 = 100_000;
const SWAPS: usize = if cfg!(debug_assertions) { 10 } else { 100 };
const INTERVAL_MS: i64 = 100;
const LENGTH_MS: i64 = 3_000;
/// Until the window is full and each key was there, nothing counts.
const BEGINNING: Duration = Duration::from_secs(6);
/// From the end of a swap to the next.
const BETWEEN: Duration = Duration::from_millis(300);
/// The batches from the first of a new version on that may feel its newness.
const NEW: i64 = 3;

/// The windows that are swapped, each a key of the stream `totals`.
const CASES: &[(&str, &str)] = &[
    ("aggregate", r#"aggregate = { by = ["key"], amount = "sum(amount)", window = { length = "3s" } }"#),
    ("reduce", r#"reduce = { by = ["key"], function = "text.add", window = { length = "3s" } }"#),
    (
        "inverse",
        r#"reduce = { by = ["key"], function = "text.add", inverse = "text.subtract", keep = "amount <> 0", window = { length = "3s" } }"#,
    ),
];

const PIPELINE: &str = r#"
name = "swaps"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"
[plugins.text]
component = "PLUGIN"
[sources.lines]
type = "socket"
listen = "ADDRESS"
format = "csv"
schema = { number = "int64", key = "int64", amount = "int64" }
[streams.numbers]
sql = "SELECT key, coalesce(amount, 0) AS amount FROM lines"
[streams.sums]
from = "numbers"
update-state = { by = ["key"], function = "text.running-sum" }
[streams.totals]
from = "numbers"
WINDOW
[streams.batch]
sql = "SELECT min(number) AS first, count(*) AS lines FROM lines"
[streams.summed]
sql = "SELECT count(*) AS sums, sum(sum * (key % 997)) AS sums_by_key FROM sums"
[streams.totalled]
sql = "SELECT count(*) AS totals, sum(amount * (key % 997)) AS totals_by_key, sum(amount * amount) AS squares FROM totals"
[streams.seen]
sql = "SELECT * FROM batch CROSS JOIN summed CROSS JOIN totalled"
[sinks.seen]
from = "seen"
type = "files"
path = "seen"
"#;

/// A swap: from when it was asked for until it was answered, and the last batch of the version before.
#[derive(Clone, Copy, Debug)]
struct Swap {
    asked_ms: i64,
    answered_ms: i64,
    after: i64,
    /// Whether the component had to be compiled.
    is_new: bool,
}

/// How batches are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The first of a version, and those that follow it.
    AtSwap,
    /// One that ran while another version was prepared.
    Beside,
    Other,
}

const KINDS: &[(&str, Kind)] =
    &[("at a swap", Kind::AtSwap), ("beside its preparation", Kind::Beside), ("others", Kind::Other)];

/// Asks for the component, and waits until batches are its own.
fn swap(process: &Process, component: &Path, is_new: bool) -> Result<Swap> {
    let asked_ms = now_ms()?;
    let report = process.upgrade("text", component)?;
    let after = report["after"].as_i64().context("a swap is behind a batch")?;
    Ok(Swap { asked_ms, answered_ms: now_ms()?, after, is_new })
}

/// Runs the pipeline with so many swaps, or as long without any; gives them, and all batches by their times.
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
fn run_one(window: &str, swaps: usize) -> Result<(Vec<Swap>, BTreeMap<i64, Batch>)> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let plugin = Path::new(TEXT_PLUGIN);
    let text = PIPELINE.replace("PLUGIN", &plugin.display().to_string());
    let text = text.replace("ADDRESS", &address).replace("WINDOW", window);
    let mut process = Process::start(folder.path(), &text)?;
    let sending = Sending::start(move |ended| send(&address, ended));
    thread::sleep(BEGINNING);
    let mut made = Vec::new();
    for number in 0..swaps {
        // There and back: every other version is known already.
        let is_new = number % 2 == 0;
        let component = if is_new { variant(folder.path(), number)? } else { plugin.to_owned() };
        made.push(swap(&process, &component, is_new)?);
        thread::sleep(BETWEEN);
    }
    if swaps == 0 {
        thread::sleep(BETWEEN * SWAPS as u32);
    }
    sending.end()??;
    process.stop()?;
    Ok((made, batches(&folder.path().join("seen"))?))
}

/// What kind of batch it is that has the time.
fn kind(swaps: &[Swap], time: i64) -> Option<(Kind, bool)> {
    let of = |swap: &Swap| {
        let new = swap.after + INTERVAL_MS..=swap.after + NEW * INTERVAL_MS;
        // A batch is run in the interval behind its time.
        let beside = swap.asked_ms - INTERVAL_MS..=swap.answered_ms;
        match () {
            () if new.contains(&time) => Some((Kind::AtSwap, swap.is_new)),
            () if beside.contains(&time) => Some((Kind::Beside, swap.is_new)),
            () => None,
        }
    };
    swaps.iter().find_map(of)
}

/// Swaps in each case, and prints what batches noticed of it.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let named: Vec<&str> =
        words.iter().copied().filter(|word| !word.starts_with("--") && *word != "swaps").collect();
    println!(
        "{RATE} lines/s, {KEYS} keys, batches of {INTERVAL_MS} ms, windows of {LENGTH_MS} ms; times in ms\n"
    );
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "batches", "number", "output", "longest", "delay", "99 %", "longest", "> 20 ms"
    );
    for (name, window) in CASES.iter().filter(|(name, _)| named.is_empty() || named.contains(name)) {
        for swaps in [0, SWAPS] {
            let (swaps, batches) = run_one(window, swaps)?;
            check(&batches)?;
            print_case(name, &swaps, &batches);
        }
    }
    Ok(())
}

/// Prints how late batches were, by kind: from their times to their output, and over their neighbours.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
fn print_case(name: &str, swaps: &[Swap], batches: &BTreeMap<i64, Batch>) {
    let late = |(time, batch): (&i64, &Batch)| batch.appeared.as_secs_f64() * 1e3 - *time as f64;
    let (times, late): (Vec<i64>, Vec<f64>) = batches.iter().map(|batch| (*batch.0, late(batch))).unzip();
    let delays = delays(&late);
    let beginning = times[0] + BEGINNING.as_millis() as i64;
    let counts = |time: i64| time > beginning && time <= times[times.len() - 1 - NEIGHBOURS];
    let pick = |wanted: Option<Kind>, is_new: Option<bool>| -> Vec<(f64, f64)> {
        let all = times.iter().zip(late.iter().copied().zip(delays.iter().copied()));
        let picked = all.filter(|(time, _)| {
            let kind = kind(swaps, **time);
            let (of, of_new) = kind.unzip();
            counts(**time)
                && wanted.is_none_or(|wanted| of.unwrap_or(Kind::Other) == wanted)
                && is_new.is_none_or(|wanted| of_new == Some(wanted))
        });
        picked.map(|(_, figures)| figures).collect()
    };
    if swaps.is_empty() {
        print_kind(&format!("{name}, no swaps"), &pick(None, None));
        return;
    }
    for (label, wanted) in KINDS {
        let origins: &[_] = match wanted {
            Kind::Other => &[("", None)],
            _ => &[(", compiled", Some(true)), (", known", Some(false))],
        };
        for (origin, is_new) in origins {
            print_kind(&format!("{name}, {label}{origin}"), &pick(Some(*wanted), *is_new));
        }
    }
    let took = |is_new: bool| {
        let of = swaps.iter().filter(|swap| swap.is_new == is_new);
        median(of.map(|swap| (swap.answered_ms - swap.asked_ms) as f64).collect())
    };
    let gaps: Vec<f64> = batches
        .values()
        .zip(batches.values().skip(1))
        .map(|(one, next)| next.appeared.saturating_sub(one.appeared).as_secs_f64() * 1e3)
        .collect();
    println!(
        "{name}: {} swaps, answered after {:.0} (compiled) and {:.0} (known); longest gap between outputs {:.0}; {} ticks without a batch; all {} batches are right",
        swaps.len(),
        took(true),
        took(false),
        gaps.iter().copied().fold(0.0, f64::max),
        // Where a batch could not be cut in time, the next one has its lines.
        times.windows(2).map(|pair| (pair[1] - pair[0]) / INTERVAL_MS - 1).sum::<i64>(),
        batches.len()
    );
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
fn print_kind(label: &str, figures: &[(f64, f64)]) {
    if figures.is_empty() {
        return;
    }
    let (late, mut delays): (Vec<f64>, Vec<f64>) = figures.iter().copied().unzip();
    delays.sort_by(f64::total_cmp);
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    println!(
        "{label:<44} {:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        figures.len(),
        median(late.clone()),
        most(&late),
        median(delays.clone()),
        delays[delays.len() * 99 / 100],
        most(&delays),
        delays.iter().filter(|delay| **delay > 20.0).count()
    );
}

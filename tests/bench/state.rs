//! States and windows, measured: `cargo xtask bench state`.
//!
//! Rows of a key and the number 1 come from memory as CSV, first each key once and then keys at random, in batches of one
//! size that run one after the other with a checkpoint beside the build, on a real disk. Each case is a process of its own; they
//! take turns. What comes out is added up and has to be what went in.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use arrow::compute::sum;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Mode, Recovery, Sink, SinkBatch, SinkError, Source, StopHandle};
use millstream_model::BatchTime;
use millstream_plugins::Sandbox;
use millstream_state::Limits as StateLimits;

use crate::measure::peak_memory_bytes;
use crate::numbered::Numbered;
use crate::pipeline::{Job, execute};

const ROUNDS: usize = 3;
/// The batches on both sides that a batch is compared with.
pub(crate) const NEIGHBOURS: usize = 5;

/// What is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    keys: u64,
    batch_rows: u64,
    /// Batches that count, after those in which each key comes first.
    batches: u64,
    stream: Stream,
    state_memory: &'static str,
    /// Whether states are written into snapshots beside the batches.
    snapshots: bool,
}

/// What is made of the rows.
#[derive(Clone, Copy, Debug)]
enum Stream {
    /// The sum of each key of the batch, since ever.
    Sums,
    /// The sum and number of each key in a window of so many batches.
    Aggregate(u64),
    /// The sum of each key in a window of so many batches, by a plugin.
    Reduce(u64),
    /// The same, by taking out what leaves.
    Inverse(u64),
}

const CASES: &[Case] = &[
    states("states-10k", 10_000),
    states("states-100k", 100_000),
    states("states-1m", 1_000_000),
    // What delays a batch here is the disk: the measure of what snapshots add.
    Case { snapshots: false, ..states("states-1m-unsaved", 1_000_000) },
    states("states-10m", 10_000_000),
    // Some 140 MiB of states, of which nine tenths are on disk: their places take the most of it.
    Case { state_memory: "48MiB", ..states("states-cold", 2_000_000) },
    Case { batch_rows: 1_000_000, batches: 20, ..states("keyed-sum", 1_000_000) },
    window("aggregate-3", Stream::Aggregate(3)),
    window("aggregate-30", Stream::Aggregate(30)),
    window("reduce-3", Stream::Reduce(3)),
    window("reduce-30", Stream::Reduce(30)),
    window("inverse-3", Stream::Inverse(3)),
    window("inverse-30", Stream::Inverse(30)),
];

const fn states(name: &'static str, keys: u64) -> Case {
    Case {
        name,
        keys,
        batch_rows: 10_000,
        batches: 300,
        stream: Stream::Sums,
        state_memory: "4GiB",
        snapshots: true,
    }
}

/// Nearly all keys are in each batch, so that windows of any length have as many.
const fn window(name: &'static str, stream: Stream) -> Case {
    Case {
        name,
        keys: 20_000,
        batch_rows: 100_000,
        batches: 90,
        stream,
        state_memory: "4GiB",
        snapshots: true,
    }
}

/// What a process measured, of the batches that count.
#[derive(Clone, Copy, Debug)]
struct Times {
    rows_per_second: f64,
    mean_ms: f64,
    median_ms: f64,
    /// By how much a batch took longer than the median of its neighbours, at the most.
    delay_ms: f64,
    peak_mib: f64,
}

/// Measures all cases whose names begin with one of the `words`, or all there are.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let named: Vec<&str> =
        words.iter().copied().filter(|word| !word.starts_with("--") && *word != "state").collect();
    let is_wanted = |case: &&Case| named.is_empty() || named.iter().any(|name| case.name.starts_with(name));
    let mut all: Vec<(&Case, Vec<Times>)> =
        CASES.iter().filter(is_wanted).map(|case| (case, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (case, times) in &mut all {
            times.push(in_a_process(case)?);
        }
    }
    println!("\nmedian of {ROUNDS} rounds\n");
    let head = ("case", "rows a batch", "M rows/s", "mean ms", "median ms", "delay ms", "peak MiB");
    println!(
        "{:<18} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9}",
        head.0, head.1, head.2, head.3, head.4, head.5, head.6
    );
    for (case, times) in &all {
        let of = |what: fn(&Times) -> f64| median(times.iter().map(what).collect());
        println!(
            "{:<18} {:>12} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.0}",
            case.name,
            case.batch_rows,
            of(|times| times.rows_per_second) / 1e6,
            of(|times| times.mean_ms),
            of(|times| times.median_ms),
            of(|times| times.delay_ms),
            of(|times| times.peak_mib),
        );
    }
    println!();
    for kind in ["aggregate", "reduce", "inverse"] {
        let of = |length: u64| all.iter().find(|(case, _)| case.name == format!("{kind}-{length}"));
        if let (Some((_, short)), Some((_, long))) = (of(3), of(30)) {
            let ratios = long.iter().zip(short).map(|(long, short)| long.mean_ms / short.mean_ms);
            println!("{kind}: a window of 30 batches / of 3: {:.2}", median(ratios.collect()));
        }
    }
    Ok(())
}

fn in_a_process(case: &Case) -> Result<Times> {
    let mut process = Command::new(env::current_exe()?);
    let output = process.args(["measure-state", case.name]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "measuring {} failed: {}", case.name, output.status);
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[rows_per_second, mean_ms, median_ms, delay_ms, peak_mib] = numbers.as_slice() else {
        bail!("measuring {} answered {text:?}", case.name)
    };
    Ok(Times { rows_per_second, mean_ms, median_ms, delay_ms, peak_mib })
}

/// Measures the case of that name in this process, and prints what [`in_a_process`] reads.
#[allow(clippy::print_stdout, reason = "the answer to the process that asked")]
pub(crate) fn measure(name: &str) -> Result<()> {
    let case = CASES.iter().find(|case| case.name == name).context("there is no such case")?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let watch = Arc::new(Watch::new(*case));
    let (_keep_running, stop) = StopHandle::new();
    let source = Some(Arc::new(Numbered { rows: case.rows(), keys: case.keys }) as Arc<dyn Source>);
    let sink = Arc::new(Watched(Arc::clone(&watch)));
    let snapshot_every = if case.snapshots { StateLimits::default().snapshot_every } else { u64::MAX };
    let job = Job { text: text(case, folder.path()), source, mode: Mode::Once, sink, snapshot_every, stop };
    let summary = execute(&Sandbox::new()?, job)?;
    ensure!(summary.rows == case.rows(), "{} rows were processed of {}", summary.rows, case.rows());
    let Times { rows_per_second, mean_ms, median_ms, delay_ms, peak_mib } = watch.times()?;
    println!("{rows_per_second} {mean_ms} {median_ms} {delay_ms} {peak_mib}");
    Ok(())
}

/// Batches have times that follow each other, as they are run faster than their interval.
fn text(case: &Case, folder: &Path) -> String {
    let stream = match case.stream {
        Stream::Sums => r#"update-state = { by = ["key"], function = "text.running-sum" }"#.to_owned(),
        Stream::Aggregate(batches) => format!(
            r#"aggregate = {{ by = ["key"], total = "sum(amount)", rows = "count(*)", window = {{ length = "{batches}h" }} }}"#
        ),
        Stream::Reduce(batches) => {
            format!(
                r#"reduce = {{ by = ["key"], function = "text.add", window = {{ length = "{batches}h" }} }}"#
            )
        }
        Stream::Inverse(batches) => format!(
            r#"reduce = {{ by = ["key"], function = "text.add", inverse = "text.subtract", keep = "amount <> 0", window = {{ length = "{batches}h" }} }}"#
        ),
    };
    format!(
        r#"
name = "bench"
batch-interval = "1h"
max-batch-rows = {rows}
receive-memory = "{memory}MiB"
state-memory = "{state_memory}"
checkpoint = {folder:?}
[plugins.text]
component = "plugins/bin/text.wasm"
[sources.lines]
type = "socket"
listen = "127.0.0.1:0"
format = "csv"
schema = {{ key = "int64", amount = "int64" }}
[streams.numbers]
sql = "SELECT key, coalesce(amount, 0) AS amount FROM lines"
[streams.made]
from = "numbers"
{stream}
[sinks.screen]
from = "made"
type = "print"
"#,
        rows = case.batch_rows,
        state_memory = case.state_memory,
        // Batches are of one size: there is room for those that wait and the one that runs.
        memory = 32 + case.batch_rows * 200 / (1 << 20),
        folder = folder.join("checkpoint").display().to_string(),
    )
}

impl Case {
    /// Batches until each key was there.
    fn first_batches(&self) -> u64 {
        self.keys.div_ceil(self.batch_rows)
    }

    fn rows(&self) -> u64 {
        (self.first_batches() + self.batches) * self.batch_rows
    }
}

/// Looks at what comes out, and when.
struct Watch {
    case: Case,
    seen: Mutex<Seen>,
}

struct Seen {
    /// When each batch was visible.
    published: Vec<Instant>,
    /// What came out last of each key, of sums.
    sums: Vec<i64>,
    /// What came out of the batch that runs.
    total: u64,
    wrong: Option<String>,
}

impl Watch {
    fn new(case: Case) -> Self {
        let sums = vec![0; if matches!(case.stream, Stream::Sums) { case.keys as usize } else { 0 }];
        let seen = Seen { published: Vec::new(), sums, total: 0, wrong: None };
        Self { case, seen: Mutex::new(seen) }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, rows: &RecordBatch) {
        let (keys, totals) =
            (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
        let mut seen = self.seen();
        match self.case.stream {
            Stream::Sums => {
                for (key, total) in keys.values().iter().zip(totals.values()) {
                    seen.sums[*key as usize] = *total;
                }
            }
            _ => seen.total += sum(totals).unwrap_or(0).unsigned_abs(),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn publish(&self) {
        let mut seen = self.seen();
        seen.published.push(Instant::now());
        let batches = seen.published.len() as u64;
        let total = std::mem::take(&mut seen.total);
        let expected = match self.case.stream {
            Stream::Sums => return,
            Stream::Aggregate(length) | Stream::Reduce(length) | Stream::Inverse(length) => {
                batches.min(length) * self.case.batch_rows
            }
        };
        if total != expected {
            seen.wrong = Some(format!("batch {batches} has a total of {total} where {expected} is right"));
        }
    }

    fn times(&self) -> Result<Times> {
        let (seen, case) = (self.seen(), self.case);
        if let Some(wrong) = &seen.wrong {
            bail!("{wrong}");
        }
        if matches!(case.stream, Stream::Sums) {
            let total = seen.sums.iter().sum::<i64>().unsigned_abs();
            ensure!(total == case.rows(), "the sums come to {total} where {} is right", case.rows());
        }
        let first = case.first_batches() as usize;
        ensure!(
            seen.published.len() as u64 == case.first_batches() + case.batches,
            "batches are of one size"
        );
        let published = &seen.published[first - 1..];
        let ms: Vec<f64> = published.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect();
        let total_ms: f64 = ms.iter().sum();
        Ok(Times {
            rows_per_second: (case.batches * case.batch_rows) as f64 / total_ms * 1e3,
            mean_ms: total_ms / ms.len() as f64,
            median_ms: median(ms.clone()),
            delay_ms: delay(&ms),
            peak_mib: peak_memory_bytes()? as f64 / f64::from(1 << 20),
        })
    }
}

/// By how much one took longer than the median of its neighbours, at the most.
pub(crate) fn delay(ms: &[f64]) -> f64 {
    delays(ms).into_iter().fold(0.0, f64::max)
}

/// By how much each took longer than the median of its neighbours.
pub(crate) fn delays(ms: &[f64]) -> Vec<f64> {
    let over = |at: usize| {
        let around = at.saturating_sub(NEIGHBOURS)..ms.len().min(at + NEIGHBOURS + 1);
        ms[at] - median(ms[around].to_vec())
    };
    (0..ms.len()).map(over).collect()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Watched(Arc<Watch>);

#[async_trait]
impl Sink for Watched {
    async fn begin(&self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    async fn recover(&self, _time: BatchTime) -> Result<Recovery, SinkError> {
        Ok(Recovery::Published)
    }
}

#[async_trait]
impl SinkBatch for Watched {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.0.write(&rows);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        self.0.publish();
        Ok(())
    }
}

//! How long a pipeline does not process when its code or its host changes: by the ways that there are, side by side.
//!
//! A source sends lines at an even rate, live: what it sends while nobody listens is gone. Each line holds when it was
//! sent, and a batch's folder knows when it appeared, so that everything is read from the output afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::process::{Process, TEXT_PLUGIN, appeared, batches, since_1970, variant};
use crate::sending::{Sending, free_address, send_evenly};

const ROUNDS: usize = 7;
/// Lines a second.
const RATE: u64 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the pipeline runs before a change, and after it.
const AROUND: Duration = Duration::from_secs(2);
const PIPELINE: &str = r#"
name = "gap"
batch-interval = "50ms"
block-interval = "10ms"
checkpoint = "checkpoint"
[plugins.text]
component = "PLUGIN"
[sources.lines]
type = "socket"
listen = "ADDRESS"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
from = "words"
aggregate = { by = ["word"], total = "count(*)", window = { length = "1s" } }
[streams.frequent]
sql = "SELECT word, total FROM totals ORDER BY total DESC LIMIT 10"
[sinks.lines]
from = "lines"
type = "files"
path = "lines"
format = "text"
[sinks.frequent]
from = "frequent"
type = "files"
path = "frequent"
"#;

/// What is done to the running pipeline.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Swap,
    Takeover,
    StopStart,
}

/// The ways that are compared.
const CHANGES: &[(&str, Change)] = &[
    ("nothing", Change::Nothing),
    ("swap", Change::Swap),
    ("takeover", Change::Takeover),
    ("stop and start", Change::StopStart),
];

/// What a change came to.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// The longest time between the outputs of neighbouring batches.
    gap_ms: f64,
    /// The longest time from a line to its output.
    latency_ms: f64,
    lost: usize,
    repeated: usize,
}

/// A line as it was sent: its number, and when that was.
type Sent = (u64, Duration);

/// Sends the lines that are due to whoever listens, from one connection to the next.
fn send(address: &str, ended: &AtomicBool) -> Result<u64> {
    let mut stream = None;
    send_evenly(RATE, ended, |numbers| {
        let now = since_1970().as_micros();
        let line = |number| format!("{number} {now} the quick brown fox jumps over it\n");
        let lines: String = numbers.map(line).collect();
        let connected = stream.take().or_else(|| TcpStream::connect(address).ok());
        stream = connected.filter(|mut stream: &TcpStream| stream.write_all(lines.as_bytes()).is_ok());
        Ok(())
    })
}

/// A pipeline in a folder of its own, and the process that runs it.
struct Pipeline {
    folder: tempfile::TempDir,
    process: Process,
    swaps: usize,
}

impl Pipeline {
    fn start() -> Result<(Self, Sending<Result<u64>>)> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let text = PIPELINE.replace("PLUGIN", TEXT_PLUGIN).replace("ADDRESS", &address);
        let process = Process::start(folder.path(), &text)?;
        Ok((Self { folder, process, swaps: 0 }, Sending::start(move |ended| send(&address, ended))))
    }

    /// Makes the change; gives when it began.
    fn change(&mut self, change: Change) -> Result<Duration> {
        let begun = since_1970();
        match change {
            Change::Nothing => {}
            Change::Swap => self.swap()?,
            Change::Takeover => self.process.take_over()?,
            Change::StopStart => {
                self.process.stop()?;
                self.process.start_again()?;
            }
        }
        Ok(begun)
    }

    /// Goes over to a component that was never compiled before.
    fn swap(&mut self) -> Result<()> {
        self.swaps += 1;
        let component = variant(self.folder.path(), self.swaps)?;
        self.process.upgrade("text", &component)?;
        Ok(())
    }

    fn batches(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.path().join("lines");
        let batches = if folder.exists() { batches(&folder)? } else { Vec::new() };
        Ok(batches.into_iter().map(|(_, batch)| batch).collect())
    }

    /// Waits until there are batches after now, and then for a while.
    #[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn go_on(&self) -> Result<()> {
        let (begun, before) = (Instant::now(), self.batches()?.len());
        while self.batches()?.len() < before + 5 {
            ensure!(begun.elapsed() < Duration::from_secs(60), "no batch came within a minute");
            std::thread::sleep(INTERVAL);
        }
        std::thread::sleep(AROUND);
        Ok(())
    }

    /// Every batch with lines by when it appeared, since 1970.
    fn outputs(&self) -> Result<BTreeMap<Duration, Vec<Sent>>> {
        let mut outputs = BTreeMap::new();
        for batch in self.batches()? {
            let mut lines = Vec::new();
            for part in fs::read_dir(&batch)? {
                lines.extend(fs::read_to_string(part?.path())?.lines().filter_map(sent));
            }
            outputs.insert(appeared(&batch)?, lines);
        }
        Ok(outputs)
    }

    /// Ends the pipeline, and gives its output.
    fn end(mut self) -> Result<BTreeMap<Duration, Vec<Sent>>> {
        self.process.stop()?;
        self.outputs()
    }
}

fn sent(line: &str) -> Option<Sent> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    Some((number, Duration::from_micros(words.next()?.parse().ok()?)))
}

/// What happened to the lines from shortly before `begun` on until `end`.
fn cost(outputs: &BTreeMap<Duration, Vec<Sent>>, begun: Duration, end: Duration) -> Cost {
    let within: Vec<_> = outputs.range(begun.saturating_sub(AROUND / 2)..end).collect();
    let gaps = within.windows(2).map(|pair| *pair[1].0 - *pair[0].0);
    let waited = within
        .iter()
        .flat_map(|(appeared, lines)| lines.iter().map(|(_, sent): &Sent| appeared.saturating_sub(*sent)));
    let mut numbers: Vec<u64> =
        within.iter().flat_map(|(_, lines)| lines.iter().map(|(number, _)| *number)).collect();
    numbers.sort_unstable();
    let all = numbers.len();
    numbers.dedup();
    let expected = numbers.first().zip(numbers.last()).map_or(0, |(first, last)| last - first + 1);
    Cost {
        gap_ms: gaps.max().unwrap_or_default().as_secs_f64() * 1e3,
        latency_ms: waited.max().unwrap_or_default().as_secs_f64() * 1e3,
        lost: usize::try_from(expected).unwrap_or(usize::MAX) - numbers.len(),
        repeated: all - numbers.len(),
    }
}

/// Makes each change again and again, in turns, and prints what they cost.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run_all() -> Result<()> {
    let (mut pipeline, live) = Pipeline::start()?;
    pipeline.go_on()?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for (name, change) in CHANGES {
            let begun = pipeline.change(*change)?;
            pipeline.go_on()?;
            times.push((*name, begun, since_1970()));
        }
    }
    live.end()??;
    let outputs = pipeline.end()?;
    println!("{RATE} lines/s, batches of {INTERVAL:?}; median and longest of {ROUNDS} rounds\n");
    println!(
        "{:<16} {:>22} {:>22} {:>8} {:>9}",
        "change", "gap, ms", "line to output, ms", "lost", "repeated"
    );
    for (name, _) in CHANGES {
        let of_this = times.iter().filter(|(other, ..)| other == name);
        let costs: Vec<Cost> = of_this.map(|(_, begun, end)| cost(&outputs, *begun, *end)).collect();
        let (gap, latency) = (spread(&costs, |cost| cost.gap_ms), spread(&costs, |cost| cost.latency_ms));
        let lost: usize = costs.iter().map(|cost| cost.lost).sum();
        let repeated: usize = costs.iter().map(|cost| cost.repeated).sum();
        println!("{name:<16} {gap:>22} {latency:>22} {lost:>8} {repeated:>9}");
    }
    Ok(())
}

/// The median and the greatest.
fn spread(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> String {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    format!("{:.0}, {:.0}", values[values.len() / 2], values[values.len() - 1])
}

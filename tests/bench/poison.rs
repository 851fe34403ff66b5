//! What a row costs that a function fails on, measured: `cargo xtask bench poison`.
//!
//! Batches of ten thousand rows from memory go through a plugin's map, clean ones and ones with a row that the plugin traps on. Both
//! kinds take turns in one process, so that what is compared is of the same machine at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Inlet, Mode, Recovery, Sink, SinkBatch, SinkError, Source, SourceError, StopHandle};
use millstream_model::{BatchTime, Block, Position};
use millstream_plugins::Sandbox;

use crate::pipeline::{Job, execute};

const ROWS: usize = 10_000;
const BATCHES: usize = 200;
const ROUNDS: usize = 5;
/// How many times as long a batch may take for one poison row.
const RATIO_MAX: f64 = 20.0;

#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run() -> Result<()> {
    let (mut clean, mut poisoned) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        clean.push(measure(false)?);
        poisoned.push(measure(true)?);
    }
    let (clean, poisoned) = (median(clean), median(poisoned));
    let ratio = poisoned / clean;
    println!("batches of {ROWS} rows, medians of {ROUNDS} rounds of {BATCHES} batches");
    println!("clean         {clean:>8.3} ms");
    println!("one row traps {poisoned:>8.3} ms, {ratio:.1} times as long");
    ensure!(ratio <= RATIO_MAX, "a poison row may cost {RATIO_MAX} times a clean batch");
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds a batch, from the begin of the first to the end of the last.
fn measure(poisoned: bool) -> Result<f64> {
    let sandbox = Sandbox::new()?;
    let (passed, (_handle, stop)) = (Passed::default(), StopHandle::new());
    let job = Job {
        text: text(),
        source: Some(Arc::new(Lines { poisoned })),
        mode: Mode::Once,
        sink: Arc::new(passed.clone()),
        snapshot_every: millstream_state::Limits::default().snapshot_every,
        stop,
    };
    let summary = execute(&sandbox, job)?;
    let letters = if poisoned { BATCHES } else { 0 };
    ensure!(summary.dead_letters == letters as u64 && summary.batches == BATCHES as u64, "{summary:?}");
    let rows = passed.rows.load(Ordering::Relaxed);
    ensure!(rows == (ROWS * BATCHES - letters) as u64, "{rows} rows came through");
    let elapsed = *passed.ended.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(elapsed.as_secs_f64() * 1e3 / BATCHES as f64)
}

fn text() -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let component = root.join("plugins/bin/hostile.wasm").display().to_string();
    format!(
        r#"
name = "poison"
batch-interval = "100ms"
max-batch-rows = {ROWS}
[plugins.hostile]
component = {component:?}
[sources.lines]
type = "files"
path = "nowhere"
[streams.same]
from = "lines"
map = "hostile.trap-on"
[sinks.screen]
from = "same"
type = "print"
"#
    )
}

/// Sends a block for each batch.
struct Lines {
    poisoned: bool,
}

#[async_trait]
impl Source for Lines {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let line =
            |row: usize| if self.poisoned && row == ROWS / 3 { "poison\n" } else { "a line of text\n" };
        let text: String = (0..ROWS).map(line).collect();
        for batch in 0..BATCHES {
            let position = Position { origin: "memory".into(), record: (batch * ROWS) as u64 };
            if inlet.send(Block::lines(text.clone().into(), ROWS, position)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Counts rows, and takes the time.
#[derive(Clone, Default)]
struct Passed {
    rows: Arc<AtomicU64>,
    began: Arc<OnceLock<Instant>>,
    /// How long after that the last batch ended.
    ended: Arc<Mutex<Duration>>,
}

#[async_trait]
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
impl Sink for Passed {
    async fn begin(&self, _time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        self.began.get_or_init(Instant::now);
        Ok(Box::new(self.clone()))
    }

    async fn recover(&self, _time: BatchTime) -> Result<Recovery, SinkError> {
        Ok(Recovery::Published)
    }
}

#[async_trait]
impl SinkBatch for Passed {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.rows.fetch_add(rows.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        let elapsed = self.began.get().map(Instant::elapsed).unwrap_or_default();
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = elapsed;
        Ok(())
    }
}

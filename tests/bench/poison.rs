//! What a row costs that a function fails on, measured: `cargo xtask bench poison`.
//!
//! Batches of ten thousand rows from memory go through a plugin's map, clean ones and ones with a row that the plugin traps on. Both
//! kinds take turns in one process, so that what is compared is of the same machine at the same time.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use millstream_engine::{Inlet, Mode, Source, SourceError, StopHandle};
use millstream_model::{Block, Position};
use millstream_plugins::Sandbox;

use crate::passed::Passed;
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
    let rows = passed.rows();
    ensure!(rows == (ROWS * BATCHES - letters) as u64, "{rows} rows came through");
    Ok(passed.elapsed().as_secs_f64() * 1e3 / BATCHES as f64)
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

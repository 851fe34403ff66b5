//! What it costs that rows carry where they come from, in a column that only calls see: `cargo xtask bench origin`.
//!
//! With `on-error = "stop"` no row is ever told by its record, so there the column is left out, and nothing else differs as
//! long as no call fails. Both kinds take turns in one process.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use millstream_engine::{Mode, StopHandle};
use millstream_plugins::Sandbox;

use crate::passed::Passed;
use crate::pipeline::{Job, execute};
use crate::{corpus, measure};

const LINES: usize = 1_000_000;
const BATCH_ROWS: usize = 100_000;
const ROUNDS: usize = 15;
/// The streams behind the words: what is counted, and the calls on the way there.
const CASES: [(&str, &[(&str, &str)]); 2] = [
    ("split", &[("flat-map", "split-words")]),
    ("split, lower", &[("flat-map", "split-words"), ("map", "lower-case")]),
];

#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("corpus.txt");
    corpus::write(&corpus, LINES)?;
    println!("{:<14} {:>12} {:>12} {:>8}", "calls", "with ms", "without ms", "ratio");
    for (name, calls) in CASES {
        let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let one = measure(&corpus, &text(calls, "dead-letter"))?;
            let other = measure(&corpus, &text(calls, "stop"))?;
            ensure!(one.rows == other.rows, "{} and {} rows came through", one.rows, other.rows);
            // The first warms up.
            if round > 0 {
                with.push(one.ms);
                without.push(other.ms);
                ratios.push(one.ms / other.ms);
            }
        }
        let [with, without, ratio] = [with, without, ratios].map(median);
        println!("{name:<14} {with:>12.1} {without:>12.1} {ratio:>8.3}");
    }
    Ok(())
}

struct Measured {
    rows: u64,
    ms: f64,
}

fn measure(corpus: &Path, text: &str) -> Result<Measured> {
    let (passed, (_handle, stop)) = (Passed::default(), StopHandle::new());
    let job = Job {
        text: text.to_owned(),
        source: Some(measure::memory(corpus)?),
        mode: Mode::Once,
        sink: Arc::new(passed.clone()),
        snapshot_every: millstream_state::Limits::default().snapshot_every,
        stop,
    };
    let summary = execute(&Sandbox::new()?, job)?;
    ensure!(summary.rows == LINES as u64 && passed.rows() > 0, "{summary:?}");
    Ok(Measured { rows: passed.rows(), ms: passed.elapsed().as_secs_f64() * 1e3 })
}

fn text(calls: &[(&str, &str)], on_error: &str) -> String {
    let mut from = "lines".to_owned();
    let mut streams = String::new();
    for (index, (kind, function)) in calls.iter().enumerate() {
        let stream = format!("called-{index}");
        streams += &format!(
            "[streams.{stream}]\nfrom = \"{from}\"\n{kind} = \"text.{function}\"\non-error = \"{on_error}\"\n"
        );
        from = stream;
    }
    format!(
        r#"
name = "origin"
batch-interval = "100ms"
max-batch-rows = {BATCH_ROWS}
[plugins.text]
component = "plugins/bin/text.wasm"
[sources.lines]
type = "files"
path = "nowhere"
{streams}
[streams.totals]
sql = 'SELECT word, count(*) AS total FROM "{from}" GROUP BY word'
[sinks.screen]
from = "totals"
type = "print"
"#
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! What is measured, each in a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{Inlet, Mode, Source, SourceError};
use millstream_model::{Block, Position};
use millstream_pipeline::Components;
use millstream_plugins::Sandbox;

use crate::native::NativeComponents;
use crate::pipeline::{Feed, Totals, run};
use crate::sending::free_address;
use crate::{corpus, generator, limit};

/// The names of all measures, in the order of their turns.
pub(crate) const ALL: &[&str] = &[
    "limit",
    "memory-native",
    "memory",
    "native",
    "files",
    "socket",
    "socket-logged",
    "socket-window",
    "tiny",
    "tiny-logged",
];

/// Rows of a batch, but for tiny ones.
const BATCH_ROWS: usize = 400_000;
const TINY_BATCH_ROWS: usize = 10;
const TINY_BATCHES: usize = 2_000;
const BLOCK_BYTES: usize = 1 << 20;

/// What a process measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_memory_bytes: u64,
}

impl Measured {
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// Meant for tiny batches.
    pub(crate) fn ms_per_batch(&self) -> f64 {
        self.seconds * 1e3 / (self.rows as f64 / TINY_BATCH_ROWS as f64)
    }
}

/// Takes the measure `what`. Times include everything from the pipeline file's text on.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn measure(what: &str, corpus: &Path) -> Result<Measured> {
    let files = format!("type = \"files\"\npath = {:?}", corpus.display().to_string());
    let words = corpus::words(corpus)?;
    let feed = Feed {
        keys: &files,
        totals: Totals::Batch,
        source: None,
        checkpoint: None,
        max_batch_rows: BATCH_ROWS,
        mode: Mode::Once,
        words,
    };
    let from_memory = |blocks: Vec<Block>| Some(Arc::new(Memory(blocks)) as Arc<dyn Source>);
    let sandbox = Sandbox::new()?;
    // Beside the corpus, so that both are on the same disk.
    let folder = tempfile::tempdir_in(corpus.parent().context("the corpus is in a folder")?)?;
    let (start, rows) = match what {
        "limit" => {
            let text = std::fs::read(corpus)?;
            let start = Instant::now();
            ensure!(limit::count(&text)? == words, "the words are counted right");
            (start, crate::LINES as u64)
        }
        "memory-native" | "memory" => {
            let native = what == "memory-native";
            let components: &dyn Components = if native { &NativeComponents } else { &sandbox };
            let feed = Feed { source: Some(memory(corpus)?), ..feed };
            let start = Instant::now();
            (start, run(components, feed)?.rows)
        }
        "native" => {
            let start = Instant::now();
            (start, run(&NativeComponents, feed)?.rows)
        }
        "files" => {
            let start = Instant::now();
            (start, run(&sandbox, feed)?.rows)
        }
        "socket" => socket(&sandbox, corpus, feed)?,
        "socket-logged" => {
            socket(&sandbox, corpus, Feed { checkpoint: Some(folder.path().to_owned()), ..feed })?
        }
        "socket-window" => socket(&sandbox, corpus, Feed { totals: Totals::Window, ..feed })?,
        "tiny" | "tiny-logged" => {
            let (blocks, words) = tiny_blocks();
            let checkpoint = (what == "tiny-logged").then(|| folder.path().to_owned());
            let source = from_memory(blocks);
            let feed = Feed { source, checkpoint, max_batch_rows: TINY_BATCH_ROWS, words, ..feed };
            let start = Instant::now();
            let summary = run(&sandbox, feed)?;
            ensure!(summary.batches as usize == TINY_BATCHES, "{summary:?}");
            (start, summary.rows)
        }
        other => bail!("there is no measure \"{other}\"; there are {}", ALL.join(", ")),
    };
    Ok(Measured { rows, seconds: start.elapsed().as_secs_f64(), peak_memory_bytes: peak_memory_bytes()? })
}

/// From a generator process over TCP, which shares the machine with the pipeline; batches at every tick.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
fn socket(sandbox: &Sandbox, corpus: &Path, feed: Feed<'_>) -> Result<(Instant, u64)> {
    // A port that was free a moment ago.
    let address = free_address()?;
    let keys = format!("type = \"socket\"\nlisten = \"{address}\"");
    let feed = Feed { keys: &keys, mode: Mode::Continuous, max_batch_rows: crate::LINES, ..feed };
    let mut generator = generator(&address, corpus)?;
    let start = Instant::now();
    let rows = run(sandbox, feed)?.rows;
    ensure!(generator.wait()?.success(), "the generator failed");
    Ok((start, rows))
}

/// The corpus, in memory already.
pub(crate) fn memory(corpus: &Path) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(Memory(blocks(&Bytes::from(std::fs::read(corpus)?)))))
}

/// Sends blocks that are in memory already.
struct Memory(Vec<Block>);

#[async_trait]
impl Source for Memory {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        for block in &self.0 {
            if inlet.send(block.clone()).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The corpus in blocks as sources cut them.
fn blocks(text: &Bytes) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let part = &text[start..text.len().min(start + BLOCK_BYTES)];
        let end = memchr::memrchr(b'\n', part).map_or(text.len(), |at| start + at + 1);
        blocks.push(block(text.slice(start..end)));
        start = end;
    }
    blocks
}

/// A block for each tiny batch, and the number of words in all of them.
fn tiny_blocks() -> (Vec<Block>, u64) {
    let lines = "the quick brown fox jumps over it\n".repeat(TINY_BATCH_ROWS);
    let block = block(Bytes::from(lines));
    (vec![block; TINY_BATCHES], 7 * (TINY_BATCH_ROWS * TINY_BATCHES) as u64)
}

fn block(lines: Bytes) -> Block {
    let rows = memchr::memchr_iter(b'\n', &lines).count();
    Block::lines(lines, rows, Position { origin: "memory".into(), record: 0 })
}

/// What this process held at most.
pub(crate) fn peak_memory_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

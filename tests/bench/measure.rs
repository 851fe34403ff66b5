//! What is measured, each in a process of its own.

use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{Inlet, Source, SourceError};
use millstream_model::{Block, Payload, Position};
use millstream_plugins::Sandbox;

use crate::native::NativeComponents;
use crate::pipeline::{Feed, run};
use crate::{generator, limit};

/// The names of all measures, in the order of their turns.
pub(crate) const ALL: &[&str] = &["limit", "memory-native", "memory", "native", "files", "socket", "tiny"];

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
    let plain = |keys| Feed { keys, source: None };
    let from_memory = |block_rows| -> Result<Feed<'_>> {
        let source: Box<dyn Source> = Box::new(Memory(blocks(&std::fs::read(corpus)?, block_rows)));
        Ok(Feed { keys: &files, source: Some(source) })
    };
    let sandbox = Sandbox::new()?;
    let (start, rows) = match what {
        "limit" => {
            let text = std::fs::read(corpus)?;
            let start = Instant::now();
            ensure!(limit::count(&text)? > 0, "the corpus has words");
            (start, crate::LINES as u64)
        }
        "memory-native" | "memory" => {
            let feed = from_memory(None)?;
            let start = Instant::now();
            let summary = match what {
                "memory" => run(&sandbox, feed, BATCH_ROWS)?,
                _ => run(&NativeComponents, feed, BATCH_ROWS)?,
            };
            (start, summary.rows)
        }
        "native" => {
            let start = Instant::now();
            (start, run(&NativeComponents, plain(&files), BATCH_ROWS)?.rows)
        }
        "files" => {
            let start = Instant::now();
            (start, run(&sandbox, plain(&files), BATCH_ROWS)?.rows)
        }
        "socket" => socket(&sandbox, corpus)?,
        "tiny" => {
            let feed = from_memory(Some(TINY_BATCH_ROWS))?;
            let start = Instant::now();
            let summary = run(&sandbox, feed, TINY_BATCH_ROWS)?;
            ensure!(summary.batches as usize == TINY_BATCHES, "{summary:?}");
            (start, summary.rows)
        }
        other => bail!("there is no measure \"{other}\"; there are {}", ALL.join(", ")),
    };
    Ok(Measured { rows, seconds: start.elapsed().as_secs_f64(), peak_memory_bytes: peak_memory_bytes()? })
}

/// From a generator process over TCP, which shares the machine with the pipeline.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
fn socket(sandbox: &Sandbox, corpus: &Path) -> Result<(Instant, u64)> {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let keys = format!("type = \"socket\"\nlisten = \"{address}\"");
    let feeder = std::thread::spawn({
        let (address, corpus) = (address, corpus.to_owned());
        move || -> Result<bool> { Ok(generator(&address, &corpus)?.wait()?.success()) }
    });
    let start = Instant::now();
    let rows = run(sandbox, Feed { keys: &keys, source: None }, BATCH_ROWS)?.rows;
    let sent = feeder.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
    ensure!(sent && rows as usize == crate::LINES, "{rows} lines came");
    Ok((start, rows))
}

/// Sends blocks that are in memory already.
struct Memory(Vec<Block>);

#[async_trait]
impl Source for Memory {
    async fn run(self: Box<Self>, inlet: Inlet) -> Result<(), SourceError> {
        for block in self.0 {
            if inlet.send(block).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The corpus in blocks as sources cut them, or the first lines of it in blocks of `rows`.
fn blocks(text: &[u8], rows: Option<usize>) -> Vec<Block> {
    let text = Bytes::copy_from_slice(text);
    let mut blocks = Vec::new();
    let mut start = 0;
    let blocks_max = rows.map_or(usize::MAX, |_| TINY_BATCHES);
    while start < text.len() && blocks.len() < blocks_max {
        let end = match rows {
            Some(rows) => memchr::memchr_iter(b'\n', &text[start..]).nth(rows - 1),
            None => memchr::memrchr(b'\n', &text[start..text.len().min(start + BLOCK_BYTES)]),
        };
        let end = end.map_or(text.len(), |at| start + at + 1);
        let bytes = text.slice(start..end);
        let rows = memchr::memchr_iter(b'\n', &bytes).count();
        let position = Position { origin: "memory".into(), record: 0 };
        blocks.push(Block { payload: Payload::Lines(bytes), rows, position });
        start = end;
    }
    blocks
}

/// What this process held at most.
fn peak_memory_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

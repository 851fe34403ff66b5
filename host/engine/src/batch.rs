//! One batch: what it was cut from, and its rows, in memory or brought back.

use std::sync::Arc;
use std::time::Duration;

use millstream_journal::{Archive, Wal};
use millstream_model::{BatchTime, Block, Lane, LaneInput, Manifest, Records, Version};

use crate::application::Code;
use crate::receive::{Cut, Lease};
use crate::{Decoder, EngineError};

/// A batch that waits to be run, or runs. It stays until the commit, so that it can be run again.
pub(crate) struct Batch {
    pub(crate) manifest: Manifest,
    /// Blocks in memory, by the manifest's inputs; none where they are to be read.
    parts: Vec<Option<Vec<Block>>>,
    /// What the blocks use of the receivers' memory, given back when the batch is done.
    leases: Vec<Arc<Lease>>,
    /// Records from each lane.
    pub(crate) taken: Vec<(Lane, u64)>,
    /// When it was due, by the clock's elapsed time.
    pub(crate) due: Duration,
}

/// Where a batch's records are that are not in memory.
#[derive(Clone, Copy)]
pub(crate) enum Log<'a> {
    Running(&'a Wal),
    Archive(&'a Archive),
}

/// What one source gives to a batch.
pub(crate) struct BatchInput {
    pub(crate) source: String,
    pub(crate) blocks: Arc<Vec<Block>>,
    pub(crate) decoder: Arc<dyn Decoder>,
}

impl Batch {
    /// A batch of what was cut.
    pub(crate) fn new(time: BatchTime, version: Version, cuts: Vec<(Lane, Cut)>, due: Duration) -> Self {
        let (mut inputs, mut parts, mut leases, mut taken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (lane, cut) in cuts {
            taken.push((lane.clone(), cut.rows as u64));
            inputs.push(LaneInput { lane, records: cut.records });
            parts.push(cut.complete.then_some(cut.blocks));
            leases.extend(cut.leases);
        }
        Self { manifest: Manifest { time, inputs, version }, parts, leases, taken, due }
    }

    /// A batch that an earlier process began.
    pub(crate) fn again(manifest: Manifest, due: Duration) -> Self {
        let parts = manifest.inputs.iter().map(|_| None).collect();
        let taken = manifest.inputs.iter().map(|input| (input.lane.clone(), records(&input.records)));
        Self { taken: taken.collect(), manifest, parts, leases: Vec::new(), due }
    }

    /// The same batch, to be computed by that version.
    pub(crate) fn by(&self, version: &Version) -> Self {
        Self {
            manifest: Manifest { version: version.clone(), ..self.manifest.clone() },
            parts: self.parts.clone(),
            leases: self.leases.clone(),
            taken: self.taken.clone(),
            due: self.due,
        }
    }

    /// The same batch, for somebody who is not waited for: it keeps no receiver from receiving.
    pub(crate) fn beside(&self) -> Self {
        let mut beside = self.by(&self.manifest.version);
        beside.leases = Vec::new();
        beside
    }

    /// What its records take in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.parts.iter().flatten().flatten().map(Block::size_bytes).sum()
    }

    pub(crate) fn time(&self) -> BatchTime {
        self.manifest.time
    }

    pub(crate) fn records(&self) -> u64 {
        self.taken.iter().map(|(_, records)| records).sum()
    }

    /// The batch's rows by source, those of a source's receivers one after the other.
    pub(crate) async fn load(
        &self,
        code: &Code,
        log: Option<Log<'_>>,
    ) -> Result<Vec<BatchInput>, EngineError> {
        let mut inputs = Vec::new();
        for binding in &code.sources {
            let mut blocks = Vec::new();
            for (input, part) in self.manifest.inputs.iter().zip(&self.parts) {
                if input.lane.source != binding.name {
                    continue;
                }
                match part {
                    Some(part) => blocks.extend(part.iter().cloned()),
                    None => blocks.extend(self.read(input, code, log).await?),
                }
            }
            let (source, decoder) = (binding.name.clone(), Arc::clone(&binding.decoder));
            inputs.push(BatchInput { source, blocks: Arc::new(blocks), decoder });
        }
        Ok(inputs)
    }

    /// Brings back what is not in memory.
    async fn read(
        &self,
        input: &LaneInput,
        code: &Code,
        log: Option<Log<'_>>,
    ) -> Result<Vec<Block>, EngineError> {
        match (&input.records, log) {
            (Records::Logged(range), _) if range.records.is_empty() => Ok(Vec::new()),
            (Records::Logged(range), Some(log)) => {
                let read = match log {
                    Log::Running(wal) => wal.read(&input.lane, range.records.clone()).await,
                    Log::Archive(archive) => archive.read(&input.lane, range.records.clone()).await,
                };
                read.map_err(EngineError::Journal)
            }
            (Records::Logged(_), None) => unreachable!("without a log, all blocks are in memory"),
            (Records::Direct(ranges), _) => {
                let mut blocks = Vec::new();
                for range in ranges.iter().filter(|range| !range.records.is_empty()) {
                    blocks.extend(code.read_again(&input.lane, range).await?);
                }
                Ok(blocks)
            }
        }
    }
}

/// How many records that is.
fn records(records: &Records) -> u64 {
    match records {
        Records::Logged(range) => range.records.end - range.records.start,
        Records::Direct(ranges) => ranges.iter().map(|range| range.records.end - range.records.start).sum(),
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The blocks go before the room they used is given to others.
        self.parts.clear();
        self.leases.clear();
    }
}

//! How much a receiver may bring in, and where that is kept.

use std::time::Duration;

/// Where received blocks are kept until their batch takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory; when that is full, the receiver waits.
    #[default]
    Memory,
    /// In memory, and when that is full in the write-ahead log alone.
    MemoryAndDisk,
    /// In the write-ahead log alone.
    Disk,
}

/// How much a receiver may bring in.
#[derive(Clone, Debug)]
pub struct InletSettings {
    /// Bytes that its blocks may use in memory, from when they are sent until their batch is done.
    pub bytes_max: usize,
    /// Bytes that may wait on disk alone.
    pub disk_bytes_max: u64,
    /// Where blocks are kept.
    pub storage: Storage,
    /// At this many rows a batch is full.
    pub batch_rows_max: usize,
    /// How long the source gathers records for a block that is not full.
    pub block_interval: Duration,
    /// Rows a second, at most.
    pub rate_max: Option<u64>,
    /// Whether the source delivers what is there now and then ends.
    pub once: bool,
}

impl Default for InletSettings {
    fn default() -> Self {
        Self {
            bytes_max: 128 << 20,
            disk_bytes_max: 4 << 30,
            storage: Storage::Memory,
            batch_rows_max: 4_000_000,
            block_interval: Duration::ZERO,
            rate_max: None,
            once: false,
        }
    }
}

impl InletSettings {
    /// What a batch takes at most: blocks from disk must not be more in memory than those that stayed there.
    pub(super) fn batch_bytes_max(&self) -> usize {
        match self.storage {
            Storage::Memory => usize::MAX,
            Storage::MemoryAndDisk | Storage::Disk => self.bytes_max.max(1),
        }
    }
}

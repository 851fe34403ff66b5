//! Write-ahead log, batch log and recovery: the bytes on disk.
//!
//! A checkpoint folder holds three logs of numbered segments:
//!
//! ```text
//! log/00000000000000000001.log          the batch log: which batches were begun, committed and published
//! wal/00000000000000000001.wal          the write-ahead log: records as receivers were given them
//! state/00000000000000000001.state      the state log: what batches change in keyed states and windows
//! state/00000000000000000001.snapshot   keyed states as they were at some place of the state log
//! state-1/                              the same of the next generation of states
//! ```
//!
//! [`Journal::open`] recovers both and gives three ends: [`Wal`] takes and gives records, [`WalWriter`] writes them in
//! groups, [`BatchLog`] notes what becomes of batches. [`Archive`] reads both without writing, beside a running host;
//! [`examine`] and [`repair`] are for logs that are damaged. [`StateFiles`] and [`StateLog`] are the state log and its
//! snapshots; what they come to is for `millstream-state` to know.
//!
//! What always holds: whatever was said to be durable is given back as it was, or opening is refused with the file and
//! the place. Nothing is skipped in silence. What a crash tore off the end was never said to be durable, and is cut.
//! All formats are drawn where they are read and written: `frame`, `entry`, and the batch log's [`Record`].

mod archive;
mod columns;
mod entry;
mod error;
mod frame;
mod log;
mod mend;
mod outbox;
mod repair;
mod report;
mod segment;
mod split;
mod state_log;
#[cfg(test)]
mod tests;
mod wal;

use std::path::Path;
use std::sync::Arc;

use millstream_platform::{Clock, Disk};

pub use archive::Archive;
pub use error::JournalError;
#[cfg(fuzzing)]
pub use frame::reseal;
pub use log::{BatchLog, Cut, Failure, Ledger, LedgerError, Record, Taken};
pub use outbox::{Outbox, OutboxBatch};
pub use repair::repair;
pub use report::{Damage, FileReport, Report, Verdict, examine};
pub use split::split_off;
pub use state_log::{
    Appended, Operation, Operations, Oversized, PanePlace, Place, SCRATCH, ShardSnapshot, SnapshotPart,
    StateEnd, StateFiles, StateLog, StateRecord, StateRecords, StateSegment, StateStart, StoredField,
    StoredKind, StoredPane, StoredTable,
};
pub use wal::{Extent, LaneEnd, Wal, WalWriter};

use frame::Kind;
use segment::Folder;
use wal::Shared;

/// How large the journal's files become, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment of the write-ahead log that is this long is followed by another.
    pub wal_segment_bytes: u64,
    /// A segment of the batch log that is this long is followed by another.
    pub log_segment_bytes: u64,
    /// Segments of the batch log that are kept.
    pub log_segments_kept: usize,
    /// Bytes of the write-ahead log that are kept though no batch needs them any more, for replays.
    pub history_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wal_segment_bytes: 64 << 20,
            log_segment_bytes: 1 << 20,
            log_segments_kept: 4,
            history_bytes: 256 << 20,
        }
    }
}

/// Both logs of a pipeline, recovered and open.
pub struct Journal {
    /// Takes and gives records.
    pub wal: Wal,
    /// Writes what the write-ahead log is given; its [`WalWriter::run`] is to be spawned.
    pub writer: WalWriter,
    /// Notes what becomes of batches.
    pub batches: BatchLog,
}

impl Journal {
    /// Opens the journal in a checkpoint folder, which is made where it is not there, and recovers what it holds.
    ///
    /// # Errors
    /// `Full` where there is no room to open it; `Damaged` and `Newer` where it is not to be read, and nothing of what
    /// is durable in it was changed.
    pub async fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        folder: &Path,
        limits: Limits,
    ) -> Result<Self, JournalError> {
        let logs = Folder::new(&disk, folder, Kind::Log);
        let wals = Folder::new(&disk, folder, Kind::Wal);
        segment::make_folder(disk.as_ref(), &logs.path).await?;
        segment::make_folder(disk.as_ref(), &wals.path).await?;
        let folded = log::recover::recover(&logs).await?;
        let index = wal::recover::recover(&wals, &folded.ledger).await?;
        let shared = Arc::new(Shared::new(wals, index, limits.history_bytes));
        let newest = folded.newest;
        let batches = BatchLog::open(logs, folded.ledger, newest, Arc::clone(&shared), &limits).await?;
        let writer = WalWriter::new(Arc::clone(&shared), clock, limits.wal_segment_bytes);
        Ok(Self { wal: Wal::new(shared), writer, batches })
    }
}

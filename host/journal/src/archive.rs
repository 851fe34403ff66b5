//! The journal as it can be read beside a running host: without writing, and whatever the host does meanwhile.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use millstream_model::{BatchTime, Block, Commit, Lane, Manifest};
use millstream_platform::Disk;

use crate::JournalError;
use crate::frame::Kind;
use crate::log::recover::{fold, read_records};
use crate::log::{Cut, Ledger, Record};
use crate::segment::Folder;
use crate::wal::recover::read_newest;
use crate::wal::segment::{Content, Placed, read_starts};
use crate::wal::trimmed;

/// How often reading begins anew because a segment was removed meanwhile.
const ATTEMPTS: usize = 5;

type Batches = BTreeMap<BatchTime, (Manifest, Option<Commit>)>;

/// The batches that the batch log still tells of, and the records that the write-ahead log still holds.
pub struct Archive {
    wal: Folder,
    ledger: Ledger,
    batches: Batches,
}

impl Archive {
    /// Reads the batch log in a checkpoint folder as it is now.
    ///
    /// # Errors
    /// `Damaged` and `Newer` where it is not to be read.
    pub async fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, JournalError> {
        let log = Folder::new(&disk, folder, Kind::Log);
        let wal = Folder::new(&disk, folder, Kind::Wal);
        let mut attempt = 1;
        loop {
            match read_log(&log).await {
                Err(error) if attempt < ATTEMPTS && error.is_missing_file() => attempt += 1,
                read => {
                    let (ledger, batches) = read?;
                    return Ok(Self { wal, ledger, batches });
                }
            }
        }
    }

    /// What happened to all batches so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The batches whose manifests are kept, in order.
    pub fn batches(&self) -> impl Iterator<Item = BatchTime> {
        self.batches.keys().copied()
    }

    /// A batch, and what came of it if it is committed.
    pub fn batch(&self, time: BatchTime) -> Option<(&Manifest, Option<&Commit>)> {
        self.batches.get(&time).map(|(manifest, commit)| (manifest, commit.as_ref()))
    }

    /// Exactly these records of a lane, in order.
    ///
    /// # Errors
    /// `Gone` where they are not kept any more, or not there yet.
    pub async fn read(&self, lane: &Lane, records: Range<u64>) -> Result<Vec<Block>, JournalError> {
        let read = self.read_kept(lane, &records).await;
        read.map_err(|error| match error.is_missing_file() {
            true => JournalError::Gone { lane: lane.clone(), records },
            false => error,
        })
    }

    /// For each receiver's lane, how many records are in the write-ahead log that no batch has.
    ///
    /// # Errors
    /// `Damaged` and `Newer` where the write-ahead log is not to be read.
    pub async fn unprocessed(&self) -> Result<BTreeMap<Lane, u64>, JournalError> {
        let mut numbers = self.wal.numbers().await?;
        let mut ends = BTreeMap::new();
        if let (Some(newest), _) = read_newest(&self.wal, &mut numbers).await? {
            ends.extend(newest.starts.into_iter().map(|start| (start.lane, start.next)));
            ends.extend(
                newest.entries.into_iter().map(|placed| (placed.entry.lane.clone(), placed.entry.end())),
            );
        }
        let count = |(lane, end): (Lane, u64)| {
            let next = match self.ledger.lanes.get(&lane) {
                Some(Cut::Logged { next, .. }) => *next,
                _ => 0,
            };
            (lane, end.saturating_sub(next))
        };
        Ok(ends.into_iter().map(count).collect())
    }

    async fn read_kept(&self, lane: &Lane, records: &Range<u64>) -> Result<Vec<Block>, JournalError> {
        let gone = || JournalError::Gone { lane: lane.clone(), records: records.clone() };
        let numbers = self.wal.numbers().await?;
        let mut blocks = Vec::new();
        let mut next = records.start;
        let first = self.find_segment(&numbers, lane, next).await?.ok_or_else(gone)?;
        for number in &numbers[first..] {
            if next >= records.end {
                break;
            }
            for placed in self.read_segment(*number, numbers.last()).await? {
                let entry = placed.entry;
                if entry.lane == *lane && entry.first <= next && next < entry.end().min(records.end) {
                    next = entry.end();
                    let damaged = |what| self.wal.damaged(*number, placed.offset, what);
                    blocks.push(trimmed(entry, records).map_err(damaged)?);
                }
            }
        }
        if next < records.end { Err(gone()) } else { Ok(blocks) }
    }

    /// The newest segment in front of which the lane had not come to that record.
    async fn find_segment(
        &self,
        numbers: &[u64],
        lane: &Lane,
        record: u64,
    ) -> Result<Option<usize>, JournalError> {
        for (at, number) in numbers.iter().enumerate().rev() {
            let starts = match read_starts(&self.wal, *number).await {
                // It is being made just now.
                Err(JournalError::Damaged { .. }) if at + 1 == numbers.len() => continue,
                starts => starts?,
            };
            let before = starts.iter().find(|start| start.lane == *lane).map_or(0, |start| start.next);
            if before <= record {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    async fn read_segment(&self, number: u64, newest: Option<&u64>) -> Result<Vec<Placed>, JournalError> {
        let content = Content::parse(&self.wal, number, self.wal.read(number).await?)?;
        match &content.tear {
            Some(tear) if newest != Some(&number) || content.damage().is_some() => {
                Err(self.wal.damaged(number, tear.offset, tear.what))
            }
            _ => Ok(content.entries),
        }
    }
}

async fn read_log(folder: &Folder) -> Result<(Ledger, Batches), JournalError> {
    let mut batches = Batches::new();
    let folded = fold(folder).await?;
    for number in folder.numbers().await? {
        for record in read_records(folder, number).await? {
            note(&mut batches, record);
        }
    }
    Ok((folded.ledger, batches))
}

fn note(batches: &mut Batches, record: Record) {
    match record {
        Record::Snapshot(ledger) => {
            for manifest in ledger.pending {
                batches.entry(manifest.time).or_insert((manifest, None));
            }
            if let Some((manifest, commit)) = ledger.unpublished {
                batches.insert(manifest.time, (manifest, Some(commit)));
            }
        }
        Record::Begin(manifest) => {
            batches.insert(manifest.time, (manifest, None));
        }
        Record::Commit(commit) => {
            if let Some(batch) = batches.get_mut(&commit.time) {
                batch.1 = Some(commit);
            }
        }
        Record::Reassigned { time, version } => {
            if let Some((manifest, _)) = batches.get_mut(&time) {
                manifest.version = version;
            }
        }
        Record::Published { .. } | Record::Failed(_) => {}
    }
}

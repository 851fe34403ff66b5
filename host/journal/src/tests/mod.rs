mod codec;
mod damage;
mod fixture;
mod log;
mod outbox;
mod repair;
mod simulation;
mod state_log;
mod wal;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{
    BatchTime, Block, Commit, Lane, LaneInput, LoggedRange, Manifest, Payload, Position, Records, Version,
};
use millstream_platform::{Disk, ManualClock, MemoryDisk};
use tokio::task::JoinHandle;

use crate::{BatchLog, Journal, JournalError, Limits, Wal};

/// A journal whose writer runs.
pub(super) struct Running {
    pub(super) wal: Wal,
    pub(super) batches: BatchLog,
    pub(super) writer: JoinHandle<Result<(), JournalError>>,
    pub(super) clock: ManualClock,
}

impl Running {
    /// Lets the writer finish.
    pub(super) async fn stop(self) -> Result<(), JournalError> {
        drop((self.wal, self.batches));
        self.writer.await.unwrap()
    }

    /// Submits lines and waits until they are on disk.
    pub(super) async fn receive(&self, lane: &Lane, lines: &[&str]) {
        let first = self.wal.end(lane).map_or(0, |end| end.next);
        let entry = self.wal.submit(lane, first, &lines_block(first, lines));
        self.wal.wait_durable(entry).await.unwrap();
    }
}

pub(super) const FOLDER: &str = "checkpoint";

pub(super) async fn open(disk: &Arc<dyn Disk>, limits: Limits) -> Result<Running, JournalError> {
    let clock = ManualClock::new(0);
    let journal = Journal::open(Arc::clone(disk), Arc::new(clock.clone()), Path::new(FOLDER), limits).await?;
    let writer = tokio::spawn(journal.writer.run());
    Ok(Running { wal: journal.wal, batches: journal.batches, writer, clock })
}

pub(super) fn lane(source: &str) -> Lane {
    Lane { source: source.to_owned(), receiver: 0 }
}

pub(super) fn lines_block(first: u64, lines: &[&str]) -> Block {
    let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Block::lines(bytes.into(), lines.len(), Position { origin: "peer".into(), record: first })
}

/// The lines of blocks of lines.
pub(super) fn lines_of(blocks: &[Block]) -> Vec<String> {
    let bytes = |block: &Block| match &block.payload {
        Payload::Lines(bytes) => bytes.clone(),
        other => panic!("no lines but {other:?}"),
    };
    let all: Vec<Bytes> = blocks.iter().map(bytes).collect();
    all.iter()
        .flat_map(|bytes| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

pub(super) fn manifest(time: i64, inputs: &[(&Lane, std::ops::Range<u64>)]) -> Manifest {
    let input = |(lane, records): &(&Lane, std::ops::Range<u64>)| LaneInput {
        lane: (*lane).clone(),
        records: Records::Logged(LoggedRange { records: records.clone(), resume: None }),
    };
    Manifest {
        time: BatchTime::from_ms(time),
        inputs: inputs.iter().map(input).collect(),
        version: Version::default(),
    }
}

pub(super) fn commit(time: i64, records: u64) -> Commit {
    Commit { time: BatchTime::from_ms(time), records, ..Commit::default() }
}

/// The engine awaits these from tasks on several threads.
#[test]
fn what_the_journal_does_can_be_awaited_on_any_thread() {
    fn check<T: Send>(_: impl FnOnce() -> T) {}
    let disk = || -> Arc<dyn Disk> { Arc::new(MemoryDisk::new()) };
    let clock = || Arc::new(ManualClock::new(0));
    let at = Path::new(FOLDER);
    check(|| Journal::open(disk(), clock(), at, Limits::default()));
    check(|| crate::Archive::open(disk(), at));
    check(|| crate::examine(disk(), at));
    check(|| crate::repair(disk(), at));
    let uses = |mut running: Running| async move {
        running.wal.read(&lane("a"), 0..1).await?;
        running.wal.clean().await?;
        running.wal.wait_durable(1).await?;
        running.batches.begin(manifest(1, &[])).await?;
        running.batches.commit(commit(1, 0)).await
    };
    let running = || -> Running { unreachable!("nothing is run here") };
    check(|| uses(running()));
}

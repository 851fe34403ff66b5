//! The batch log: which batches were begun, committed and published.
//!
//! Its records are JSON in frames. Each segment begins with a snapshot of all before it, so the newest segment alone
//! tells everything, and the older ones are kept for the history of batches and in case the newest snapshot is damaged.
//!
//! What always holds: a segment appears under its name whole, with its snapshot; the records of a segment continue its
//! snapshot; the snapshot of the next segment is what they come to.
//!
//! A bit that flips in the records since the last sync but one cannot be told from a crash, as nothing behind them says that
//! they were on disk. They are cut, and what is lost with them does no harm: a batch that was begun is cut anew before
//! anything of it was seen, and one that was committed is run and published again.

mod error;
mod ledger;
pub(crate) mod recover;

use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{BatchTime, Commit, Manifest, Version};
use millstream_platform::{Append, crash_point};

use crate::error::is_full;
use crate::frame::{BODY_BYTES_MAX, Body};
use crate::segment::{Folder, first_frames};
use crate::wal::Shared;
use crate::{JournalError, Limits};

pub use error::LedgerError;
pub use ledger::{Cut, Failure, Ledger, Record, Taken};

/// The batch log, and what it comes to.
///
/// After an error other than `Full` and `Contradiction` it refuses everything with that error: what is on disk is known only by
/// opening the journal again. So whoever writes is told what has failed, also where that was another's write.
pub struct BatchLog {
    folder: Folder,
    segment_bytes: u64,
    segments_kept: usize,
    ledger: Ledger,
    /// None, once it has failed.
    tail: Option<Tail>,
    /// What it has failed with.
    failure: JournalError,
    wal: Arc<Shared>,
}

/// The end of the segment that is written to.
struct Tail {
    number: u64,
    end: Box<dyn Append>,
    bytes: u64,
    synced: u64,
}

impl BatchLog {
    /// What happened to all batches so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Begins a batch. It is on disk when this returns.
    ///
    /// # Errors
    /// `Full`, and nothing has changed; `Contradiction` where it does not follow the batches before it.
    pub async fn begin(&mut self, manifest: Manifest) -> Result<(), JournalError> {
        self.write(Record::Begin(manifest), true).await?;
        crash_point("manifest-written");
        Ok(())
    }

    /// Commits the oldest batch that is pending. It is on disk when this returns.
    ///
    /// # Errors
    /// `Full`, and nothing has changed; `Contradiction` where another batch is to be committed or published first.
    pub async fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        self.write(Record::Commit(commit), true).await?;
        crash_point("commit-written");
        Ok(())
    }

    /// Notes that the batch committed last is published. It is on disk with the next batch that is begun or committed.
    ///
    /// # Errors
    /// `Full`, and nothing has changed; `Contradiction` where that batch does not wait to be published.
    pub async fn published(&mut self, time: BatchTime) -> Result<(), JournalError> {
        self.write(Record::Published { time }, false).await?;
        crash_point("batch-published");
        Ok(())
    }

    /// Notes that a pending batch could not be run. It is on disk when this returns, and the batch stays pending.
    ///
    /// # Errors
    /// `Full`, and nothing has changed; `Contradiction` where that batch is not pending.
    pub async fn failed(&mut self, time: BatchTime, error: &str) -> Result<(), JournalError> {
        let before = self.ledger.failure.as_ref().filter(|failure| failure.time == time);
        let attempts = before.map_or(0, |failure| failure.attempts) + 1;
        self.write(Record::Failed(Failure { time, error: error.to_owned(), attempts }), true).await
    }

    /// Gives a pending batch to other code, which runs it from now on. It is on disk when this returns.
    ///
    /// # Errors
    /// `Full`, and nothing has changed; `Contradiction` where that batch is not pending.
    pub async fn reassign(&mut self, time: BatchTime, version: Version) -> Result<(), JournalError> {
        self.write(Record::Reassigned { time, version }, true).await?;
        crash_point("batch-reassigned");
        Ok(())
    }

    pub(crate) async fn open(
        folder: Folder,
        ledger: Ledger,
        number: Option<u64>,
        wal: Arc<Shared>,
        limits: &Limits,
    ) -> Result<Self, JournalError> {
        let (segment_bytes, segments_kept) = (limits.log_segment_bytes, limits.log_segments_kept);
        let failure = JournalError::Closed;
        let mut log = Self { folder, segment_bytes, segments_kept, ledger, tail: None, failure, wal };
        let tail = match number {
            Some(number) => {
                let bytes = log.folder.length(number).await?;
                Tail { number, end: log.folder.append(number).await?, bytes, synced: bytes }
            }
            None => log.create_segment(1).await?,
        };
        log.tail = Some(tail);
        Ok(log)
    }

    /// Appends a record; a `durable` one is on disk when this returns, and all before it.
    async fn write(&mut self, record: Record, durable: bool) -> Result<(), JournalError> {
        self.ledger.check(&record)?;
        let body = encode(&record)?;
        // Whatever goes wrong between here and the end: there is no tail any more to write to.
        let tail = self.tail.take().ok_or_else(|| self.failure.clone())?;
        let appended = self.append(tail, &record, body, durable).await;
        if let (None, Err(error)) = (&self.tail, &appended) {
            self.failure = error.clone();
        }
        appended
    }

    async fn append(
        &mut self,
        mut tail: Tail,
        record: &Record,
        body: Body,
        durable: bool,
    ) -> Result<(), JournalError> {
        if tail.bytes >= self.segment_bytes {
            tail = self.roll(tail).await?;
        }
        let mut buffers = Vec::new();
        let length = body.frame(tail.number, tail.bytes, tail.synced, &mut buffers);
        if let Err(error) = tail.end.append(buffers).await {
            return Err(self.cut_back(tail, error).await);
        }
        tail.bytes += length;
        if durable {
            tail.sync(&self.folder).await?;
        }
        self.ledger.apply(record)?;
        self.tail = Some(tail);
        if durable {
            self.wal.settle(&self.ledger.released());
        }
        Ok(())
    }

    /// Goes over to a new segment, and removes the oldest where there are too many.
    async fn roll(&mut self, mut tail: Tail) -> Result<Tail, JournalError> {
        if tail.synced < tail.bytes {
            tail.sync(&self.folder).await?;
        }
        match self.create_segment(tail.number + 1).await {
            Ok(next) => {
                crash_point("log-rolled");
                self.wal.settle(&self.ledger.released());
                self.prune().await;
                Ok(next)
            }
            Err(error) => {
                // There was no room, and the segment goes on.
                if error.is_full() {
                    self.tail = Some(tail);
                }
                Err(error)
            }
        }
    }

    async fn create_segment(&self, number: u64) -> Result<Tail, JournalError> {
        let snapshot = Record::Snapshot(Box::new(self.ledger.clone()));
        let (buffers, bytes) = first_frames(number, [&encode(&snapshot)?]);
        self.folder.replace(number, buffers).await?;
        Ok(Tail { number, end: self.folder.append(number).await?, bytes, synced: bytes })
    }

    /// Removes what a failed append left. With room again, the log goes on.
    async fn cut_back(&mut self, mut tail: Tail, error: std::io::Error) -> JournalError {
        let file = self.folder.file(tail.number);
        if !is_full(&error) {
            return JournalError::of("writing", &file, error);
        }
        if let Err(error) = self.folder.disk.truncate(&file, tail.bytes).await {
            return JournalError::of_sync(&file, error);
        }
        match self.folder.append(tail.number).await {
            Ok(end) => {
                tail.end = end;
                self.tail = Some(tail);
                JournalError::of("writing", &file, error)
            }
            Err(error) => error,
        }
    }

    /// Removes the oldest segments; one that cannot be removed now is removed some other time.
    async fn prune(&self) {
        let numbers = self.folder.numbers().await.unwrap_or_default();
        let kept = self.segments_kept.max(1);
        for number in numbers.iter().take(numbers.len().saturating_sub(kept)) {
            if let Err(error) = self.folder.remove(&self.folder.file(*number)).await {
                tracing::warn!(%error, "an old segment of the batch log stays");
            }
        }
    }
}

impl Tail {
    async fn sync(&mut self, folder: &Folder) -> Result<(), JournalError> {
        let synced = self.end.sync().await;
        synced.map_err(|error| JournalError::of_sync(&folder.file(self.number), error))?;
        self.synced = self.bytes;
        Ok(())
    }
}

/// The body of a record's frame.
pub(crate) fn encode(record: &Record) -> Result<Body, JournalError> {
    let bytes = serde_json::to_vec(record).expect("numbers and names can be written as JSON into memory");
    match bytes.len() <= BODY_BYTES_MAX {
        true => Ok(Bytes::from(bytes).into()),
        false => Err(JournalError::TooLarge { bytes: bytes.len(), bytes_max: BODY_BYTES_MAX }),
    }
}

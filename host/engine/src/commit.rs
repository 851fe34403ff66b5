//! The end of a batch: its dead letters, its commit, its outputs made visible, its input let go.
//!
//! The commit record is the truth. Before it is on disk, nothing of the batch can be seen and all of it may be done again;
//! once it is, the batch has happened, and what is not visible yet is made so, if need be by the next process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_journal::{BatchLog, JournalError, Ledger};
use millstream_model::{ACCUMULATORS_MAX, BatchTime, Commit, Lane, Manifest, StateEnd};
use millstream_platform::crash_point;
use millstream_state::{Change, Tables};
use tokio::sync::Mutex;

use crate::application::{Code, OnFailure};
use crate::batch::Batch;
use crate::letter::Letter;
use crate::output::{Prepared, SinkFault};
use crate::process::{Outcome, Processor, Ran, sink_error};
use crate::status::BatchStatus;
use crate::waiting::{Room, Waited};
use crate::{DeadLetters, EngineError, Recovery};

/// The batch log of a running pipeline: batches begin in it and are committed in it.
#[derive(Clone)]
pub(crate) struct SharedLog(Arc<Mutex<BatchLog>>);

impl SharedLog {
    pub(crate) fn new(log: BatchLog) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    /// Looks at what happened to all batches so far.
    pub(crate) async fn peek<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(self.0.lock().await.ledger())
    }

    async fn write(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        let mut log = self.0.lock().await;
        match entry {
            Entry::Begin(manifest) => log.begin(manifest.clone()).await,
            Entry::Commit(commit) => log.commit(commit.clone()).await,
            Entry::Published(time) => log.published(time).await,
            Entry::Failed(time, error) => log.failed(time, error).await,
            Entry::Reassigned(manifest) => log.reassign(manifest.time, manifest.version.clone()).await,
        }
    }
}

/// Ends batches, one after the other.
pub(crate) struct Committer {
    pub(crate) processor: Processor,
    pub(crate) log: Option<SharedLog>,
    pub(crate) dead_letters: DeadLetters,
    /// The generation of states that commits have named last.
    pub(crate) generation: Option<u32>,
    /// What the pipeline has read for the last time, once the log's next write is on disk.
    released: BTreeMap<Lane, u64>,
    /// The last batch of those.
    released_by: Option<BatchTime>,
}

/// A batch that is done.
pub(crate) struct Done {
    pub(crate) status: BatchStatus,
    /// What ran it.
    pub(crate) code: Arc<Code>,
    pub(crate) batch: Arc<Batch>,
    pub(crate) dead_letters: u64,
}

/// What is written to the batch log.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Begin(&'a Manifest),
    Commit(&'a Commit),
    Published(BatchTime),
    Failed(BatchTime, &'a str),
    Reassigned(&'a Manifest),
}

/// Writes to the batch log, and waits while there is no room for it.
async fn write(processor: &Processor, log: &SharedLog, entry: Entry<'_>) -> Result<(), EngineError> {
    let mut room = Room::new(processor);
    loop {
        match log.write(entry).await {
            Err(error) => room.wait(EngineError::Journal(error)).await?,
            Ok(()) => {
                processor.board.update(|status| status.trouble = None);
                return Ok(());
            }
        }
    }
}

/// Writes down that a batch begins, and what it computes from.
pub(crate) async fn begin(
    processor: &Processor,
    log: &SharedLog,
    manifest: &Manifest,
) -> Result<(), EngineError> {
    write(processor, log, Entry::Begin(manifest)).await
}

/// Writes down that a batch is computed by other code than it was begun by.
pub(crate) async fn reassign(
    processor: &Processor,
    log: &SharedLog,
    manifest: &Manifest,
) -> Result<(), EngineError> {
    write(processor, log, Entry::Reassigned(manifest)).await
}

/// The tables that code keeps its states in.
fn tables_of(code: &Code) -> &Arc<Tables> {
    code.states.tables().expect("code is bound to tables before it runs a batch")
}

impl Committer {
    /// Commits to `log`, if there is one.
    pub(crate) fn new(processor: Processor, log: Option<SharedLog>, dead_letters: DeadLetters) -> Self {
        let processor = Processor { waited: Waited::default(), ..processor };
        Self { processor, log, dead_letters, generation: None, released: BTreeMap::new(), released_by: None }
    }

    /// Ends a batch that was run.
    pub(crate) async fn end(&mut self, ran: Ran) -> Result<Done, EngineError> {
        let Ran { code, batch, result, started, took } = ran;
        let (clock, waited) = (Arc::clone(&self.processor.clock), self.processor.waited.clone());
        let (began, waited_before) = (clock.elapsed(), waited.total());
        let (outcome, failure) = match result {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome::default(), Some(self.failed(&batch, error).await?)),
        };
        let dead_letters = outcome.rejected.count();
        self.commit(&code, &batch, outcome, failure.clone()).await?;
        let ended = clock.elapsed();
        let took = took + ended.saturating_sub(began).saturating_sub(waited.total() - waited_before);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let status = BatchStatus {
            time: batch.time(),
            records: batch.records(),
            scheduling_delay_ms: ms(started.saturating_sub(batch.due)),
            processing_ms: ms(took),
            held_up_ms: ms(ended.saturating_sub(started).saturating_sub(took)),
            total_delay_ms: ms(ended.saturating_sub(batch.due)),
            failure,
            functions: code.take_usage(batch.time()),
        };
        Ok(Done { status, code, batch, dead_letters })
    }

    /// What to do about a batch that failed for good: the error again, or the reason that its commit gives.
    async fn failed(&mut self, batch: &Batch, error: EngineError) -> Result<String, EngineError> {
        if error.is_full() || matches!(error, EngineError::StoppedNow) {
            // A stop has ended its wait: that is no failure, and the next process runs it again.
            return Err(error);
        }
        let (time, told) = (batch.time(), error.to_string());
        self.processor.board.update(|status| status.failure = Some(told.clone()));
        // A log that cannot be read is no fault of the batch: it would take the next ones as well.
        let is_batch = !matches!(error, EngineError::Journal(_));
        if is_batch && self.processor.policy.on_failure == OnFailure::Continue {
            tracing::error!("{told}; the batch gives nothing, and the pipeline goes on");
            return Ok(told);
        }
        if let Some(log) = &self.log {
            write(&self.processor, log, Entry::Failed(time, &told)).await?;
        }
        Err(error)
    }

    async fn commit(
        &mut self,
        code: &Code,
        batch: &Batch,
        outcome: Outcome,
        failure: Option<String>,
    ) -> Result<(), EngineError> {
        let Outcome { prepared, mut accumulated, rejected, change, .. } = outcome;
        if !accumulated.is_empty() {
            self.bound(&mut accumulated);
        }
        self.keep(&rejected.letters, rejected.uncounted).await?;
        let state_end = match &change {
            Some(change) => self.keep_states(tables_of(code), change).await?,
            None => None,
        };
        if state_end.is_some() {
            crash_point("states-written");
        }
        let Some(log) = self.log.clone() else {
            self.accumulate(&accumulated);
            self.apply(code, change);
            return self.publish(code, batch, prepared).await;
        };
        let commit = Commit {
            time: batch.time(),
            records: batch.records(),
            outputs: prepared.digests.clone(),
            accumulators: accumulated,
            dead_letters: rejected.count(),
            dead_letters_end: self.dead_letters.end(),
            failure,
            state_end,
        };
        write(&self.processor, &log, Entry::Commit(&commit)).await?;
        self.apply(code, change);
        if let Some(end) = state_end.filter(|end| self.generation != Some(end.generation)) {
            self.begin_generation(tables_of(code), end.generation).await;
        }
        self.clean().await?;
        self.publish(code, batch, prepared).await?;
        self.published(&log, batch).await?;
        self.accumulate(&commit.accumulators);
        Ok(())
    }

    /// Notes that a committed batch is visible.
    pub(crate) async fn published(&mut self, log: &SharedLog, batch: &Batch) -> Result<(), EngineError> {
        write(&self.processor, log, Entry::Published(batch.time())).await?;
        self.released = log.0.lock().await.ledger().released();
        self.released_by = Some(batch.time());
        Ok(())
    }

    /// Makes a change of the states durable, and waits while there is no room for it.
    async fn keep_states(&self, tables: &Tables, change: &Change) -> Result<Option<StateEnd>, EngineError> {
        let mut room = Room::new(&self.processor);
        loop {
            match tables.write(change).await {
                Err(error) => room.wait(EngineError::State(error)).await?,
                Ok(end) => return Ok(end),
            }
        }
    }

    /// The batch has happened: its change of the states is what the next one reads. Snapshots are written beside it.
    fn apply(&self, code: &Code, change: Option<Change>) {
        let Some(change) = change else { return };
        let tables = Arc::clone(tables_of(code));
        tables.apply(change);
        tokio::spawn(async move {
            if let Err(error) = tables.store().maintain().await {
                tracing::warn!(
                    "writing a snapshot of the states: {error}; their log grows until that succeeds"
                );
            }
        });
    }

    /// From now on, the states are those of another generation. The others are needed no more, unless a version stands by for
    /// them.
    async fn begin_generation(&mut self, tables: &Tables, generation: u32) {
        crash_point("generation-committed");
        self.generation = Some(generation);
        let noted = match self.processor.left_states.leave() {
            true => tables.store().end_beginning().await,
            false => tables.store().retire_others().await,
        };
        if let Err(error) = noted {
            tracing::warn!("looking for states that are needed no more: {error}; the next start does it");
        }
    }

    /// Keeps dead letters, and waits while there is no room for them.
    async fn keep(&mut self, letters: &[Letter], uncounted: u64) -> Result<(), EngineError> {
        let mut room = Room::new(&self.processor);
        loop {
            match self.dead_letters.write(letters, uncounted).await {
                Err(error) => room.wait(error).await?,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Lets go of the input of batches that are known, on disk, to be visible.
    async fn clean(&mut self) -> Result<(), EngineError> {
        let Some(wal) = &self.processor.wal else { return Ok(()) };
        if self.processor.backlog.oldest().is_some_and(|oldest| Some(oldest) <= self.released_by) {
            return Ok(());
        }
        let released = std::mem::take(&mut self.released);
        if !released.is_empty() {
            released.iter().for_each(|(lane, below)| wal.release(lane, *below));
            wal.clean().await.map_err(EngineError::Journal)?;
        }
        Ok(())
    }

    /// Makes a batch visible. A sink that fails is asked to finish what it has prepared, again and again.
    async fn publish(&self, code: &Code, batch: &Batch, prepared: Prepared) -> Result<(), EngineError> {
        for fault in prepared.publish().await {
            self.finish(code, batch, fault).await?;
        }
        Ok(())
    }

    async fn finish(&self, code: &Code, batch: &Batch, fault: SinkFault) -> Result<(), EngineError> {
        let binding = code.sinks.iter().find(|binding| binding.name == fault.sink);
        let binding = binding.expect("the batch was prepared by the sinks of its code");
        match self.recover(binding, batch.time(), Some(fault.source.clone())).await? {
            Recovery::Published => Ok(()),
            Recovery::NeedsRows => Err(sink_error(batch.time(), fault)),
        }
    }

    /// Leaves out accumulators that would be too many, and says so.
    fn bound(&self, added: &mut BTreeMap<String, i64>) {
        let known = self.processor.board.read().accumulators;
        let mut room = ACCUMULATORS_MAX.saturating_sub(known.len());
        let before = added.len();
        added.retain(|name, _| {
            let fits = known.contains_key(name) || room > 0;
            room -= usize::from(fits && !known.contains_key(name));
            fits
        });
        if added.len() < before {
            let left_out = before - added.len();
            tracing::warn!("{left_out} accumulators are left out: a pipeline has at most {ACCUMULATORS_MAX}");
        }
    }

    fn accumulate(&self, added: &BTreeMap<String, i64>) {
        self.processor.board.update(|status| {
            for (name, amount) in added {
                let total = status.accumulators.entry(name.clone()).or_default();
                *total = total.saturating_add(*amount);
            }
        });
    }
}

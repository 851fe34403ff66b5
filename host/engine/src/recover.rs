//! What a pipeline does first: finish what an earlier process began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_journal::{Extent, Journal, Ledger, Wal};
use millstream_model::{BatchTime, Commit, Lane, Manifest};
use millstream_platform::{Clock, crash_point};
use millstream_state::{Limits, Store, Tables};
use tokio::task::JoinHandle;

use crate::application::{Checkpoint, Code};
use crate::batch::Batch;
use crate::commit::{self, Committer, Done, SharedLog};
use crate::losses;
use crate::migrate;
use crate::output::Prepared;
use crate::process::{Processor, Ran};
use crate::receive::LaneStart;
use crate::waiting::Room;
use crate::{EngineError, Recovery, SinkError};

/// A journal in use, and the task that writes its log.
pub(crate) struct OpenJournal {
    pub(crate) log: SharedLog,
    pub(crate) wal: Wal,
    pub(crate) writer: JoinHandle<Result<(), millstream_journal::JournalError>>,
    pub(crate) ledger: Ledger,
}

impl Drop for OpenJournal {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Opens the journal of a checkpoint folder, or begins one.
pub(crate) async fn open(checkpoint: &Checkpoint, clock: Arc<dyn Clock>) -> Result<OpenJournal, EngineError> {
    let disk = Arc::clone(&checkpoint.disk);
    let opened = Journal::open(disk, clock, &checkpoint.folder, checkpoint.limits).await;
    let Journal { wal, writer, batches } = opened.map_err(EngineError::Journal)?;
    let ledger = batches.ledger().clone();
    Ok(OpenJournal { log: SharedLog::new(batches), wal, writer: tokio::spawn(writer.run()), ledger })
}

/// Opens the states as the last commit left them, for no code yet, and refuses code that would lose some. A pipeline that keeps
/// none, and has kept none, has no folder of them.
pub(crate) async fn open_states(
    checkpoint: &Checkpoint,
    journal: &OpenJournal,
    code: &Code,
    limits: Limits,
) -> Result<Arc<Tables>, EngineError> {
    let end = journal.ledger.state_end;
    if code.states.is_empty() && end.is_none() && journal.ledger.pending.is_empty() {
        return Ok(Arc::new(Tables::new(Store::in_memory(limits))));
    }
    let disk = Arc::clone(&checkpoint.disk);
    let store = Store::open(disk, &checkpoint.folder, limits, end).await;
    let tables = Arc::new(Tables::new(store.map_err(EngineError::State)?));
    losses::refuse(&code.states, &tables)?;
    Ok(tables)
}

/// States that end with the process.
pub(crate) fn states_in_memory(code: &Code, limits: Limits) -> Result<Arc<Tables>, EngineError> {
    let tables = Arc::new(Tables::new(Store::in_memory(limits)));
    code.states.bind(&tables).map_err(EngineError::State)?;
    Ok(tables)
}

/// What an earlier process has left.
pub(crate) struct Left<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) state_limits: Limits,
    /// As the last commit left them.
    pub(crate) states: Arc<Tables>,
}

/// Finishes the batches that were begun: those that were committed are made visible, the others are run, each with
/// the code that its manifest names. Where one needs the states of another version than that before it left, they are migrated in
/// between; and last they are made ready for `code`, the pipeline's own. Gives them, and what was done.
pub(crate) async fn finish_batches(
    committer: &mut Committer,
    left: Left<'_>,
    code: &Arc<Code>,
) -> Result<(Vec<Done>, Arc<Tables>), EngineError> {
    let (ledger, clock) = (left.ledger, Arc::clone(&committer.processor.clock));
    let mut earlier = Earlier { own: code, last: None, left, clock: &*clock };
    committer.processor.is_recovering = true;
    committer.generation = ledger.state_end.map(|end| end.generation);
    committer.dead_letters.recover(ledger.dead_letters_end, !ledger.pending.is_empty()).await?;
    if let Some((manifest, commit)) = &ledger.unpublished {
        let code = earlier.code_of(manifest).await?;
        republish(committer, &code, manifest, commit).await?;
    }
    let mut done = Vec::new();
    for manifest in &ledger.pending {
        done.push(match earlier.code_of(manifest).await {
            Err(error @ EngineError::Version { .. }) => fail(committer, code, manifest, error).await?,
            code => {
                let (code, manifest) = earlier.fitting(code?, manifest, committer).await?;
                earlier.ready_states(&code, &committer.processor).await?;
                rerun(committer, &code, &manifest).await?
            }
        });
    }
    if !ledger.pending.is_empty() {
        tracing::info!("{} batches that had begun before were finished", ledger.pending.len());
        // Those may have kept what there was nothing of before.
        losses::refuse(&code.states, &earlier.left.states)?;
    }
    earlier.ready_states(code, &committer.processor).await?;
    committer.processor.is_recovering = false;
    crash_point("recovered");
    let states = earlier.left.states;
    Ok((done, states))
}

/// Where the code of batches is that were begun before, and what it goes on with.
struct Earlier<'a> {
    /// The pipeline's own.
    own: &'a Arc<Code>,
    /// The version that was loaded last. No other has changed the states since it has run a batch.
    last: Option<Arc<Code>>,
    left: Left<'a>,
    clock: &'a dyn Clock,
}

impl Earlier<'_> {
    /// The code of a batch: the pipeline's own, or that of the version which began the batch.
    async fn code_of(&mut self, manifest: &Manifest) -> Result<Arc<Code>, EngineError> {
        // Code is bound to states once: the pipeline's own to those that it goes on with.
        let mut rest = self.left.ledger.pending.iter().filter(|other| other.time >= manifest.time);
        let is_last = self.own.states.is_empty() || rest.all(|other| other.version == self.own.version);
        if manifest.version == self.own.version && is_last {
            return Ok(Arc::clone(self.own));
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.version == manifest.version) {
            return Ok(Arc::clone(last));
        }
        let time = manifest.time;
        tracing::info!(batch = %time, "begun by another version of the pipeline, and finished by that");
        let loaded = self.left.checkpoint.versions.load(&manifest.version).await;
        let mut code = loaded.map_err(|reason| EngineError::Version { time, reason })?;
        succeed(&mut code, self.own);
        let opened = code.tables.open(BatchTime::from_ms(self.clock.now_ms())).await;
        opened.map_err(|error| EngineError::Version { time, reason: error.to_string() })?;
        Ok(Arc::clone(self.last.insert(Arc::new(code))))
    }

    /// The code for a batch, and the batch: another's, where that cannot go on with the states. It was given to a version which was to come
    /// back to states of its own, and the process ended before it had.
    async fn fitting(
        &mut self,
        code: Arc<Code>,
        manifest: &Manifest,
        committer: &Committer,
    ) -> Result<(Arc<Code>, Manifest), EngineError> {
        let fits = losses::refusal(&code.states, &self.left.states).is_none();
        let manifest = manifest.clone();
        let Some(log) = committer.log.as_ref().filter(|_| !fits && manifest.version != self.own.version)
        else {
            return Ok((code, manifest));
        };
        let manifest = Manifest { version: self.own.version.clone(), ..manifest };
        tracing::info!(batch = %manifest.time, "the version that has it cannot go on with the states; the pipeline's own takes it");
        commit::reassign(&committer.processor, log, &manifest).await?;
        Ok((self.code_of(&manifest).await?, manifest))
    }

    /// Binds code to the states; those of another version are migrated first.
    async fn ready_states(&mut self, code: &Code, processor: &Processor) -> Result<(), EngineError> {
        let Left { checkpoint, state_limits, states, .. } = &mut self.left;
        let mut room = Room::new(processor);
        loop {
            let plan = migrate::plan(&code.states, states);
            if plan.is_nothing() {
                break;
            }
            match migrate::take_over(&plan, states, checkpoint, *state_limits).await {
                Ok(migrated) => *states = migrated,
                Err(error) => room.wait(EngineError::Migration(error)).await?,
            }
        }
        losses::take_hold(&code.states, states)
    }
}

/// Puts those of the pipeline's own sinks in the place of earlier ones that go on with their batches: where the earlier
/// one was told the wrong address, a batch would otherwise wait for it forever.
fn succeed(earlier: &mut Code, code: &Code) {
    for binding in &mut earlier.sinks {
        let successor = code.sinks.iter().find(|other| {
            let succession = other.sink.succession();
            other.name == binding.name && succession.is_some() && succession == binding.sink.succession()
        });
        if let Some(successor) = successor {
            binding.sink = Arc::clone(&successor.sink);
        }
    }
}

/// Makes a committed batch visible. The sinks that have nothing of it any more get its rows again.
async fn republish(
    committer: &mut Committer,
    code: &Arc<Code>,
    manifest: &Manifest,
    commit: &Commit,
) -> Result<(), EngineError> {
    let time = manifest.time;
    let was_given_rows = |sink: &str| commit.outputs.get(sink).is_some_and(|digest| digest.rows > 0);
    let mut needy = Vec::new();
    // A batch that failed gives nothing, also where an attempt had prepared something.
    for binding in code.sinks.iter().filter(|_| commit.failure.is_none()) {
        let sink = binding.name.clone();
        match committer.recover(binding, time, None).await? {
            Recovery::NeedsRows if was_given_rows(&sink) => needy.push(sink),
            Recovery::Published | Recovery::NeedsRows => {}
        }
    }
    let batch = Batch::again(manifest.clone(), committer.processor.clock.elapsed());
    if !needy.is_empty() && !code.states.is_empty() {
        let (sink, reason) = (needy.swap_remove(0), "its rows came of states that have gone on since");
        let source = SinkError::Failed(format!("it has lost the batch, which cannot be run again: {reason}"));
        return Err(EngineError::Sink { time, sink, source });
    }
    if !needy.is_empty() {
        let wanted = |name: &str| needy.iter().any(|sink| sink == name);
        let prepared = committer.processor.run(code, &batch, wanted).await?.prepared;
        refuse_other_rows(time, &prepared, commit)?;
        if let Some(fault) = prepared.publish().await.pop() {
            return Err(crate::process::sink_error(time, fault));
        }
    }
    let log = committer.log.clone().expect("recovery has a journal");
    committer.published(&log, &batch).await
}

/// A batch that was committed is made visible with the rows that it was committed with, and no others.
fn refuse_other_rows(time: BatchTime, prepared: &Prepared, commit: &Commit) -> Result<(), EngineError> {
    let other = prepared.digests.iter().find(|(sink, rows)| commit.outputs.get(*sink) != Some(*rows));
    let Some((sink, _)) = other else { return Ok(()) };
    let reason = "it gives other rows than it was committed with, as when a table has changed since";
    let source = SinkError::Failed(format!("it has lost the batch, which cannot be run again: {reason}"));
    Err(EngineError::Sink { time, sink: sink.clone(), source })
}

/// Runs a batch that was begun and not committed.
async fn rerun(
    committer: &mut Committer,
    code: &Arc<Code>,
    manifest: &Manifest,
) -> Result<Done, EngineError> {
    let batch = Arc::new(Batch::again(manifest.clone(), committer.processor.clock.elapsed()));
    let ran = committer.processor.clone().process(Arc::clone(code), batch).await;
    committer.end(ran).await
}

/// Ends a batch that was begun by code which is not to be had any more, as one that has failed for good.
async fn fail(
    committer: &mut Committer,
    code: &Arc<Code>,
    manifest: &Manifest,
    error: EngineError,
) -> Result<Done, EngineError> {
    let started = committer.processor.clock.elapsed();
    let batch = Batch::again(manifest.clone(), started);
    let (code, batch) = (Arc::clone(code), Arc::new(batch));
    let ran = Ran { code, batch, result: Err(error), started, took: Duration::ZERO };
    committer.end(ran).await
}

/// Where each lane goes on: behind what batches have taken, with what the log holds of it.
pub(crate) fn lane_starts(ledger: &Ledger, wal: &Wal) -> BTreeMap<Lane, LaneStart> {
    let mut starts: BTreeMap<Lane, LaneStart> = BTreeMap::new();
    for (lane, taken) in &ledger.lanes {
        starts.insert(lane.clone(), LaneStart::behind(taken.clone()));
    }
    for (lane, extents) in wal.unreleased() {
        let start = starts.entry(lane.clone()).or_default();
        let next = start.next;
        start.logged = extents.into_iter().filter_map(|extent| behind(extent, next)).collect();
    }
    for (lane, start) in &mut starts {
        if let Some(end) = wal.end(lane) {
            start.next = start.next.max(end.next);
            start.resume = end.resume.or(start.resume.take());
        }
    }
    starts
}

/// The part of `extent` from record `next` on, if there is one.
fn behind(extent: Extent, next: u64) -> Option<Extent> {
    let Extent { records, bytes } = extent;
    let left = records.start.max(next)..records.end;
    let share = |left: u64| bytes as u64 * left / (records.end - records.start).max(1);
    let bytes = share(left.end.checked_sub(left.start)?);
    (!left.is_empty()).then(|| Extent { records: left, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) })
}

/// Refuses to go on without records that were received and whose source the pipeline has no more.
pub(crate) fn refuse_orphans(starts: &BTreeMap<Lane, LaneStart>, code: &Code) -> Result<(), EngineError> {
    for (lane, start) in starts {
        let records: u64 = start.logged.iter().map(|extent| extent.records.end - extent.records.start).sum();
        let known = code.sources.iter().any(|source| {
            let is_receiver = source.source.direct().is_none();
            source.name == lane.source && is_receiver && lane.receiver < source.parallelism.max(1)
        });
        if records > 0 && !known {
            return Err(EngineError::Orphans { lane: lane.clone(), records });
        }
    }
    Ok(())
}

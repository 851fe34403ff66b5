//! Runs a batch up to where only its commit is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_journal::Wal;
use millstream_model::BatchTime;
use millstream_platform::{Backoff, Clock, Randomness, crash_point};
use millstream_query::{Broken, Chunks, Output, Poisoned, Program, QueryError, Stopwatch};
use millstream_state::Change;

use crate::application::{Code, OnFailure, Policy};
use crate::batch::{Batch, BatchInput, Log};
use crate::chunks::{BlockChunks, Rejected};
use crate::events::Events;
use crate::letter::Letter;
use crate::output::{Prepared, SinkFault, Staged};
use crate::probation::Failures;
use crate::quarantine::{self, Quarantine};
use crate::shadow::Captured;
use crate::standby::LeftStates;
use crate::status::Board;
use crate::table::TablesNow;
use crate::understudy::LastBacklog;
use crate::waiting::{Room, Waited};
use crate::{EngineError, Event, SinkError, Stop};

/// What batches are run with.
#[derive(Clone)]
pub(crate) struct Processor {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) wal: Option<Wal>,
    pub(crate) policy: Policy,
    pub(crate) board: Board,
    pub(crate) events: Events,
    pub(crate) quarantine: Quarantine,
    /// Ends waits.
    pub(crate) stop: Stop,
    /// Whether it finishes what an earlier process began.
    pub(crate) is_recovering: bool,
    /// What another version has yet to run of what this one has.
    pub(crate) backlog: LastBacklog,
    /// The states of a version that may come back to them.
    pub(crate) left_states: LeftStates,
    /// Whether sinks are given any rows.
    pub(crate) writes: bool,
    /// Whether the rows are wanted that sinks are given, or would be.
    pub(crate) captures: bool,
    /// What the batches waited that this one runs or commits.
    pub(crate) waited: Waited,
    /// Counts what fails, where the code is on probation.
    pub(crate) failures: Option<Failures>,
}

/// A batch that was run.
pub(crate) struct Ran {
    /// What ran it.
    pub(crate) code: Arc<Code>,
    pub(crate) batch: Arc<Batch>,
    pub(crate) result: Result<Outcome, EngineError>,
    /// When it began, by the clock's elapsed time.
    pub(crate) started: Duration,
    /// How long it took since, without what it waited.
    pub(crate) took: Duration,
}

/// What a batch came to: what its commit will say.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) prepared: Prepared,
    pub(crate) accumulated: BTreeMap<String, i64>,
    pub(crate) rejected: Rejected,
    /// The rows that functions broke on.
    pub(crate) broken: Option<Broken>,
    /// What it does to the states, where its streams keep any.
    pub(crate) change: Option<Change>,
    /// What its sinks were given, where that is wanted.
    pub(crate) captured: Option<Captured>,
}

impl Processor {
    /// Runs `batch` until it succeeds, or has failed as often as it may.
    pub(crate) async fn process(mut self, code: Arc<Code>, batch: Arc<Batch>) -> Ran {
        self.waited = Waited::default();
        let started = self.clock.elapsed();
        let (time, records) = (batch.time(), batch.records());
        self.events.tell(|| Event::BatchStarted { time, records });
        let result = self.run(&code, &batch, |_| self.writes).await;
        if let Some(failures) = &self.failures {
            failures.note_end(&result);
        }
        let took = self.clock.elapsed().saturating_sub(started).saturating_sub(self.waited.total());
        Ran { code, batch, result, started, took }
    }

    /// Runs `batch` for the sinks whose names `wanted` says.
    pub(crate) async fn run(
        &self,
        code: &Code,
        batch: &Batch,
        wanted: impl Fn(&str) -> bool + Sync,
    ) -> Result<Outcome, EngineError> {
        let mut program = code.programs.take().expect("no more batches run at once than there are programs");
        let clock = Arc::clone(&self.clock);
        program.measure(Stopwatch::new(move || clock.elapsed()));
        let result = self.run_with(&mut program, code, batch, &wanted).await;
        code.programs.put(program);
        self.quarantine.release(batch.time());
        self.board.update(|status| status.quarantine = self.quarantine.status());
        result
    }

    async fn run_with(
        &self,
        program: &mut Program,
        code: &Code,
        batch: &Batch,
        wanted: &(impl Fn(&str) -> bool + Sync),
    ) -> Result<Outcome, EngineError> {
        let (mut room, mut quarantine) = (Room::new(self), self.long_backoff());
        let mut failures = 0;
        let TablesNow { inputs: tables, trouble } = code.tables.at(batch.time(), &*self.clock).await;
        self.board.table_trouble(trouble);
        let mut since = self.clock.elapsed();
        loop {
            self.quarantine.over(batch.time(), &*self.clock).await;
            self.waited.add(self.clock.elapsed().saturating_sub(since));
            since = self.clock.elapsed();
            let error = match self.attempt(program, code, batch, &tables, wanted).await {
                Ok(outcome) => {
                    self.board.update(|status| status.trouble = None);
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            if let Some(failures) = &self.failures {
                failures.note_attempt(&error);
            }
            let fate = self.fate(&error);
            failures += u32::from(fate.counts(self.policy.on_failure));
            if failures >= self.policy.attempts.max(1) {
                return Err(error);
            }
            match fate {
                Fate::Full => {
                    room.wait(error).await?;
                    since = self.clock.elapsed();
                }
                Fate::HeldUp { function, reason } => {
                    let clock = &*self.clock;
                    let wait =
                        self.quarantine.confine(batch.time(), function, reason, clock, &mut quarantine);
                    tracing::warn!("{error}; trying again in {:.1} s", wait.as_secs_f64());
                    self.board.update(|status| status.quarantine = self.quarantine.status());
                }
                Fate::Failed => {
                    tracing::warn!("{error}; running the batch once more");
                    since = self.clock.elapsed();
                }
            }
        }
    }

    /// What comes of a batch that failed so.
    fn fate<'e>(&self, error: &'e EngineError) -> Fate<'e> {
        match error {
            error if error.is_full() => Fate::Full,
            EngineError::Batch { source: QueryError::Unusable { function, reason }, .. }
                if self.policy.quarantine =>
            {
                Fate::HeldUp { function, reason }
            }
            _ => Fate::Failed,
        }
    }

    /// The waits of a batch for a function in quarantine.
    fn long_backoff(&self) -> Backoff {
        Backoff::new(quarantine::WAIT_FIRST, quarantine::WAIT_LONGEST, Arc::clone(&self.randomness))
    }

    async fn attempt(
        &self,
        program: &mut Program,
        code: &Code,
        batch: &Batch,
        tables: &[(String, Arc<dyn Chunks>)],
        wanted: &(impl Fn(&str) -> bool + Sync),
    ) -> Result<Outcome, EngineError> {
        let time = batch.time();
        let inputs = chunks(batch.load(code, self.wal.as_ref().map(Log::Running)).await?);
        let sinks = code.sinks.iter().filter(|binding| wanted(&binding.name));
        let staged = Staged::begin(sinks, time, self.wal.is_some()).await;
        let staged = staged.map_err(|fault| sink_error(time, fault))?;
        let staged = Arc::new(if self.captures { staged.capturing(&code.sinks) } else { staged });
        let given = inputs.iter().map(|(name, chunks)| (name.clone(), Arc::clone(chunks) as Arc<dyn Chunks>));
        let given = given.chain(tables.iter().cloned()).collect();
        let output = Arc::clone(&staged) as Arc<dyn Output>;
        code.states.begin(time);
        let ran = program.run(time, given, output).await;
        let computed = ran.map_err(|source| match staged.take_fault() {
            Some(fault) => sink_error(time, fault),
            None => EngineError::Batch { time, source },
        })?;
        crash_point("batch-run");
        let mut rejected = Rejected::default();
        inputs.iter().for_each(|(_, chunks)| rejected.add(chunks.take_rejected()));
        rejected.uncounted += computed.more_poison;
        letters(time, &inputs, computed.poison).for_each(|letter| rejected.push(letter));
        let (accumulated, broken) = (computed.accumulated, computed.broken);
        let captured = staged.take_captured();
        let prepared = staged.prepare().await.map_err(|fault| sink_error(time, fault))?;
        let change = code.states.take();
        Ok(Outcome { prepared, accumulated, rejected, broken, change, captured })
    }
}

/// What is to be done about a batch that failed.
enum Fate<'e> {
    /// It waits for room on the disk.
    Full,
    /// It waits for a function that cannot do its work.
    HeldUp { function: &'e str, reason: &'e str },
    /// It is tried again as often as it may be.
    Failed,
}

impl Fate<'_> {
    /// Whether the failure is one of those that a batch may have. A pipeline that goes on without batches that fail does
    /// not wait for functions forever.
    fn counts(&self, on_failure: OnFailure) -> bool {
        match self {
            Self::Full => false,
            Self::HeldUp { .. } => on_failure == OnFailure::Continue,
            Self::Failed => true,
        }
    }
}

/// Letters for rows that functions failed on, which are in the order of their origins.
fn letters(
    batch: BatchTime,
    inputs: &[(String, Arc<BlockChunks>)],
    poison: Vec<Poisoned>,
) -> impl Iterator<Item = Letter> {
    let mut records = Vec::new();
    for of_input in poison.chunk_by(|a, b| input(a) == input(b)) {
        let chunks = inputs.iter().find(|(name, _)| Some(name.as_str()) == of_input.first().and_then(input));
        match chunks {
            Some((_, chunks)) => {
                let row = |poisoned: &Poisoned| poisoned.origin.as_ref().map_or(0, |origin| origin.record);
                let rows = of_input.iter().map(|poisoned| (row(poisoned), poisoned.row.error.as_str()));
                records.extend(chunks.trace(rows));
            }
            None => records.extend(of_input.iter().map(|_| None)),
        }
    }
    let letter = move |(poisoned, record): (Poisoned, _)| Letter::Row { batch, row: poisoned.row, record };
    poison.into_iter().zip(records).map(letter)
}

/// The input that a row comes from, if that is known.
fn input(poisoned: &Poisoned) -> Option<&str> {
    poisoned.origin.as_ref().map(|origin| origin.input.as_str())
}

pub(crate) fn sink_error(time: BatchTime, fault: SinkFault) -> EngineError {
    EngineError::Sink { time, sink: fault.sink, source: fault.source }
}

pub(crate) fn chunks(inputs: Vec<BatchInput>) -> Vec<(String, Arc<BlockChunks>)> {
    let chunks = |input: BatchInput| {
        let BatchInput { source, blocks, decoder } = input;
        (source.clone(), Arc::new(BlockChunks::new(source, blocks, decoder)))
    };
    inputs.into_iter().map(chunks).collect()
}

impl EngineError {
    /// Whether it passes when there is room on the disk again.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Sink { source, .. } => matches!(source, SinkError::Full(_)),
            Self::Journal(error) => error.is_full(),
            Self::State(error) => error.is_full(),
            Self::Migration(error) => error.is_full(),
            Self::DeadLetters { source, .. } => is_full(source),
            _ => false,
        }
    }
}

fn is_full(fault: &std::io::Error) -> bool {
    matches!(fault.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

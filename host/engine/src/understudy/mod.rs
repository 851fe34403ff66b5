//! A version of the pipeline that is given the batches of the one that runs, beside it.
//!
//! It begins with the states that the stream has after one of its batches, in tables of its own: copied as they are, or
//! migrated. From there on it runs each batch as it is cut, and changes its tables as its code says; nothing that it gives is
//! ever written anywhere. What it gives may be compared with what the version that runs gave ([`Rehearsal::shadow`]). Once it
//! has done the same batches as that one, it can take its place with the states that it has.
//!
//! ```text
//!            batch n ─┬─▶ the version that runs ──▶ sinks, commit
//!                     │            └── rows ──┐
//!                     └─▶ understudy ── rows ──┴─▶ compared
//! ```
//!
//! The stream never waits for it. What it has not done is in its [`Backlog`], which has a limit: one that does not keep up is
//! given up.

mod backlog;
mod comparison;
mod prepare;

use std::sync::Arc;

use millstream_platform::Task;
use millstream_state::Fork;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use self::backlog::Backlog;
pub(crate) use self::backlog::LastBacklog;
use self::comparison::{Comparison, Outputs};
pub(crate) use self::prepare::{Ground, Made};
use crate::application::Code;
use crate::batch::Batch;
use crate::events::Events;
use crate::migrate::MigratedTable;
use crate::process::{Processor, Ran};
use crate::quarantine::Quarantine;
use crate::shadow::ShadowReport;
use crate::waiting::Waited;
use crate::{Board, EngineError};

/// A version that runs beside the other one. Dropped, it ends.
pub(crate) struct Understudy {
    given: mpsc::UnboundedSender<Given>,
    backlog: Backlog,
    progress: watch::Receiver<Progress>,
    /// How many batches are to be compared.
    shadows: u64,
    task: Task<()>,
    made: Made,
}

/// What an understudy is begun with.
pub(crate) struct Rehearsal {
    /// What it runs.
    pub(crate) code: Arc<Code>,
    /// The states as they are now.
    pub(crate) fork: Fork,
    /// Where its own are to be, and how they are made of those.
    pub(crate) ground: Ground,
    /// How many batches are compared; none: it only has to do them.
    pub(crate) shadow: Option<u64>,
}

/// How far an understudy is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// What became of the states; none while they are being made.
    pub(crate) migrated: Option<Vec<MigratedTable>>,
    /// What was compared so far.
    pub(crate) compared: ShadowReport,
    /// Why it has ended.
    pub(crate) failed: Option<String>,
}

/// What an understudy is given.
enum Given {
    Batch(Arc<Batch>),
    Outputs(Outputs),
}

/// What works on it.
struct Work {
    code: Arc<Code>,
    processor: Processor,
    backlog: Backlog,
    comparison: Option<Comparison>,
    progress: watch::Sender<Progress>,
}

impl Understudy {
    /// Begins one on the runtime `on`, with what `processor` processes with.
    pub(crate) fn begin(on: &Handle, processor: &Processor, rehearsal: Rehearsal) -> Self {
        let Rehearsal { code, fork, ground, shadow } = rehearsal;
        let (given, batches) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::default());
        let backlog = processor.backlog.begin();
        let comparison = shadow.map(|batches| Comparison::new(batches, backlog.clone()));
        let shadows = shadow.unwrap_or(0);
        let processor = beside(processor, comparison.is_some());
        let work = Work { code, processor, backlog: backlog.clone(), comparison, progress };
        let made = ground.made.clone();
        let task = Task::spawn(on, work.carry_out(fork, ground, batches));
        Self { given, backlog, progress: seen, shadows, task, made }
    }

    /// Begins one of code that was the pipeline's own until now, with the states that it has.
    pub(crate) fn stand_by(on: &Handle, processor: &Processor, code: Arc<Code>) -> Self {
        let (given, batches) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::default());
        let backlog = processor.backlog.begin();
        let processor = beside(processor, false);
        let work = Work { code, processor, backlog: backlog.clone(), comparison: None, progress };
        let task = Task::spawn(on, work.go_on(batches));
        Self { given, backlog, progress: seen, shadows: 0, task, made: Made::default() }
    }

    /// Gives it a batch, each in its turn.
    pub(crate) fn give(&self, batch: &Batch) {
        let batch = batch.beside();
        self.backlog.add(batch.time(), batch.size_bytes());
        // One that has failed says so by its progress.
        drop(self.given.send(Given::Batch(Arc::new(batch))));
    }

    /// Gives it what the version that runs made of a batch.
    pub(crate) fn compare(&self, ran: &mut Ran) {
        if self.is_comparing() {
            let outputs = Outputs::of(ran);
            self.backlog.add_outputs(outputs.size_bytes());
            drop(self.given.send(Given::Outputs(outputs)));
        }
    }

    /// Whether rows of the version that runs are still wanted.
    pub(crate) fn is_comparing(&self) -> bool {
        self.compared() < self.shadows
    }

    /// Whether the states that it begins with are made.
    pub(crate) fn has_states(&self) -> bool {
        self.progress.borrow().migrated.is_some()
    }

    /// How many batches were compared.
    pub(crate) fn compared(&self) -> u64 {
        self.progress.borrow().compared.batches
    }

    /// Waits until it is further than it was seen.
    pub(crate) async fn is_further(&mut self) {
        if self.progress.changed().await.is_err() {
            // It has ended, and its last word was seen.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let mut progress = self.progress.borrow().clone();
        if progress.failed.is_none() && self.backlog.is_too_long() {
            progress.failed = Some(format!(
                "the new version does not keep up with the stream: {} batches or {} MiB wait for it",
                backlog::BATCHES_MAX,
                backlog::BYTES_MAX >> 20
            ));
        }
        progress
    }

    /// Why it has ended, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.progress.borrow().failed.clone()
    }

    /// Whether it does batches as fast as they come.
    pub(crate) fn keeps_up(&self) -> bool {
        self.backlog.is_short()
    }

    /// Ends it once what it computes may end, and removes what it has made.
    pub(crate) async fn discard(self) {
        let Self { task, made, .. } = self;
        task.cut_off().await;
        made.discard().await;
    }

    /// Whether it has done all that it was given.
    pub(crate) fn is_done(&self) -> bool {
        self.backlog.is_empty()
    }
}

/// What an understudy processes with: nobody sees it, and it waits for no function that cannot do its work.
fn beside(processor: &Processor, captures: bool) -> Processor {
    let mut beside = processor.clone();
    beside.board = Board::new("understudy");
    beside.events = Events::default();
    beside.quarantine = Quarantine::default();
    beside.waited = Waited::default();
    beside.backlog = LastBacklog::default();
    beside.policy.quarantine = false;
    beside.writes = false;
    beside.captures = captures;
    beside.failures = None;
    beside
}

impl Work {
    async fn carry_out(self, fork: Fork, ground: Ground, batches: mpsc::UnboundedReceiver<Given>) {
        match ground.prepare(&self.code, fork).await {
            Ok(migrated) => {
                self.progress.send_modify(|progress| progress.migrated = Some(migrated));
                self.go_on(batches).await;
            }
            Err(error) => self.progress.send_modify(|progress| progress.failed = Some(error.to_string())),
        }
    }

    /// Does what it is given, as long as it can.
    async fn go_on(mut self, mut batches: mpsc::UnboundedReceiver<Given>) {
        let ended = async {
            while let Some(given) = batches.recv().await {
                match given {
                    Given::Batch(batch) => self.run(batch).await?,
                    Given::Outputs(outputs) => {
                        if let Some(comparison) = &mut self.comparison {
                            comparison.before(outputs);
                        }
                    }
                }
                if let Some(compared) = self.comparison.as_mut().and_then(Comparison::compare) {
                    self.progress.send_modify(|progress| progress.compared = compared.clone());
                }
            }
            Ok(())
        };
        let ended: Result<(), EngineError> = ended.await;
        if let Err(error) = ended {
            self.progress.send_modify(|progress| progress.failed = Some(error.to_string()));
        }
    }

    /// Runs a batch, and makes of the states what it says.
    async fn run(&mut self, batch: Arc<Batch>) -> Result<(), EngineError> {
        let time = batch.time();
        let mut ran = self.processor.clone().process(Arc::clone(&self.code), batch).await;
        if let Ok(outcome) = &mut ran.result
            && let (Some(change), Some(tables)) = (outcome.change.take(), self.code.states.tables())
        {
            tables.write(&change).await.map_err(EngineError::State)?;
            tables.apply(change);
            tables.store().maintain().await.map_err(EngineError::State)?;
        }
        // Nobody asks for what its calls took.
        drop(self.code.take_usage(time));
        match &mut self.comparison {
            Some(comparison) => comparison.after(Outputs::of(&mut ran)),
            None => drop(ran.result?),
        }
        self.backlog.remove();
        self.progress.send_modify(|_done| {});
        Ok(())
    }
}

//! The life of a pipeline, event by event: recover, start the receivers, then batch after batch, then stop in order.
//!
//! Batches are cut at the ticks and queued; they run in their order, several at once where the pipeline says so, and
//! are committed in their order, one at a time. Nothing here waits for a batch: cutting goes on while batches run.

mod around;
mod leaving;
mod next;

use std::collections::VecDeque;
use std::sync::Arc;

use millstream_journal::JournalError;
use millstream_model::BatchTime;
use millstream_platform::Task;
use millstream_state::{Limits as StateLimits, Tables};
use tokio::runtime::Handle;

pub(crate) use self::around::Around;
use self::leaving::Leaving;
pub(crate) use self::leaving::drop_beside;
use self::next::Event;
use crate::application::{Application, Checkpoint, Code, Policy};
use crate::batch::Batch;
use crate::commit::{self, Committer, Done, SharedLog};
use crate::events::{self};
use crate::probation::Trial;
use crate::process::{Processor, Ran};
use crate::receive::{Receivers, Surroundings};
use crate::recover::{self, OpenJournal};
use crate::status::Phase;
use crate::swap::{Adopt, Swap};
use crate::ticks::Ticks;
use crate::understudy::Understudy;
use crate::upgrade::Upgrades;
use crate::warming::{Beside, Warm};
use crate::{EngineError, Mode, Stop, Summary};

/// Batches that are cut and not committed, beside those that run; at that, the next is cut later and is larger.
const QUEUED_MAX: usize = 8;

/// A batch, and the code that computes it.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) code: Arc<Code>,
    pub(crate) batch: Arc<Batch>,
}

/// A pipeline that runs.
pub(crate) struct Run {
    name: String,
    /// What the next batch is computed by.
    pub(crate) code: Arc<Code>,
    policy: Policy,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) state_limits: StateLimits,
    /// What the streams have kept.
    pub(crate) states: Arc<Tables>,
    pub(crate) journal: Option<OpenJournal>,
    mode: Mode,
    pub(crate) stop: Stop,
    pub(crate) compute: Handle,
    pub(crate) processor: Processor,
    pub(crate) ticks: Ticks,
    /// None before the start.
    pub(crate) receivers: Option<Receivers>,
    upgrades: Upgrades,
    /// The upgrade that is on its way.
    pub(crate) swap: Option<Swap>,
    /// What is tried out of the code, while it is.
    pub(crate) trial: Option<Trial>,
    /// Makes it known that the code is the pipeline's own again, once it has committed a batch.
    pub(crate) go_back: Option<Adopt>,
    /// Keeps the other code ready until its first batch.
    pub(crate) warm: Option<Warm>,
    pub(crate) beside: Beside,
    /// Cut, and not running yet.
    pub(crate) queue: VecDeque<Job>,
    /// In their order.
    pub(crate) running: VecDeque<(Job, Task<Ran>)>,
    /// Run, and not committed yet.
    pub(crate) ran: VecDeque<Ran>,
    /// None while it commits.
    committer: Option<Committer>,
    committing: Option<Task<(Committer, Result<Done, EngineError>)>>,
    has_cut: bool,
    pub(crate) leaving: Leaving,
    /// The pause in which nothing is received.
    pub(crate) paused: Option<u64>,
    summary: Summary,
}

impl Run {
    /// Opens the journal, if there is to be one, and reads the tables.
    pub(crate) async fn open(
        application: Application,
        mode: Mode,
        stop: Stop,
        around: Around,
    ) -> Result<Self, EngineError> {
        let Application {
            batch_interval,
            code,
            checkpoint,
            state_limits,
            policy,
            dead_letters,
            name,
            upgrades,
        } = application;
        let clock = Arc::clone(&around.clock);
        let journal = match &checkpoint {
            Some(checkpoint) => Some(recover::open(checkpoint, Arc::clone(&clock)).await?),
            None => None,
        };
        let last = journal.as_ref().and_then(|journal| journal.ledger.last);
        let wal = journal.as_ref().map(|journal| journal.wal.clone());
        let log: Option<SharedLog> = journal.as_ref().map(|journal| journal.log.clone());
        let states = match (&checkpoint, &journal) {
            (Some(checkpoint), Some(journal)) => {
                recover::open_states(checkpoint, journal, &code, state_limits).await?
            }
            _ => recover::states_in_memory(&code, state_limits)?,
        };
        code.tables.open(BatchTime::from_ms(clock.now_ms())).await?;
        let processor = around.processor(wal, policy, stop.clone());
        let Around { compute, beside, .. } = around;
        Ok(Self {
            name,
            code: Arc::new(code),
            policy,
            checkpoint,
            state_limits,
            states,
            journal,
            mode,
            stop,
            compute,
            ticks: Ticks::new(clock, batch_interval, policy.catch_up, last),
            receivers: None,
            upgrades,
            swap: None,
            trial: None,
            go_back: None,
            warm: None,
            beside,
            queue: VecDeque::new(),
            running: VecDeque::new(),
            ran: VecDeque::new(),
            committer: Some(Committer::new(processor.clone(), log, dead_letters)),
            committing: None,
            has_cut: false,
            leaving: Leaving::default(),
            paused: None,
            summary: Summary::default(),
            processor,
        })
    }

    /// Finishes what an earlier process began, and makes the states ready for the pipeline's own code.
    pub(crate) async fn recover(&mut self) -> Result<(), EngineError> {
        let (Some(journal), Some(checkpoint)) = (&self.journal, &self.checkpoint) else { return Ok(()) };
        let committer = self.committer.as_mut().expect("nothing is committed yet");
        self.processor.board.update(|status| status.carry_on(&journal.ledger));
        let (ledger, states, state_limits) = (&journal.ledger, Arc::clone(&self.states), self.state_limits);
        let left = recover::Left { ledger, checkpoint, state_limits, states };
        let finishing = recover::finish_batches(committer, left, &self.code);
        let (done, states) = tokio::select! {
            biased;
            () = self.stop.told_now() => return Err(EngineError::StoppedNow),
            done = finishing => done?,
        };
        self.states = states;
        done.into_iter().for_each(|done| drop(self.count(done)));
        Ok(())
    }

    /// Starts the receivers where they left off.
    pub(crate) fn start(&mut self) -> Result<(), EngineError> {
        let mut starts = match &self.journal {
            Some(journal) => recover::lane_starts(&journal.ledger, &journal.wal),
            None => Default::default(),
        };
        recover::refuse_orphans(&starts, &self.code)?;
        let around = Surroundings {
            clock: Arc::clone(&self.processor.clock),
            randomness: Arc::clone(&self.processor.randomness),
            wal: self.processor.wal.clone(),
            mode: self.mode,
            backpressure: self.policy.backpressure,
            batch_interval: self.ticks.interval(),
            events: self.processor.events.clone(),
        };
        let start = |lane: &_| starts.remove(lane).unwrap_or_default();
        self.receivers = Some(Receivers::start(&self.code.sources, around, start)?);
        self.processor.board.update(|status| status.phase = Phase::Running);
        self.processor.events.tell(|| events::Event::PipelineStarted { pipeline: self.name.clone() });
        Ok(())
    }

    /// Runs batch after batch to the end.
    pub(crate) async fn run(mut self) -> Result<Summary, EngineError> {
        loop {
            self.judge().await?;
            self.switch().await?;
            self.leave_states().await;
            self.run_batches();
            self.commit_batches();
            self.show();
            if self.is_done() {
                self.end_return().await?;
                self.leave().await;
                return Ok(self.summary);
            }
            match self.next_event().await {
                Event::ToldNow => return Err(EngineError::StoppedNow),
                Event::Told => self.close().await?,
                Event::Pause(wanted) => self.pause(wanted).await?,
                Event::Committed(committer, done) => {
                    self.committer = Some(committer);
                    let done = done?;
                    self.follow(&done.batch).await;
                    let code = self.count(done);
                    self.part_with(code);
                }
                Event::Ran(mut ran) => {
                    self.running.pop_front();
                    if let Some(understudy) = self.understudy() {
                        understudy.compare(&mut ran);
                    }
                    self.ran.push_back(ran);
                }
                Event::ReceiverFailed(error) => return Err(error),
                Event::LogEnded(ended) => {
                    return Err(EngineError::Journal(ended.err().unwrap_or(JournalError::Closed)));
                }
                Event::Due => {
                    self.cut().await?;
                    // What runs beside the stream may have more to do than is kept for it.
                    self.rehearsed().await?;
                }
                Event::Show => {}
                Event::Asked(asked) => self.take_up(asked).await,
                Event::Opened(opened) => self.opened(opened),
                Event::Rehearsed => self.rehearsed().await?,
                Event::Adopted(adopted) => self.adopted(adopted).await?,
                Event::Left => self.give_up("nobody waits for it any more").await?,
                Event::Retired => self.cut_off_receivers(),
                Event::Lost => {}
            }
        }
    }

    /// Whether there may be another batch, and room for it.
    fn may_cut(&self) -> bool {
        let waiting = self.queue.len() + self.running.len() + self.ran.len();
        !self.has_cut_all() && !self.is_settling() && waiting < QUEUED_MAX + self.code.programs.count()
    }

    /// Whether batches that were run are not committed yet.
    pub(crate) fn is_ending(&self) -> bool {
        !self.ran.is_empty() || self.committing.is_some()
    }

    /// Whether the last batch was cut.
    fn has_cut_all(&self) -> bool {
        let Some(receivers) = &self.receivers else { return false };
        let may_end = receivers.are_closed() || (self.mode == Mode::Once && self.has_cut);
        may_end && receivers.are_exhausted()
    }

    /// Whether every batch that was run is committed.
    pub(crate) fn is_between(&self) -> bool {
        self.running.is_empty() && self.ran.is_empty() && self.committing.is_none()
    }

    /// Whether every batch that was cut is committed.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.is_between()
    }

    fn is_done(&self) -> bool {
        self.is_idle() && self.has_cut_all() && self.paused.is_none() && !self.is_adopting()
    }

    /// Cuts a batch out of what the receivers have, and writes down what it is.
    async fn cut(&mut self) -> Result<(), EngineError> {
        let receivers = self.receivers.as_ref().expect("receivers are started before batches are cut");
        let cuts = receivers.cut();
        let time = self.ticks.next();
        self.has_cut = true;
        let due = self.processor.clock.elapsed().saturating_sub(self.ticks.late(time));
        let Job { code, batch } = self.assign(Batch::new(time, self.code.version.clone(), cuts, due));
        if let Some(journal) = &self.journal {
            tokio::select! {
                biased;
                () = self.stop.told_now() => return Err(EngineError::StoppedNow),
                begun = commit::begin(&self.processor, &journal.log, &batch.manifest) => begun?,
            }
        }
        if let Some(understudy) = self.understudy() {
            understudy.give(&batch);
        }
        let (time, records) = (batch.time(), batch.records());
        self.processor.events.tell(|| events::Event::BatchSubmitted { time, records });
        self.queue.push_back(Job { code, batch });
        Ok(())
    }

    /// Runs as many of the batches that were cut as may run at once.
    fn run_batches(&mut self) {
        // What comes back to states of its own has batches to do before it can.
        if self.returning().is_some() {
            return;
        }
        // A batch reads the states as the one before it left them.
        let is_free = self.ran.is_empty() && self.committing.is_none();
        let may_run = |code: &Code, running: usize| {
            running < code.programs.count() && (code.states.is_empty() || (is_free && running == 0))
        };
        while let Some(job) = self.queue.pop_front_if(|job| may_run(&job.code, self.running.len())) {
            if self.swap.is_none() && Arc::ptr_eq(&job.code, &self.code) {
                self.warm = None;
            }
            let failures = self.failures_of(&job.code);
            let captures = self.understudy().is_some_and(Understudy::is_comparing);
            let processor = Processor { failures, captures, ..self.processor.clone() };
            let process = processor.process(Arc::clone(&job.code), Arc::clone(&job.batch));
            self.running.push_back((job, Task::spawn(&self.compute, process)));
        }
    }

    /// Commits the next batch that was run, unless one is being committed.
    fn commit_batches(&mut self) {
        if self.committing.is_some() {
            return;
        }
        let Some(ran) = self.ran.pop_front() else { return };
        self.pass(&ran);
        let mut committer = self.committer.take().expect("no batch is being committed");
        let ending = async move {
            let done = committer.end(ran).await;
            (committer, done)
        };
        self.committing = Some(Task::spawn(&Handle::current(), ending));
    }

    /// Stops receiving; everything that was received is still processed.
    async fn close(&mut self) -> Result<(), EngineError> {
        self.processor.board.update(|status| status.phase = Phase::Stopping);
        self.paused = None;
        self.end_return().await?;
        // Whoever asked for it hears that the pipeline ends.
        self.swap = None;
        self.end_trial();
        let receivers = self.receivers.as_mut().expect("receivers are started before they are closed");
        receivers.close(&self.stop).await
    }

    /// Notes what a batch came to, and gives its code.
    fn count(&mut self, done: Done) -> Arc<Code> {
        let Done { status, code, batch, dead_letters } = done;
        self.summary.batches += 1;
        self.summary.rows += status.records;
        self.summary.dead_letters += dead_letters;
        if let Some(receivers) = &mut self.receivers {
            receivers.adapt(&status, &batch.taken);
        }
        // Where the next batch begins right away, it does the same itself.
        if let Some(warm) = self.warm.as_ref().filter(|_| self.queue.is_empty()) {
            warm.applied();
        }
        self.processor.events.tell(|| events::Event::BatchCompleted(status.clone()));
        self.processor.board.batch_done(status, dead_letters);
        code
    }

    fn show(&self) {
        let queued = self.queue.len() + self.running.len() + self.ran.len();
        let receivers = self.receivers.as_ref();
        let upgrade = self.swap.as_ref().and_then(Swap::stage);
        let probation = self.trial.as_ref().map(Trial::status);
        let (lanes, trouble) = (receivers.map(Receivers::status), receivers.and_then(Receivers::trouble));
        self.processor.board.update(|status| {
            status.upgrade = upgrade;
            status.queued_batches = queued + usize::from(self.committing.is_some());
            status.receivers = lanes.unwrap_or_default();
            status.probation = probation;
            status.log_bytes = self.processor.wal.as_ref().map(millstream_journal::Wal::bytes);
            if trouble.is_some() {
                status.trouble = trouble;
            }
        });
    }
}

//! The first batches of other code, during which the code before it stands by.
//!
//! What fails of the code is counted while its batches run: rows that its functions break on, attempts that fail, functions
//! that cannot do their work. Where that is more than may be, nothing of the code is committed any more, and what had begun
//! with it is run again by the code before. Batches that it has committed stay its own, and so does what it received that
//! only it can read.

use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_platform::crash_point;
use tokio::sync::watch;

use crate::application::Code;
use crate::batch::Batch;
use crate::process::{Outcome, Ran};
use crate::run::{Job, Run, drop_beside};
use crate::status::{ProbationStatus, TakenBack};
use crate::swap::{Adopt, Purpose, Retiring, Swap};
use crate::understudy::Understudy;
use crate::{EngineError, Event};

/// A longer reason is cut to this many bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// How other code is tried out.
pub struct Probation {
    /// So many batches of it with records are committed before it has passed. With none it is not tried out.
    pub batches: u32,
    /// So often it may fail until then: rows that its functions break on, attempts at a batch, and tries of a function that
    /// cannot do its work. A batch that fails for good is one failure too many in any case.
    pub failures_max: u64,
    /// Makes it known, for good, that the pipeline goes on with the code before. No batch begins meanwhile.
    pub go_back: BoxFuture<'static, Result<(), String>>,
}

/// Code on probation.
pub(crate) struct Trial {
    before: Arc<Code>,
    /// Its batches with records that are to be committed yet.
    batches_left: u32,
    failures: Failures,
    go_back: Adopt,
    /// Runs the code before on the states that it left, where the code has others.
    pub(crate) standby: Option<Understudy>,
}

/// What has failed of code on probation. Clones count together.
#[derive(Clone)]
pub(crate) struct Failures(Arc<watch::Sender<Tally>>);

#[derive(Debug, Default)]
struct Tally {
    failed: u64,
    max: u64,
    /// A batch has failed for good.
    is_over: bool,
    /// What failed first.
    reason: String,
}

/// That the code before is coming back.
pub(crate) struct Return {
    reason: String,
    /// Batches that were given to it.
    reassigned: usize,
    /// Makes it known.
    pub(crate) go_back: Adopt,
}

impl Tally {
    fn are_too_many(&self) -> bool {
        self.is_over || self.failed > self.max
    }

    fn add(&mut self, failures: u64, reason: &dyn ToString) {
        if self.failed == 0 {
            let mut told = reason.to_string();
            told.truncate(told.floor_char_boundary(REASON_BYTES_MAX));
            self.reason = told;
        }
        self.failed = self.failed.saturating_add(failures);
    }
}

impl Failures {
    fn at_most(max: u64) -> Self {
        Self(Arc::new(watch::Sender::new(Tally { max, ..Tally::default() })))
    }

    /// Counts an attempt at a batch that failed, if that was the code's doing.
    pub(crate) fn note_attempt(&self, error: &EngineError) {
        if is_of_code(error) {
            self.0.send_modify(|tally| tally.add(1, error));
        }
    }

    /// Counts what else failed of a batch that was run.
    pub(crate) fn note_end(&self, result: &Result<Outcome, EngineError>) {
        match result {
            Ok(Outcome { broken: Some(broken), .. }) => {
                self.0.send_modify(|tally| tally.add(broken.rows, &broken.error));
            }
            Err(error) if is_of_code(error) => self.0.send_modify(|tally| tally.is_over = true),
            Ok(_) | Err(_) => {}
        }
    }

    /// Completes when there are more than may be.
    async fn are_too_many(&self) {
        let too_many = self.0.subscribe().wait_for(Tally::are_too_many).await.is_ok();
        debug_assert!(too_many, "the tally is here, and so is who tells of it");
    }
}

/// Whether a batch failed for what was computed. What the disk, a log or a sink's other side does is no fault of the code.
fn is_of_code(error: &EngineError) -> bool {
    matches!(error, EngineError::Batch { .. })
}

impl Trial {
    /// Of some batches, at least one.
    pub(crate) fn new(probation: Probation, before: Arc<Code>, standby: Option<Understudy>) -> Self {
        let Probation { batches, failures_max, go_back } = probation;
        Self { before, batches_left: batches, failures: Failures::at_most(failures_max), go_back, standby }
    }

    /// Completes when the code has failed.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + use<> {
        let failures = self.failures.clone();
        async move { failures.are_too_many().await }
    }

    pub(crate) fn status(&self) -> ProbationStatus {
        let tally = self.failures.0.borrow();
        let (failures, failures_max) = (tally.failed, tally.max);
        ProbationStatus { batches_left: self.batches_left, failures, failures_max }
    }
}

impl Run {
    /// Where a batch that this code runs counts what fails, if the code is on probation.
    pub(crate) fn failures_of(&self, code: &Arc<Code>) -> Option<Failures> {
        let trial = self.trial.as_ref().filter(|_| Arc::ptr_eq(code, &self.code));
        trial.map(|trial| trial.failures.clone())
    }

    /// A batch is about to be committed. The last one that is on probation ends it. One without records proves nothing.
    pub(crate) fn pass(&mut self, ran: &Ran) {
        let counts = ran.batch.records() > 0 && Arc::ptr_eq(&ran.code, &self.code);
        let Some(trial) = self.trial.as_mut().filter(|_| counts) else { return };
        trial.batches_left -= 1;
        if trial.batches_left == 0 {
            self.end_trial();
            tracing::info!("the version has passed its probation");
        }
    }

    /// Ends the probation: the version before is not to come back any more.
    pub(crate) fn end_trial(&mut self) {
        let Some(Trial { before, go_back, standby, .. }) = self.trial.take() else { return };
        self.leaving.end(async move {
            if let Some(standby) = standby {
                standby.discard().await;
            }
            drop_beside((before, go_back));
        });
    }

    /// Begins to go back to the code before, where that on probation has failed.
    pub(crate) async fn judge(&mut self) -> Result<(), EngineError> {
        let has_failed = |trial: &mut Trial| trial.failures.0.borrow().are_too_many();
        let Some(Trial { before, failures, go_back, standby, .. }) = self.trial.take_if(has_failed) else {
            return Ok(());
        };
        let reason = failures.0.borrow().reason.clone();
        tracing::warn!("the version has failed on probation: {reason}; going back to the version before");
        let reassigned = self.hand_back(&before).await?;
        crash_point("going-back");
        let purpose = Purpose::GoBack(Return { reason, reassigned, go_back });
        self.retire(Retiring { understudy: standby, ..Retiring::at_once(before) }, purpose);
        Ok(())
    }

    /// Gives the batches that have begun with the code on probation to `before`, as far as that can read them.
    async fn hand_back(&mut self, before: &Arc<Code>) -> Result<usize, EngineError> {
        let mut begun = Vec::new();
        if before.reads_all(&self.code) {
            // Those of earlier code are before all others.
            let is_own = |code: &Arc<Code>| Arc::ptr_eq(code, &self.code);
            let ran = self.ran.iter().take_while(|ran| !is_own(&ran.code)).count();
            let running = self.running.iter().take_while(|(job, _)| !is_own(&job.code)).count();
            let ran = self.ran.split_off(ran).into_iter();
            begun.extend(ran.map(|Ran { code, batch, .. }| Job { code, batch }));
            for (job, task) in self.running.split_off(running) {
                task.cut_off().await;
                begun.push(job);
            }
        }
        begun.extend(self.queue.drain(..));
        let of_trial = Arc::clone(&self.code);
        let is_readable =
            |job: &Job| Arc::ptr_eq(&job.code, &of_trial) && reads(before, &of_trial, &job.batch);
        self.reassign(begun, before, is_readable).await
    }

    /// What was just cut, for the code that computes it: while the code before is coming back that one, if it can
    /// read it.
    pub(crate) fn assign(&self, batch: Batch) -> Job {
        if let Some(Swap { purpose: Purpose::GoBack(_), .. }) = &self.swap
            && let Some(Retiring { code: before, .. }) = self.retiring()
            && reads(before, &self.code, &batch)
        {
            return Job { code: Arc::clone(before), batch: Arc::new(batch.by(&before.version)) };
        }
        Job { code: Arc::clone(&self.code), batch: Arc::new(batch) }
    }

    /// It is known, for good, that the code is the pipeline's own again.
    pub(crate) async fn is_own_again(&mut self, go_back: Adopt) {
        if let Err(error) = go_back.await {
            tracing::error!(
                "{error}; the version before goes on, but a restart would take the one that failed"
            );
        }
        crash_point("went-back");
    }

    /// Everything that comes is the code before's again.
    pub(crate) async fn come_back(
        &mut self,
        before: Arc<Code>,
        Return { reason, reassigned, go_back }: Return,
    ) -> Result<(), EngineError> {
        self.take_back(&before, go_back).await;
        self.succeed(&before).await?;
        let taken_back = TakenBack { reason: reason.clone(), after: self.ticks.last(), reassigned };
        self.processor.board.update(|status| status.taken_back = Some(taken_back));
        self.processor.events.tell(|| Event::WentBack { reason, reassigned });
        tracing::warn!(reassigned, "the pipeline goes on with the version before");
        Ok(())
    }
}

/// Whether a batch of `other` can be read by `code`.
fn reads(code: &Code, other: &Code, batch: &Batch) -> bool {
    let mut taken = batch.taken.iter().filter(|(_, records)| *records > 0);
    taken.all(|(lane, _)| other.sources.iter().any(|source| source.name == lane.source && code.reads(source)))
}

//! The version before one that is on probation and has states of its own: it goes on beside the stream with the states that it
//! left, so that it can come back to them.
//!
//! It is given each batch once that is committed. So when it comes back, its states are those of all committed batches, and
//! what had begun with the version that failed is run on them. The generation that it left is not removed until the
//! probation is over. Only when it has committed a batch itself is it written down as the pipeline's own: until then the last
//! commit names the states of the version that failed, and a restart goes on with that one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_state::Tables;

use crate::EngineError;
use crate::application::Code;
use crate::batch::Batch;
use crate::run::{Run, drop_beside};
use crate::swap::{Adopt, Purpose, Retiring, Stage, Swap};
use crate::understudy::Understudy;

/// Whether states that a commit does not name any more are kept. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftStates(Arc<Mutex<Left>>);

#[derive(Debug, Default)]
struct Left {
    are_kept: bool,
    /// Whether commits name others by now.
    are_left: bool,
}

impl LeftStates {
    /// A commit names others now. Gives whether these are kept all the same.
    pub(crate) fn leave(&self) -> bool {
        let mut left = self.left();
        left.are_left = left.are_kept;
        left.are_kept
    }

    fn keep(&self) {
        *self.left() = Left { are_kept: true, are_left: false };
    }

    /// From now on they are not kept; gives whether commits name others.
    fn release(&self) -> bool {
        std::mem::take(&mut *self.left()).are_left
    }

    fn is_released(&self) -> bool {
        !self.left().are_kept
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Lets the code before go on with the states that it leaves.
    pub(crate) fn stand_by(&self, before: &Arc<Code>) -> Understudy {
        self.processor.left_states.keep();
        Understudy::stand_by(&self.compute, &self.processor, Arc::clone(before))
    }

    /// A batch is committed: the version that stands by does it as well, and one that has come back is the pipeline's own.
    pub(crate) async fn follow(&mut self, batch: &Batch) {
        if batch.manifest.version == self.code.version
            && let Some(go_back) = self.go_back.take()
        {
            self.is_own_again(go_back).await;
        }
        let Some(standby) = self.trial.as_ref().and_then(|trial| trial.standby.as_ref()) else { return };
        standby.give(batch);
        if let Some(reason) = standby.progress().failed {
            tracing::warn!("the version before cannot come back any more: {reason}");
            self.end_trial();
        }
    }

    /// The code is the pipeline's again, with its states. Where those are others, a restart can only go on with the version that failed
    /// until a commit names them.
    pub(crate) async fn take_back(&mut self, before: &Arc<Code>, go_back: Adopt) {
        drop_beside(std::mem::replace(&mut self.code, Arc::clone(before)));
        match before.states.tables().filter(|states| !Arc::ptr_eq(states, &self.states)) {
            None => self.is_own_again(go_back).await,
            Some(states) => {
                let failed = std::mem::replace(&mut self.states, Arc::clone(states));
                self.return_to_states(failed);
                self.go_back = Some(go_back);
            }
        }
    }

    /// Ends a way back at once, since nothing more is received.
    pub(crate) async fn end_return(&mut self) -> Result<(), EngineError> {
        while self.returning().is_some_and(|standby| !standby.is_done()) {
            self.check_standby()?;
            let Some(Swap { stage: Stage::Retiring(Retiring { understudy: Some(standby), .. }), .. }) =
                &mut self.swap
            else {
                break;
            };
            tokio::select! {
                biased;
                () = self.stop.told_now() => return Err(EngineError::StoppedNow),
                () = standby.is_further() => {}
            }
        }
        let is_back = |swap: &mut Swap| matches!(swap.purpose, Purpose::GoBack(_));
        let Some(Swap { stage: Stage::Retiring(Retiring { code, .. }), purpose: Purpose::GoBack(back) }) =
            self.swap.take_if(is_back)
        else {
            return Ok(());
        };
        match code.reads_all(&self.code) {
            true => self.take_back(&code, back.go_back).await,
            // What it cannot read is ended by the version that failed.
            false => self.is_own_again(back.go_back).await,
        }
        Ok(())
    }

    /// What comes back to states of its own.
    pub(crate) fn returning(&self) -> Option<&Understudy> {
        let is_back = matches!(&self.swap, Some(Swap { purpose: Purpose::GoBack(_), .. }));
        self.retiring().filter(|_| is_back)?.understudy.as_ref()
    }

    /// Fails where a version has to come back and cannot: a restart goes on with the one that failed.
    pub(crate) fn check_standby(&self) -> Result<(), EngineError> {
        let reason = self.returning().and_then(Understudy::failure);
        match (reason, self.queue.front()) {
            (Some(reason), Some(job)) => Err(EngineError::Version { time: job.batch.time(), reason }),
            _ => Ok(()),
        }
    }

    /// Lets go of states that were kept for a version which does not stand by any more.
    pub(crate) async fn leave_states(&mut self) {
        let stands_by = self.trial.as_ref().is_some_and(|trial| trial.standby.is_some());
        if stands_by || self.returning().is_some() || self.processor.left_states.is_released() {
            return;
        }
        // Else the first commit that names the others does it.
        if self.processor.left_states.release()
            && let Err(error) = self.states.store().retire_others().await
        {
            tracing::warn!("looking for states that are needed no more: {error}; the next start does it");
        }
    }

    /// The states that were left are the pipeline's again, in place of those of the version that `failed`.
    fn return_to_states(&mut self, failed: Arc<Tables>) {
        // Where a commit names those, the next one names the others again, and removes them.
        if self.processor.left_states.release() {
            return;
        }
        self.leaving.end(async move {
            if let Err(error) = failed.store().discard().await {
                tracing::warn!(
                    "removing the states of the version that failed: {error}; the next start does it"
                );
            }
        });
    }
}

//! Upgrades that do not come at once: the new version runs beside the stream first, so that it is seen what it gives, or to
//! make its states of those that there are.

use std::sync::Arc;

use crate::application::Code;
use crate::migrate::Plan;
use crate::run::Run;
use crate::swap::{Purpose, Retiring, Stage, Swap};
use crate::understudy::{Ground, Made, Progress, Rehearsal, Understudy};
use crate::upgrade::{Shadow, Upgraded};
use crate::{EngineError, UpgradeStage};

/// An upgrade that is rehearsed.
pub(crate) struct Rehearsing {
    /// What batches are going to be computed by.
    pub(crate) code: Arc<Code>,
    pub(crate) shadow: Option<Shadow>,
    /// How the new states are made of the old ones; none: they are the same.
    pub(crate) plan: Option<Arc<Plan>>,
    /// None before it has begun.
    pub(crate) understudy: Option<Understudy>,
}

impl Rehearsing {
    /// What runs beside the stream. Where states have to be made, that is what goes on with them.
    fn beside(&self) -> &Arc<Code> {
        match (&self.shadow, &self.plan) {
            (Some(shadow), None) => &shadow.code,
            _ => &self.code,
        }
    }

    /// A source whose records `before` does not read, or not in the same way.
    pub(crate) fn stranger<'c>(&'c self, before: &Code) -> Option<&'c str> {
        self.code.sources.iter().find(|source| !before.reads(source)).map(|source| source.name.as_str())
    }

    /// How far it is, for people.
    pub(crate) fn stage(&self) -> UpgradeStage {
        match (&self.understudy, &self.shadow) {
            (None, _) => UpgradeStage::Opening,
            (Some(understudy), _) if !understudy.has_states() => UpgradeStage::MakingStates,
            (Some(understudy), Some(shadow)) if understudy.is_comparing() => {
                UpgradeStage::Comparing { batches: understudy.compared(), of: u64::from(shadow.batches) }
            }
            _ => UpgradeStage::CatchingUp,
        }
    }

    /// Whether all that was wanted is seen, and the states are made.
    fn is_over(&self, progress: &Progress) -> bool {
        let Some(understudy) = &self.understudy else { return false };
        let is_compared = |shadow: &Shadow| progress.compared.batches >= u64::from(shadow.batches);
        let is_made = self.plan.is_none() || (progress.migrated.is_some() && understudy.keeps_up());
        self.shadow.as_ref().is_none_or(is_compared) && is_made
    }
}

impl Run {
    /// Begins a rehearsal that is wanted, once the states are those after one batch.
    pub(crate) async fn begin_rehearsal(&mut self) -> Result<(), EngineError> {
        let Some(Swap { stage: Stage::Rehearsing(rehearsing), .. }) = &self.swap else { return Ok(()) };
        if rehearsing.understudy.is_some() {
            return Ok(());
        }
        let keeps_states = !rehearsing.code.states.is_empty() || !self.code.states.is_empty();
        if keeps_states && !self.processor.quarantine.status().is_empty() {
            let reason = "batches wait for a function in quarantine, so there is nothing to compare with and no batch to begin behind; mend it first, by an upgrade that keeps the states as they are";
            return self.give_up(reason).await;
        }
        if keeps_states && !self.is_between() {
            return Ok(());
        }
        let checkpoint = self.checkpoint.as_ref().filter(|_| rehearsing.plan.is_some());
        let ground = Ground {
            folder: checkpoint.map(|checkpoint| (Arc::clone(&checkpoint.disk), checkpoint.folder.clone())),
            limits: self.state_limits,
            plan: rehearsing.plan.clone(),
            made: Made::default(),
        };
        let shadow = rehearsing.shadow.as_ref().map(|shadow| u64::from(shadow.batches));
        let code = Arc::clone(rehearsing.beside());
        let rehearsal = Rehearsal { code, fork: self.states.fork(), ground, shadow };
        let understudy = Understudy::begin(&self.compute, &self.processor, rehearsal);
        if keeps_states {
            self.queue.iter().for_each(|job| understudy.give(&job.batch));
        }
        if let Some(Swap { stage: Stage::Rehearsing(rehearsing), .. }) = &mut self.swap {
            rehearsing.understudy = Some(understudy);
        }
        Ok(())
    }

    /// What runs beside the stream.
    pub(crate) fn understudy(&self) -> Option<&Understudy> {
        let Swap { stage, purpose: Purpose::Upgrade { .. } } = self.swap.as_ref()? else { return None };
        match stage {
            Stage::Opening(_) => None,
            Stage::Rehearsing(rehearsing) => rehearsing.understudy.as_ref(),
            Stage::Retiring(retiring) => retiring.understudy.as_ref(),
        }
    }

    /// Looks at what runs beside the stream, which has come further.
    pub(crate) async fn rehearsed(&mut self) -> Result<(), EngineError> {
        self.check_standby()?;
        let Some(progress) = self.understudy().map(Understudy::progress) else { return Ok(()) };
        if let Some(reason) = &progress.failed {
            return self.give_up(&format!("beside the stream, the new version failed: {reason}")).await;
        }
        let is_over = match self.swap.as_ref().map(|swap| &swap.stage) {
            Some(Stage::Rehearsing(rehearsing)) => rehearsing.is_over(&progress),
            _ => false,
        };
        if is_over {
            self.end_rehearsal(progress);
        }
        Ok(())
    }

    /// Takes an upgrade up that was rehearsed, if that is wanted of what was seen.
    fn end_rehearsal(&mut self, progress: Progress) {
        let Some(Swap { stage: Stage::Rehearsing(rehearsing), purpose }) = self.swap.take() else { return };
        let Rehearsing { code, shadow, plan, understudy } = rehearsing;
        let compared = shadow.as_ref().map(|_| progress.compared);
        let is_wanted = match (&shadow, &compared) {
            (Some(shadow), Some(compared)) => shadow.promotes(compared),
            _ => true,
        };
        let migrated = progress.migrated.unwrap_or_default();
        let upgraded = Upgraded { swapped: None, shadow: compared, migrated };
        if !is_wanted {
            return self.discard(understudy, purpose, Ok(upgraded));
        }
        let (goes_on, ends) = match plan {
            Some(_) => (understudy, None),
            None => (None, understudy),
        };
        if let Some(understudy) = ends {
            self.leaving.end(understudy.discard());
        }
        self.retire(Retiring { code, understudy: goes_on, upgraded }, purpose);
    }
}

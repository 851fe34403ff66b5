//! Other code for a pipeline that runs, from one batch to the next.
//!
//! Beside the stream the code is checked, its tables are read, and it is made ready for its first batch. Then the receivers end that it has others for; what they
//! have received waits in their queues, and batches go on. When they have ended, and nothing waits that only the code
//! before can read, the code is adopted: that it is the pipeline's own is written down, beside the stream as well. From
//! there on batches are cut for it, and the next receivers go on behind those before them. Batches that were cut before are
//! ended by the code before, as their manifests say. Once the adoption has begun nothing ends the upgrade but what ends the
//! process: a stop comes next.
//!
//! Code that drops states begins when the batches before it are committed, since these still read and change what is dropped:
//! none is cut until then.
//!
//! Only where a function cannot do its work, and batches wait for it, they are given to the other code: it may have been
//! asked for because of that.
//!
//! The code before comes back in the same way where other code fails on [probation](crate::probation).

mod stage;

use std::sync::Arc;

use millstream_journal::Ledger;
use millstream_model::{BatchTime, Records};
use millstream_platform::{Task, crash_point};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use self::stage::{Adopt, Adoption, Opened, Purpose, Retiring, Stage, Swap};
use crate::application::{Code, SourceBinding};
use crate::losses;
use crate::migrate::{self, Plan};
use crate::probation::{Probation, Trial};
use crate::receive::Receivers;
use crate::rehearse::Rehearsing;
use crate::run::{Job, Run};
use crate::understudy::Understudy;
use crate::upgrade::{Asked, Swapped, Upgrade, UpgradeError, Upgraded};
use crate::warming::Warm;
use crate::{EngineError, Event, commit, recover};

impl Run {
    /// Lets no receiver take longer than it may to make way.
    pub(crate) fn cut_off_receivers(&mut self) {
        if self.is_retiring()
            && let Some(receivers) = &mut self.receivers
        {
            receivers.cut_off();
        }
    }

    /// Code that is about to be the pipeline's, where an upgrade is so far that nothing may come between.
    pub(crate) fn retiring(&self) -> Option<&Retiring> {
        match &self.swap {
            Some(Swap { stage: Stage::Retiring(retiring), .. }) => Some(retiring),
            _ => None,
        }
    }

    /// Whether it may be known by now that the pipeline goes on with other code, whose batches have not begun.
    pub(crate) fn is_adopting(&self) -> bool {
        let purpose = self.swap.as_ref().map(|swap| &swap.purpose);
        matches!(purpose, Some(Purpose::Upgrade { adoption: Adoption::UnderWay(_) | Adoption::Done, .. }))
    }

    /// Whether receivers are waited for to make way.
    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring().is_some()
            && self.receivers.as_ref().is_some_and(|receivers| !receivers.have_retired())
    }

    /// Whether no batch is cut since other code is ready, but for those that have begun: its states take the place of those
    /// that there are, or it drops what the batches before it read and change.
    pub(crate) fn is_settling(&self) -> bool {
        let Some(Retiring { code, understudy, .. }) = self.retiring() else { return false };
        self.receivers.as_ref().is_some_and(Receivers::are_ready)
            && (understudy.is_some() || self.would_drop(code))
    }

    /// Whether code that goes on with the states as they are drops some.
    fn would_drop(&self, code: &Code) -> bool {
        !code.states.drops(&self.states).is_empty()
    }

    /// Whether everything is ready for other code.
    fn is_ready(&self) -> bool {
        let Some(Retiring { code, understudy, .. }) = self.retiring() else { return false };
        let is_even = match understudy {
            // What comes back has batches waiting for it; what is new has to have done all that there are.
            Some(understudy) => understudy.is_done() && (self.returning().is_some() || self.is_idle()),
            None => !self.has_begun(code) || !self.would_drop(code),
        };
        is_even && self.receivers.as_ref().is_some_and(Receivers::are_ready)
    }

    /// Whether batches have begun that would not be given to other code.
    fn has_begun(&self, code: &Code) -> bool {
        let has_ended = self.queue.is_empty() && self.running.is_empty();
        self.is_ending() || (!has_ended && !self.would_reassign(code))
    }

    /// Whether batches that have begun are given to other code: some wait for a function, and the code can read them all.
    fn would_reassign(&self, code: &Code) -> bool {
        !self.processor.quarantine.status().is_empty() && code.reads_all(&self.code)
    }

    /// Takes up an upgrade, or refuses it.
    pub(crate) async fn take_up(&mut self, asked: Asked) {
        let Asked { upgrade: Upgrade { mut code, adopt, shadow, probation }, answer } = asked;
        let adoption = Adoption::Wanted(adopt);
        let purpose = Purpose::Upgrade { answer, probation, adoption };
        let plan = match self.check(&code).await {
            Ok(plan) => plan,
            Err(reason) => return purpose.refuse(&reason),
        };
        inherit(&mut code, &self.code);
        let now = BatchTime::from_ms(self.processor.clock.now_ms());
        let ready = self.make_ready(&code, plan.is_none());
        let opening = async move {
            code.tables.open(now).await?;
            if let Some(shadow) = &shadow {
                shadow.code.tables.open(now).await?;
            }
            if let Some(ready) = ready {
                // Where it cannot be made ready, its first batch takes longer.
                ready.await.ok();
            }
            Ok(Opened { code: Arc::new(code), shadow, plan })
        };
        let stage = Stage::Opening(Task::spawn(&Handle::current(), opening));
        self.swap = Some(Swap { stage, purpose });
        // Whoever asks for something else does not ask for what was before.
        self.end_trial();
    }

    /// Begins to make code ready that goes on with the states `as_they_are`. Gives what completes once it is. Code that gets others
    /// is made ready by what it runs beside the stream.
    fn make_ready(&mut self, code: &Code, as_they_are: bool) -> Option<oneshot::Receiver<()>> {
        self.warm = None;
        if !as_they_are {
            return None;
        }
        code.states.show(&self.states);
        let (warm, ready) = Warm::start(code, &self.beside);
        self.warm = warm;
        Some(ready)
    }

    /// Goes on with an upgrade whose tables were read.
    pub(crate) fn opened(&mut self, opened: Result<Opened, EngineError>) {
        let Some(Swap { purpose, .. }) = self.swap.take() else { return };
        let Opened { code, shadow, plan } = match opened {
            Ok(opened) => opened,
            Err(error) => return purpose.refuse(&error.to_string()),
        };
        if shadow.is_none() && plan.is_none() {
            return self.retire(Retiring::at_once(code), purpose);
        }
        let rehearsing = Rehearsing { code, shadow, plan, understudy: None };
        if let Some(source) = rehearsing.stranger(&self.code) {
            return purpose.refuse(&format!(
                    "source \"{source}\" gives records that the version which runs does not read, or reads otherwise, so the new one cannot run beside it; change the source in an upgrade of its own"
            ));
        }
        self.swap = Some(Swap { stage: Stage::Rehearsing(rehearsing), purpose });
    }

    /// Lets the receivers make way for those of code that is about to be the pipeline's.
    pub(crate) fn retire(&mut self, retiring: Retiring, purpose: Purpose) {
        let receivers = self.receivers.as_mut().expect("upgrades come to running pipelines");
        receivers.retire(&retiring.code.sources);
        self.swap = Some(Swap { stage: Stage::Retiring(retiring), purpose });
    }

    /// What of other code does not go with what this pipeline has, and what can be made to.
    async fn check(&mut self, code: &Code) -> Result<Option<Arc<Plan>>, String> {
        if let Some(reason) = losses::refusal(&code.states, &self.states) {
            return Err(reason);
        }
        if let Some(mistake) = code.states.undropped(&self.states).into_iter().next() {
            return Err(mistake);
        }
        let plan = migrate::plan(&code.states, &self.states);
        let plan = (!plan.is_nothing()).then(|| Arc::new(plan));
        let Some(log) = &self.journal else { return Ok(plan) };
        let other = |ledger: &Ledger| code.sources.iter().find_map(|source| other_kind(source, ledger));
        match log.log.peek(other).await {
            None => Ok(plan),
            Some(name) => Err(format!(
                "source \"{name}\" was received by another kind of source, whose records are counted otherwise; give it a name of its own"
            )),
        }
    }

    /// Goes over to other code, or lets it be adopted, if everything is ready for that.
    pub(crate) async fn switch(&mut self) -> Result<(), EngineError> {
        self.begin_rehearsal().await?;
        if !self.is_ready() {
            return Ok(());
        }
        match self.swap.as_ref().map(|swap| &swap.purpose) {
            Some(Purpose::Upgrade { adoption: Adoption::Wanted(_), .. }) => self.adopt().await,
            Some(Purpose::Upgrade { adoption: Adoption::UnderWay(_), .. }) | None => Ok(()),
            Some(Purpose::Upgrade { adoption: Adoption::Done, .. } | Purpose::GoBack(_)) => {
                self.go_over().await
            }
        }
    }

    /// Lets it be written down that other code is the pipeline's own.
    async fn adopt(&mut self) -> Result<(), EngineError> {
        crash_point("upgrade-ready");
        // Batches of the code before may have kept what there was nothing of.
        let as_they_are = self.retiring().filter(|retiring| retiring.understudy.is_none());
        let refusal = as_they_are.and_then(|retiring| losses::refusal(&retiring.code.states, &self.states));
        if let Some(reason) = refusal {
            return self.give_up(&reason).await;
        }
        if let Some(Swap { purpose: Purpose::Upgrade { adoption, .. }, .. }) = &mut self.swap {
            adoption.begin();
        }
        Ok(())
    }

    /// It is written down that other code is the pipeline's own, or cannot be.
    pub(crate) async fn adopted(&mut self, adopted: Result<(), String>) -> Result<(), EngineError> {
        if let Err(reason) = adopted {
            return self.give_up(&reason).await;
        }
        crash_point("upgrade-adopted");
        if let Some(Swap { purpose: Purpose::Upgrade { adoption, .. }, .. }) = &mut self.swap {
            *adoption = Adoption::Done;
        }
        Ok(())
    }

    /// Goes over to other code, for which everything is ready.
    async fn go_over(&mut self) -> Result<(), EngineError> {
        let Some(Swap { stage: Stage::Retiring(retiring), purpose }) = self.swap.take() else {
            return Ok(());
        };
        let Retiring { code, understudy, mut upgraded } = retiring;
        match purpose {
            Purpose::GoBack(back) => self.come_back(code, back).await,
            Purpose::Upgrade { answer, probation, .. } => {
                if understudy.is_none() {
                    losses::take_hold(&code.states, &self.states)?;
                }
                upgraded.swapped = Some(self.go_on_with(code, probation).await?);
                // Whoever asked may be gone.
                drop(answer.send(Ok(upgraded)));
                Ok(())
            }
        }
    }

    /// Goes on as before with an upgrade that is on its way and cannot be.
    pub(crate) async fn give_up(&mut self, reason: &str) -> Result<(), EngineError> {
        let Some(Swap { stage, purpose, .. }) = self.swap.take() else { return Ok(()) };
        let understudy = match stage {
            Stage::Opening(_) => None,
            Stage::Rehearsing(rehearsing) => rehearsing.understudy,
            Stage::Retiring(retiring) => {
                let code = Arc::clone(&self.code);
                self.succeed(&code).await?;
                retiring.understudy
            }
        };
        self.discard(understudy, purpose, Err(UpgradeError::Refused(reason.to_owned())));
        Ok(())
    }

    /// Ends what runs beside the stream, and tells what came of the upgrade when nothing of that is left.
    pub(crate) fn discard(
        &mut self,
        understudy: Option<Understudy>,
        purpose: Purpose,
        told: Result<Upgraded, UpgradeError>,
    ) {
        self.leaving.end(async move {
            if let Some(understudy) = understudy {
                understudy.discard().await;
            }
            purpose.answer(told);
        });
    }

    /// Everything that comes is this code's.
    async fn go_on_with(
        &mut self,
        code: Arc<Code>,
        probation: Option<Probation>,
    ) -> Result<Swapped, EngineError> {
        let probation = probation.filter(|some| some.batches > 0);
        let would_reassign = self.would_reassign(&code);
        let before = std::mem::replace(&mut self.code, Arc::clone(&code));
        let standby = match code.states.tables().filter(|states| !Arc::ptr_eq(states, &self.states)) {
            None => None,
            Some(states) => {
                self.states = Arc::clone(states);
                probation.is_some().then(|| self.stand_by(&before))
            }
        };
        let reassigned = match would_reassign {
            true => self.hand_over_begun().await?,
            false => 0,
        };
        self.succeed(&code).await?;
        crash_point("upgraded");
        match probation {
            Some(probation) => self.trial = Some(Trial::new(probation, before, standby)),
            None => self.part_with(before),
        }
        // What was to be known of the code before is not so any more.
        self.go_back = None;
        let after = self.ticks.last();
        self.processor.board.update(|status| status.taken_back = None);
        self.processor.events.tell(|| Event::Upgraded { after, reassigned });
        tracing::info!(reassigned, "the pipeline goes on with other code");
        Ok(Swapped { after, reassigned })
    }

    /// Starts the receivers of `code` that do not run. The log is asked only for those that are new: it may be being written to.
    pub(crate) async fn succeed(&mut self, code: &Code) -> Result<(), EngineError> {
        let receivers = self.receivers.as_mut().expect("receivers are started before others succeed them");
        let mut starts = match &self.journal {
            Some(journal) if receivers.lack_lanes_of(&code.sources) => {
                journal.log.peek(|ledger| recover::lane_starts(ledger, &journal.wal)).await
            }
            Some(_) | None => Default::default(),
        };
        receivers.succeed(&code.sources, |lane| starts.remove(lane).unwrap_or_default())
    }

    /// Gives the batches that have not come to their end to the code that is the pipeline's own now.
    async fn hand_over_begun(&mut self) -> Result<usize, EngineError> {
        let mut begun = Vec::new();
        for (job, task) in std::mem::take(&mut self.running) {
            task.cut_off().await;
            begun.push(job);
        }
        begun.extend(self.queue.drain(..));
        let code = Arc::clone(&self.code);
        self.reassign(begun, &code, |_| true).await
    }

    /// Queues `begun`, which are all that wait; those that `are` to go to `code` are its own from now on. Gives how many
    /// these are.
    pub(crate) async fn reassign(
        &mut self,
        begun: Vec<Job>,
        code: &Arc<Code>,
        are: impl Fn(&Job) -> bool,
    ) -> Result<usize, EngineError> {
        let mut reassigned = 0;
        for job in begun {
            if !are(&job) {
                self.queue.push_back(job);
                continue;
            }
            self.processor.quarantine.release(job.batch.time());
            let batch = Arc::new(job.batch.by(&code.version));
            if let Some(journal) = &self.journal {
                commit::reassign(&self.processor, &journal.log, &batch.manifest).await?;
            }
            self.queue.push_back(Job { code: Arc::clone(code), batch });
            reassigned += 1;
        }
        let status = self.processor.quarantine.status();
        self.processor.board.update(|board| board.quarantine = status);
        Ok(reassigned)
    }
}

/// Lets other code go on with those connectors that are the same.
fn inherit(code: &mut Code, before: &Code) {
    for binding in &mut code.sources {
        let same =
            before.sources.iter().find(|same| same.name == binding.name && same.identity == binding.identity);
        if let Some(same) = same {
            binding.source = Arc::clone(&same.source);
        }
    }
    for binding in &mut code.sinks {
        let same =
            before.sinks.iter().find(|same| same.name == binding.name && same.identity == binding.identity);
        if let Some(same) = same {
            binding.sink = Arc::clone(&same.sink);
        }
    }
}

/// The name of a source whose records the ledger counts otherwise.
fn other_kind(source: &SourceBinding, ledger: &Ledger) -> Option<String> {
    let none = match source.source.direct() {
        Some(_) => Records::Direct(Vec::new()),
        None => Records::Logged(millstream_model::LoggedRange { records: 0..0, resume: None }),
    };
    let is_other = source.lanes().any(|lane| ledger.lanes.get(&lane).is_some_and(|cut| !cut.is_of(&none)));
    is_other.then(|| source.name.clone())
}

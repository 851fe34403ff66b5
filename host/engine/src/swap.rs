//! Other code for a pipeline that runs, from one batch to the next.
//!
//! Beside the stream the code is checked and its tables are read. Then the receivers end that it has others for; what they
//! have received waits in their queues, and batches go on. When they have ended, and nothing waits that only the code
//! before can read, the code is adopted: that it is the pipeline's own is written down. From there on batches are cut for
//! it, and the next receivers go on behind those before them. Batches that were cut before are ended by the code before,
//! as their manifests say.
//!
//! Code that drops states begins when the batches before it are committed, since these still read and change what is dropped:
//! none is cut until then.
//!
//! Only where a function cannot do its work, and batches wait for it, they are given to the other code: it may have been
//! asked for because of that.

use std::sync::Arc;

use millstream_journal::Ledger;
use millstream_model::{BatchTime, Records};
use millstream_platform::{Task, crash_point};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::application::{Code, SourceBinding};
use crate::commit;
use crate::losses;
use crate::receive::Receivers;
use crate::recover;
use crate::run::{Job, Run};
use crate::upgrade::Asked;
use crate::{EngineError, Swapped, Upgrade, UpgradeError};

/// An upgrade on its way.
pub(crate) struct Swap {
    pub(crate) stage: Stage,
    adopt: futures::future::BoxFuture<'static, Result<(), String>>,
    answer: Answer,
}

/// Who waits for the upgrade.
type Answer = oneshot::Sender<Result<Swapped, UpgradeError>>;

/// How far it is.
pub(crate) enum Stage {
    /// Its tables are read.
    Opening(Task<Result<Code, EngineError>>),
    /// Receivers make way.
    Retiring(Box<Code>),
}

impl Run {
    /// Lets no receiver take longer than it may to make way.
    pub(crate) fn cut_off_receivers(&mut self) {
        if self.is_retiring()
            && let Some(receivers) = &mut self.receivers
        {
            receivers.cut_off();
        }
    }

    /// Whether receivers are waited for to make way.
    pub(crate) fn is_retiring(&self) -> bool {
        let stage = self.swap.as_ref().map(|swap| &swap.stage);
        matches!(stage, Some(Stage::Retiring(_)))
            && self.receivers.as_ref().is_some_and(|receivers| !receivers.have_retired())
    }

    /// Whether the batches of the code before are waited for, since other code drops what they read and change. No other
    /// batch is cut meanwhile.
    pub(crate) fn is_draining(&self) -> bool {
        let Some(Swap { stage: Stage::Retiring(code), .. }) = &self.swap else { return false };
        let is_ready = self.receivers.as_ref().is_some_and(Receivers::are_ready);
        is_ready && self.has_begun(code) && !code.states.drops(&self.states).is_empty()
    }

    /// Whether batches have begun that would not be given to other code.
    fn has_begun(&self, code: &Code) -> bool {
        let has_ended = self.queue.is_empty() && self.running.is_empty();
        self.is_ending() || (!has_ended && !self.would_reassign(code))
    }

    /// Whether batches that have begun are given to other code: some wait for a function, and the code can read them all.
    fn would_reassign(&self, code: &Code) -> bool {
        let reads = |source: &SourceBinding| {
            code.sources.iter().any(|next| next.name == source.name && next.format == source.format)
        };
        !self.processor.quarantine.status().is_empty() && self.code.sources.iter().all(reads)
    }

    /// Takes up an upgrade, or refuses it.
    pub(crate) async fn take_up(&mut self, asked: Asked) {
        let Asked { upgrade: Upgrade { mut code, adopt }, answer } = asked;
        if let Err(reason) = self.check(&code).await {
            return refuse(answer, reason);
        }
        inherit(&mut code, &self.code);
        let now = BatchTime::from_ms(self.processor.clock.now_ms());
        let opening = async move { code.tables.open(now).await.map(|()| code) };
        let stage = Stage::Opening(Task::spawn(&Handle::current(), opening));
        self.swap = Some(Swap { stage, adopt, answer });
    }

    /// Goes on with an upgrade whose tables were read.
    pub(crate) fn opened(&mut self, opened: Result<Code, EngineError>) {
        let Some(mut swap) = self.swap.take() else { return };
        match opened {
            Err(error) => refuse(swap.answer, error.to_string()),
            Ok(code) => {
                let receivers = self.receivers.as_mut().expect("upgrades come to running pipelines");
                receivers.retire(&code.sources);
                swap.stage = Stage::Retiring(Box::new(code));
                self.swap = Some(swap);
            }
        }
    }

    /// What of other code does not go with what this pipeline has.
    async fn check(&mut self, code: &Code) -> Result<(), String> {
        if let Some(reason) = losses::refusal(&code.states, &self.states) {
            return Err(reason);
        }
        if let Some(mistake) = code.states.undropped(&self.states).into_iter().next() {
            return Err(mistake);
        }
        let Some(log) = &self.journal else { return Ok(()) };
        let other = |ledger: &Ledger| code.sources.iter().find_map(|source| other_kind(source, ledger));
        match log.log.peek(other).await {
            None => Ok(()),
            Some(name) => Err(format!(
                "source \"{name}\" was received by another kind of source, whose records are counted otherwise; give it a name of its own"
            )),
        }
    }

    /// Goes over to other code, if everything is ready for that.
    pub(crate) async fn switch(&mut self) -> Result<(), EngineError> {
        let receivers = self.receivers.as_ref().expect("receivers are started before anything is asked for");
        let is_retiring = matches!(&self.swap, Some(Swap { stage: Stage::Retiring(_), .. }));
        if !is_retiring || !receivers.are_ready() || self.is_draining() {
            return Ok(());
        }
        let Some(Swap { stage: Stage::Retiring(code), adopt, answer }) = self.swap.take() else {
            return Ok(());
        };
        crash_point("upgrade-ready");
        // Batches of the code before may have kept what there was nothing of.
        let adopted = match losses::refusal(&code.states, &self.states) {
            None => adopt.await,
            Some(reason) => Err(reason),
        };
        match adopted {
            Ok(()) => {
                crash_point("upgrade-adopted");
                losses::take_hold(&code.states, &self.states)?;
                let swapped = self.go_on_with(Arc::from(code)).await?;
                // Whoever asked may be gone.
                drop(answer.send(Ok(swapped)));
            }
            Err(reason) => {
                let code = Arc::clone(&self.code);
                self.succeed(&code).await?;
                refuse(answer, reason);
            }
        }
        Ok(())
    }

    /// Everything that comes is this code's.
    async fn go_on_with(&mut self, code: Arc<Code>) -> Result<Swapped, EngineError> {
        let would_reassign = self.would_reassign(&code);
        self.code = Arc::clone(&code);
        let reassigned = match would_reassign {
            true => self.reassign().await?,
            false => 0,
        };
        self.succeed(&code).await?;
        crash_point("upgraded");
        let after = self.ticks.last();
        tracing::info!(reassigned, "the pipeline goes on with other code");
        Ok(Swapped { after, reassigned })
    }

    /// Starts the receivers of `code` that do not run.
    async fn succeed(&mut self, code: &Code) -> Result<(), EngineError> {
        let mut starts = match &self.journal {
            Some(journal) => journal.log.peek(|ledger| recover::lane_starts(ledger, &journal.wal)).await,
            None => Default::default(),
        };
        let receivers = self.receivers.as_mut().expect("receivers are started before others succeed them");
        receivers.succeed(&code.sources, |lane| starts.remove(lane).unwrap_or_default())
    }

    /// Gives the batches that have not come to their end to the code that is the pipeline's own now.
    async fn reassign(&mut self) -> Result<usize, EngineError> {
        let mut begun = Vec::new();
        for (job, task) in std::mem::take(&mut self.running) {
            task.cut_off().await;
            begun.push(job);
        }
        begun.extend(self.queue.drain(..));
        let reassigned = begun.len();
        for Job { batch, .. } in begun {
            self.processor.quarantine.release(batch.time());
            let batch = Arc::new(batch.by(&self.code.version));
            if let Some(journal) = &self.journal {
                commit::reassign(&self.processor, &journal.log, &batch.manifest).await?;
            }
            self.queue.push_back(Job { code: Arc::clone(&self.code), batch });
        }
        let status = self.processor.quarantine.status();
        self.processor.board.update(|board| board.quarantine = status);
        Ok(reassigned)
    }
}

/// The pipeline goes on as it was.
fn refuse(answer: Answer, reason: String) {
    tracing::warn!("the upgrade is refused: {reason}");
    // Whoever asked may be gone.
    drop(answer.send(Err(UpgradeError::Refused(reason))));
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

//! An upgrade on its way, and how far it is.

use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_platform::Task;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::application::Code;
use crate::migrate::Plan;
use crate::probation::{Probation, Return};
use crate::rehearse::Rehearsing;
use crate::understudy::Understudy;
use crate::upgrade::{Shadow, UpgradeError, Upgraded};
use crate::{EngineError, UpgradeStage};

/// An upgrade on its way.
pub(crate) struct Swap {
    pub(crate) stage: Stage,
    pub(crate) purpose: Purpose,
}

/// Why it is made.
pub(crate) enum Purpose {
    /// It was asked for.
    Upgrade { answer: Answer, probation: Option<Probation>, adoption: Adoption },
    /// What was asked for before has failed.
    GoBack(Return),
}

/// Makes it known, for good, that the pipeline goes on with some code.
pub(crate) type Adopt = BoxFuture<'static, Result<(), String>>;

/// How far it is known that the pipeline goes on with other code.
pub(crate) enum Adoption {
    /// It is to be, once everything is ready.
    Wanted(Adopt),
    /// It may be by now. Batches go on meanwhile, with the code before.
    UnderWay(JoinHandle<Result<(), String>>),
    /// It is.
    Done,
}

/// Who waits for the upgrade.
pub(crate) type Answer = oneshot::Sender<Result<Upgraded, UpgradeError>>;

/// How far it is.
pub(crate) enum Stage {
    /// Its tables are read, and it is made ready.
    Opening(Task<Result<Opened, EngineError>>),
    /// It runs beside the stream.
    Rehearsing(Rehearsing),
    /// Receivers make way.
    Retiring(Retiring),
}

/// Code whose tables were read.
pub(crate) struct Opened {
    pub(super) code: Arc<Code>,
    pub(super) shadow: Option<Shadow>,
    pub(super) plan: Option<Arc<Plan>>,
}

/// Code that is about to be the pipeline's.
pub(crate) struct Retiring {
    pub(crate) code: Arc<Code>,
    /// Goes on beside the stream until then, with the states that will be the pipeline's.
    pub(crate) understudy: Option<Understudy>,
    /// What there is to tell so far.
    pub(crate) upgraded: Upgraded,
}

impl Retiring {
    /// Code that is about to be the pipeline's with the states as they are.
    pub(crate) fn at_once(code: Arc<Code>) -> Self {
        Self { code, understudy: None, upgraded: Upgraded::default() }
    }
}

impl Adoption {
    /// Begins, on a thread that may wait for the disk.
    pub(super) fn begin(&mut self) {
        if let Self::Wanted(adopt) = std::mem::replace(self, Self::Done) {
            let here = Handle::current();
            *self = Self::UnderWay(spawn_blocking(move || here.block_on(adopt)));
        }
    }
}

impl Purpose {
    /// Who waits for it.
    pub(crate) fn asker(&mut self) -> Option<&mut Answer> {
        match self {
            Self::Upgrade { answer, .. } => Some(answer),
            Self::GoBack(_) => None,
        }
    }

    /// What is waited for before batches are cut for the other code.
    pub(crate) fn adopting(&mut self) -> Option<&mut JoinHandle<Result<(), String>>> {
        match self {
            Self::Upgrade { adoption: Adoption::UnderWay(adopting), .. } => Some(adopting),
            Self::Upgrade { .. } | Self::GoBack(_) => None,
        }
    }

    /// The pipeline goes on as it was.
    pub(crate) fn refuse(self, reason: &str) {
        self.answer(Err(UpgradeError::Refused(reason.to_owned())));
    }

    /// Tells what came of it.
    pub(crate) fn answer(self, told: Result<Upgraded, UpgradeError>) {
        if let Err(reason) = &told {
            tracing::warn!("the upgrade is refused: {reason}");
        }
        if let Self::Upgrade { answer, .. } = self {
            // Whoever asked may be gone.
            drop(answer.send(told));
        }
    }
}

impl Swap {
    /// How far it is, for people; nothing, where nobody has asked for it.
    pub(crate) fn stage(&self) -> Option<UpgradeStage> {
        if let Purpose::GoBack(_) = self.purpose {
            return None;
        }
        Some(match &self.stage {
            Stage::Opening(_) => UpgradeStage::Opening,
            Stage::Rehearsing(rehearsing) => rehearsing.stage(),
            Stage::Retiring(_) => UpgradeStage::Switching,
        })
    }
}

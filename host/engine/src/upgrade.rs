//! How a running pipeline is asked to go on with other code.

use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_model::BatchTime;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::application::Code;
use crate::migrate::MigratedTable;
use crate::probation::Probation;
use crate::shadow::ShadowReport;

/// Other code for a pipeline that runs.
pub struct Upgrade {
    /// What batches are computed by from now on, and between which connectors.
    pub code: Code,
    /// Makes it known, for good, that the pipeline goes on with this code: awaited when everything is ready, beside the
    /// stream, where it may wait for the disk. Batches are cut for this code when it has come to its end; where it fails, the
    /// pipeline goes on as it was.
    pub adopt: BoxFuture<'static, Result<(), String>>,
    /// How it is compared with the version that runs, before; none: not at all.
    pub shadow: Option<Shadow>,
    /// How it is tried out, afterwards; none: not at all.
    pub probation: Option<Probation>,
}

/// A comparison of other code with that of a pipeline that runs, on the same batches and beside it.
pub struct Shadow {
    /// The other code once more, wired to nothing that is used.
    pub code: Arc<Code>,
    /// How many batches are compared; at least one.
    pub batches: u32,
    /// Whether the pipeline goes on with the other code, where no more rows than these differ and nothing fails.
    pub promote: Option<u64>,
}

/// What came of an upgrade.
#[derive(Clone, Debug, Default)]
pub struct Upgraded {
    /// Where the other code begins; none: it was compared, and the pipeline goes on as it was.
    pub swapped: Option<Swapped>,
    /// What was compared.
    pub shadow: Option<ShadowReport>,
    /// The states that were made into those of the other code.
    pub migrated: Vec<MigratedTable>,
}

/// That a pipeline goes on with other code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The last batch of the code before, if there was one.
    pub after: Option<BatchTime>,
    /// Batches that had begun with the code before, could not go on, and were given to this one.
    pub reassigned: usize,
}

/// Why a pipeline goes on with the code that it has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UpgradeError {
    /// The other code does not fit: what, and what to do.
    #[error("{0}")]
    Refused(String),
    /// It has ended, or is ending.
    #[error(
        "the pipeline has ended meanwhile; it goes on with the code that its checkpoint folder names when it is started again"
    )]
    Ended,
}

/// The end that asks. Clones ask the same pipeline, which does one thing after the other.
#[derive(Clone, Debug)]
pub struct Upgrader(mpsc::Sender<Asked>);

/// The end that is asked.
#[derive(Debug)]
pub struct Upgrades(mpsc::Receiver<Asked>);

/// An upgrade, and who waits for it.
pub(crate) struct Asked {
    pub(crate) upgrade: Upgrade,
    pub(crate) answer: oneshot::Sender<Result<Upgraded, UpgradeError>>,
}

impl Shadow {
    /// Whether the pipeline goes on with the other code after this.
    pub(crate) fn promotes(&self, compared: &ShadowReport) -> bool {
        self.promote.is_some_and(|differing_max| compared.is_within(differing_max))
    }
}

impl Upgrader {
    /// A pair that belongs together.
    pub fn new() -> (Self, Upgrades) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), Upgrades(receiver))
    }

    /// Lets the pipeline go on with other code from the next batch on, or when that was compared and its states are made. Answers
    /// when it does, or is not to.
    ///
    /// # Errors
    /// It goes on as it was, and why.
    pub async fn swap(&self, upgrade: Upgrade) -> Result<Upgraded, UpgradeError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { upgrade, answer }).await.map_err(|_| UpgradeError::Ended)?;
        answered.await.unwrap_or(Err(UpgradeError::Ended))
    }
}

impl Upgrades {
    /// Of a pipeline that nobody can ask.
    pub fn none() -> Self {
        Upgrader::new().1
    }

    /// The next upgrade that is asked for; never, where nobody asks any more.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.0.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("version", &self.upgrade.code.version).finish_non_exhaustive()
    }
}

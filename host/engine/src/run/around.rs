//! What a pipeline runs in.

use std::sync::Arc;

use millstream_journal::Wal;
use millstream_platform::{Clock, Randomness};
use tokio::runtime::Handle;

use crate::application::Policy;
use crate::events::Events;
use crate::process::Processor;
use crate::quarantine::Quarantine;
use crate::standby::LeftStates;
use crate::understudy::LastBacklog;
use crate::waiting::Waited;
use crate::warming::Beside;
use crate::{Board, Stop};

/// What a pipeline runs in, and who hears of it.
pub(crate) struct Around {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    /// Where batches are computed.
    pub(crate) compute: Handle,
    pub(crate) board: Board,
    pub(crate) events: Events,
    /// Where upgrades are prepared.
    pub(crate) beside: Beside,
}

impl Around {
    /// What batches are run with by the pipeline itself.
    pub(super) fn processor(&self, wal: Option<Wal>, policy: Policy, stop: Stop) -> Processor {
        Processor {
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            wal,
            policy,
            board: self.board.clone(),
            events: self.events.clone(),
            quarantine: Quarantine::default(),
            stop,
            is_recovering: false,
            waited: Waited::default(),
            backlog: LastBacklog::default(),
            left_states: LeftStates::default(),
            writes: true,
            captures: false,
            failures: None,
        }
    }
}

//! The states that an understudy begins with.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use millstream_platform::{Disk, crash_point};
use millstream_state::{Copies, Fork, Limits, Store, Tables};

use crate::EngineError;
use crate::application::Code;
use crate::losses;
use crate::migrate::{MigratedTable, Plan};

/// Where an understudy's states are to be, and how they are made.
pub(crate) struct Ground {
    /// On disk, as a generation beside the one that is used: they may come to be the pipeline's own. None: in memory.
    pub(crate) folder: Option<(Arc<dyn Disk>, PathBuf)>,
    /// How much they may take.
    pub(crate) limits: Limits,
    /// What has to be migrated; none: all is copied as it is.
    pub(crate) plan: Option<Arc<Plan>>,
    /// Those that were made, or are being made.
    pub(crate) made: Made,
}

/// States that nobody has but an understudy.
#[derive(Clone, Default)]
pub(crate) struct Made(Arc<OnceLock<Arc<Tables>>>);

impl Ground {
    /// Makes the states of those in `fork`, and binds the code to them.
    ///
    /// # Errors
    /// Nothing that is used has changed.
    pub(crate) async fn prepare(&self, code: &Code, fork: Fork) -> Result<Vec<MigratedTable>, EngineError> {
        if code.states.is_empty() {
            return Ok(Vec::new());
        }
        let copies = fork.copy().await.map_err(EngineError::State)?;
        crash_point("states-copied");
        let store = match &self.folder {
            Some((disk, folder)) => Store::begin(Arc::clone(disk), folder, self.limits).await,
            None => Ok(Store::in_memory(self.limits)),
        };
        let tables = Arc::new(Tables::new(store.map_err(EngineError::State)?));
        let tables = self.made.0.get_or_init(|| tables);
        let migrated = self.fill(&copies, tables.store()).await?;
        crash_point("states-migrated");
        losses::take_hold(&code.states, tables)?;
        Ok(migrated)
    }

    async fn fill(&self, copies: &Copies, store: &Store) -> Result<Vec<MigratedTable>, EngineError> {
        if let Some(plan) = &self.plan {
            return plan.carry_out(copies, store, |_, _| {}).await.map_err(EngineError::Migration);
        }
        for (table, _) in copies.tables() {
            copies.fill(table, store).await.map_err(EngineError::State)?;
        }
        Ok(Vec::new())
    }
}

impl Made {
    /// Removes what was made for nothing. Whoever made it has ended.
    pub(super) async fn discard(&self) {
        let Some(tables) = self.0.get() else { return };
        if let Err(error) = tables.store().discard().await {
            tracing::warn!("removing states of a version that was given up: {error}; the next start does it");
        }
    }
}

//! The states that an understudy begins with.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_platform::{Disk, crash_point};
use millstream_state::{Fork, Limits, Store, Tables};

use crate::EngineError;
use crate::application::Code;
use crate::migrate::{MigratedTable, Plan};

/// Where an understudy's states are to be, and how they are made.
pub(crate) struct Ground {
    /// On disk, as a generation beside the one that is used: they may come to be the pipeline's own. None: in memory.
    pub(crate) folder: Option<(Arc<dyn Disk>, PathBuf)>,
    /// How much they may take.
    pub(crate) limits: Limits,
    /// What has to be migrated; none: all is copied as it is.
    pub(crate) plan: Option<Plan>,
}

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
        let store = store.map_err(EngineError::State)?;
        let made = self.fill(&copies, &store).await;
        let migrated = match made {
            Ok(migrated) => migrated,
            Err(error) => {
                discard(&store).await;
                return Err(error);
            }
        };
        crash_point("states-migrated");
        code.states.bind(&Arc::new(Tables::new(store))).map_err(EngineError::State)?;
        Ok(migrated)
    }

    async fn fill(
        &self,
        copies: &millstream_state::Copies,
        store: &Store,
    ) -> Result<Vec<MigratedTable>, EngineError> {
        if let Some(plan) = &self.plan {
            return plan.carry_out(copies, store, |_, _| {}).await;
        }
        for (table, _) in copies.tables() {
            copies.fill(table, store).await.map_err(EngineError::State)?;
        }
        Ok(Vec::new())
    }

    /// Removes what was made for nothing.
    pub(crate) async fn discard(&self, code: &Code) {
        if let Some(tables) = code.states.tables() {
            discard(tables.store()).await;
        }
    }
}

async fn discard(store: &Store) {
    if let Err(error) = store.discard().await {
        tracing::warn!("removing states of a version that was given up: {error}; the next start does it");
    }
}

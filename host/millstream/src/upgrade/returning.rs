//! The way back of a pipeline whose new version fails on probation: the version before is written down as the pipeline's
//! own again, and known here as the one that runs.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use millstream_model::Version;

use super::{Adopted, Files, Loaded};
use crate::load::Overrides;
use crate::target::Target;
use crate::versions::Store;

/// The version that has come back by itself, until somebody takes note of that. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Returned(Arc<Mutex<Option<Arc<Loaded>>>>);

/// What is needed to go back, which happens while nobody asks for anything.
pub(super) struct Return {
    pub(super) returned: Returned,
    /// What the pipeline was started from.
    pub(super) target: Target,
    pub(super) given: Overrides,
    /// None: no version is written down.
    pub(super) store: Option<Store>,
    /// The version that comes back.
    pub(super) to: Arc<Loaded>,
    /// The one that a rollback goes to from there.
    pub(super) before: Option<Version>,
}

impl Returned {
    pub(super) fn take(&self) -> Option<Arc<Loaded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether one has come back since it was looked at.
    pub(super) fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn put(&self, version: Arc<Loaded>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
    }
}

impl Return {
    /// Goes back, for good.
    pub(super) async fn make(self) -> Result<(), String> {
        let written = self.write_down().await;
        self.returned.put(self.to);
        written.map_err(|error| format!("{error:#}"))
    }

    async fn write_down(&self) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        // Whatever was put in place of them since the upgrade belongs to the version that failed.
        let files = Files::now(&self.target.read().await?, &self.given)?;
        store.adopt(&Adopted { version: self.to.version(), before: self.before.clone(), files })
    }
}

//! The way back of a pipeline whose new version fails on probation: the version before is written down as the pipeline's
//! own again, and known here as the one that runs.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use millstream_model::Version;
use millstream_plugins::Cache;
use tokio::sync::watch;

use super::{Adopted, Files, Loaded};
use crate::load::Overrides;
use crate::status::VersionStatus;
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
    pub(super) compiled: Option<Cache>,
    /// The version that comes back.
    pub(super) to: Arc<Loaded>,
    /// What was written down when it was adopted, if it was.
    pub(super) adopted: Option<Adopted>,
    /// The streams whose states go with the version that failed.
    pub(super) drop_states: Vec<String>,
    /// What is shown of it.
    pub(super) shown: watch::Sender<VersionStatus>,
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
        let shown = VersionStatus { runs: self.to.version(), after: None, before: self.before() };
        self.shown.send_replace(shown);
        self.returned.put(self.to);
        written.map_err(|error| format!("{error:#}"))
    }

    /// The version that a rollback goes to from there.
    fn before(&self) -> Option<Version> {
        self.adopted.as_ref().and_then(|adopted| adopted.before.clone())
    }

    async fn write_down(&self) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        // Whatever was put in place of them since the upgrade belongs to the version that failed.
        let read = self.target.read_with(self.compiled.clone()).await?;
        let files = Files::now(&read, &self.given)?;
        let before = self.before();
        let adopted = self.adopted.iter().flat_map(|adopted| &adopted.drop_states);
        let drop_states = adopted.chain(&self.drop_states).cloned().collect();
        let (version, allowed) = (self.to.version(), self.to.allowed.clone());
        store.adopt(&Adopted { version, before, files, allowed, drop_states })
    }
}

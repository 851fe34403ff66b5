//! A version of a pipeline that is loaded and checked, and which one a pipeline starts with.

use anyhow::Result;
use millstream_model::Version;
use millstream_pipeline::{Checked, SELF};
use millstream_plugins::Cache;

use super::{Adopted, Files};
use crate::allowed::Allowed;
use crate::load::{Overrides, check_components};
use crate::target::Read;
use crate::versions::Store;
use crate::wire::version;

/// A version of a pipeline, with the files that its components were loaded from.
pub(crate) struct Loaded {
    pub(crate) text: String,
    /// Whether a component carries it.
    pub(crate) is_carried: bool,
    pub(crate) overrides: Overrides,
    pub(crate) checked: Checked,
    /// What it may use, if a component carries it.
    pub(crate) allowed: Allowed,
}

impl Loaded {
    pub(crate) fn version(&self) -> Version {
        version(&self.text, &self.checked)
    }

    /// What was read, with the components that it names; `overrides` take the place of some.
    pub(super) async fn from_files(
        read: &Read,
        overrides: Overrides,
        allowed: Allowed,
        compiled: Option<Cache>,
    ) -> Result<Self> {
        let checked = check_components(read, &allowed, overrides.clone(), compiled).await?;
        let (text, is_carried) = (read.text.clone(), read.carrier.is_some());
        Ok(Self { text, is_carried, overrides, checked, allowed })
    }

    /// A version that the checkpoint folder keeps.
    pub(super) async fn kept(store: &Store, version: &Version, allowed: Allowed) -> Result<Self> {
        let (text, checked) = store.checked(version).await?;
        let is_carried = version.plugins.contains_key(SELF);
        Ok(Self { text, is_carried, overrides: Overrides::new(), checked, allowed })
    }
}

/// The version that a pipeline starts with: the one that it was given last while it ran, which is kept, unless its files are
/// others by now.
pub(crate) async fn choose(
    read: &Read,
    given: &Overrides,
    allowed: &Allowed,
    compiled: Option<Cache>,
    kept: Option<(&Store, &Adopted)>,
) -> Result<Loaded> {
    if let Some((store, adopted)) = kept {
        if adopted.files == Files::now(read, given)? {
            tracing::info!("goes on with the version that it was upgraded to");
            let loaded = Loaded::kept(store, &adopted.version, allowed.and(&adopted.allowed)).await;
            let loaded = loaded.map_err(|error| store.unloadable(&error))?;
            loaded.checked.states.allow_drops(adopted.drop_states.iter().cloned());
            return Ok(loaded);
        }
        tracing::warn!(
            "{} or a component of it has changed since the pipeline was upgraded, and is taken instead",
            read.file.display()
        );
    }
    Loaded::from_files(read, given.clone(), allowed.clone(), compiled).await
}

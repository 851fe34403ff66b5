//! From the pipeline that a command is about to a checked one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use millstream_connectors::load_table;
use millstream_engine::TableRows;
use millstream_model::pipeline::{PluginSpec, TableSpec};
use millstream_pipeline::{Checked, Component, Components, LoadError, LoadedTable, SELF, Text, hint};
use millstream_plugins::{Cache, Sandbox};
use tokio::sync::Mutex;

use crate::allowed::Allowed;
use crate::compiled::sandbox;
use crate::target::{Read, Target};

/// Something that the user gave is refused, with what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Components by plugin name that take the place of those the file names.
pub(crate) type Overrides = BTreeMap<String, PathBuf>;

/// Reads and checks a pipeline that may use what is `allowed`, plugins and tables included.
pub(crate) async fn load(target: &Target, allowed: &Allowed) -> Result<Checked> {
    let read = target.read().await?;
    check_components(&read, allowed, Overrides::new(), read.compiled()).await
}

/// Checks a pipeline, plugins and tables included. `overrides` may not name plugins that it lacks.
pub(crate) async fn check_components(
    read: &Read,
    allowed: &Allowed,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    read.admit(allowed)?;
    let checked = check_text(&read.text(), overrides.clone(), compiled).await?;
    refuse_unknown(&read.text(), &checked.pipeline.plugins, overrides.keys())?;
    refuse_other_carrier(read, &checked, &overrides)?;
    Ok(checked)
}

/// Refuses components for plugins that the pipeline has not.
pub(crate) fn refuse_unknown<'n>(
    text: &Text<'_>,
    plugins: &[PluginSpec],
    mut given: impl Iterator<Item = &'n String>,
) -> Result<()> {
    let known = plugins.iter().map(|plugin| plugin.name.value.as_str());
    match given.find(|name| !known.clone().any(|known| known == **name)) {
        None => Ok(()),
        Some(unknown) => {
            let (file, hint) = (text.name(), hint(unknown, "plugins", known));
            Err(Refused(format!("{} has no plugin \"{unknown}\"{hint}", file.display())).into())
        }
    }
}

/// The component is read once for its pipeline, and once for its functions. Both are of the same.
fn refuse_other_carrier(read: &Read, checked: &Checked, overrides: &Overrides) -> Result<()> {
    let loaded = checked.components.get(SELF).filter(|_| !overrides.contains_key(SELF));
    match (&read.carrier, loaded) {
        (Some(digest), Some(component)) if component.digest() != digest => {
            Err(Refused(format!("{} changed while it was being loaded; start again", read.file.display()))
                .into())
        }
        _ => Ok(()),
    }
}

/// Checks a text, with other components for some plugins.
pub(crate) async fn check_text(
    text: &Text<'_>,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    let components = Overridden { sandbox: sandbox(compiled)?, overrides };
    Ok(text.check(&components).await?)
}

/// The same for a text that was kept of an earlier time: what its plugins were granted may be gone, and is waited for by those
/// that call them.
pub(crate) async fn check_kept(
    text: &Text<'_>,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    let components = Overridden { sandbox: sandbox(compiled)?.granting_late(), overrides };
    Ok(text.check(&components).await?)
}

/// A runtime for commands that wait for nothing outside.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("waiting").enable_all().build().context("starting the runtime")
}

/// A pipeline file that is checked again and again; its components are loaded once.
pub(crate) struct Subject {
    read: Read,
    components: Overridden,
    loaded: Mutex<BTreeMap<String, Arc<dyn Component>>>,
}

impl Subject {
    pub(crate) async fn new(target: &Target, allowed: &Allowed) -> Result<Self> {
        let read = target.read().await?;
        read.admit(allowed)?;
        let components = Overridden { sandbox: sandbox(read.compiled())?, overrides: Overrides::new() };
        Ok(Self { read, components, loaded: Mutex::default() })
    }

    /// The pipeline, with nothing in it that an earlier one has seen or done.
    pub(crate) async fn check(&self) -> Result<Checked> {
        Ok(self.read.text().check(self).await?)
    }

    pub(crate) fn text(&self) -> &str {
        &self.read.text
    }
}

#[async_trait]
impl Components for Subject {
    async fn load(&self, spec: &PluginSpec) -> Result<Arc<dyn Component>, LoadError> {
        let mut loaded = self.loaded.lock().await;
        if let Some(component) = loaded.get(&spec.name.value) {
            return Ok(Arc::clone(component));
        }
        let component = self.components.load(spec).await?;
        loaded.insert(spec.name.value.clone(), Arc::clone(&component));
        Ok(component)
    }

    async fn table(&self, spec: &TableSpec, bytes_max: u64) -> Result<LoadedTable, LoadError> {
        self.components.table(spec, bytes_max).await
    }
}

/// The sandbox, with other files for some plugins, and the tables in their files.
struct Overridden {
    sandbox: Sandbox,
    overrides: Overrides,
}

#[async_trait]
impl Components for Overridden {
    async fn load(&self, spec: &PluginSpec) -> Result<Arc<dyn Component>, LoadError> {
        let mut spec = spec.clone();
        if let Some(path) = self.overrides.get(&spec.name.value) {
            spec.component.value.clone_from(path);
        }
        self.sandbox.load(&spec).await
    }

    async fn table(&self, spec: &TableSpec, bytes_max: u64) -> Result<LoadedTable, LoadError> {
        let (schema, TableRows { rows, bytes, .. }) = load_table(spec, bytes_max).await?;
        Ok(LoadedTable { schema, rows, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use millstream_model::pipeline::{Grant, Limit, Located, Place};

    use super::*;

    fn plugin(name: &str) -> PluginSpec {
        let place = Place::default();
        PluginSpec {
            name: Located { value: name.to_owned(), place },
            component: Located { value: PathBuf::from("it.wasm"), place },
            grant: Grant::default(),
            limit: Limit::default(),
            config: BTreeMap::new(),
        }
    }

    #[test]
    fn a_plugin_that_there_is_not_is_told_with_the_nearest_name() {
        let text = Text::new(Path::new("pipeline.toml"), "");
        let plugins = ["text", "tail"].map(plugin);
        let cases = [("text", None), ("txet", Some("did you mean \"text\"")), ("words", Some("text, tail"))];
        for (given, expected) in cases {
            let refused = refuse_unknown(&text, &plugins, [&given.to_owned()].into_iter());
            let told = refused.err().map(|error| error.to_string());
            let is_told =
                |hint: &str| told.as_ref().is_some_and(|told| told.contains(given) && told.contains(hint));
            assert!(expected.map_or(told.is_none(), is_told), "{given}: {told:?}");
        }
    }
}

//! From a pipeline file's path to a checked pipeline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use millstream_connectors::load_table;
use millstream_engine::TableRows;
use millstream_model::pipeline::{PluginSpec, TableSpec};
use millstream_pipeline::{Checked, Component, Components, LoadError, LoadedTable};
use millstream_plugins::{Cache, Sandbox};
use tokio::sync::Mutex;

use crate::compiled::{cache, sandbox};

/// Something that the user gave is refused, with what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Components by plugin name that take the place of those the file names.
pub(crate) type Overrides = BTreeMap<String, PathBuf>;

/// Reads and checks the pipeline file, plugins and tables included.
pub(crate) async fn load(file: &Path) -> Result<Checked> {
    let text = read(file)?;
    check_text(file, &text, Overrides::new(), compiled(file, &text)).await
}

/// Checks the text of the pipeline file `file`, plugins and tables included. `overrides` may not name plugins that it lacks.
pub(crate) async fn check_components(
    file: &Path,
    text: &str,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    let checked = check_text(file, text, overrides.clone(), compiled).await?;
    let unknown = overrides.keys().find(|name| !checked.components.contains_key(*name));
    match unknown {
        Some(name) => {
            Err(Refused(format!("--plugin {name}: {} has no plugin of that name", file.display())).into())
        }
        None => Ok(checked),
    }
}

/// Checks the text of the pipeline file `file`, with other components for some plugins.
pub(crate) async fn check_text(
    file: &Path,
    text: &str,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    let components = Overridden { sandbox: sandbox(compiled)?, overrides };
    Ok(millstream_pipeline::check(file, text, &components).await?)
}

/// The same for a text that was kept of an earlier time: what its plugins were granted may be gone, and is waited for by those
/// that call them.
pub(crate) async fn check_kept(
    file: &Path,
    text: &str,
    overrides: Overrides,
    compiled: Option<Cache>,
) -> Result<Checked> {
    let components = Overridden { sandbox: sandbox(compiled)?.granting_late(), overrides };
    Ok(millstream_pipeline::check(file, text, &components).await?)
}

/// The compiled code in the checkpoint folder that the text of a pipeline file names, as far as that can be read. The
/// folder need not be there, and is not made.
pub(crate) fn compiled(file: &Path, text: &str) -> Option<Cache> {
    millstream_pipeline::parse(file, text).ok()?.checkpoint.as_deref().and_then(cache)
}

/// The name and the checkpoint folder of the pipeline file `file`.
pub(crate) fn checkpoint(file: &Path) -> Result<(String, PathBuf)> {
    let pipeline = millstream_pipeline::parse(file, &read(file)?)?;
    let Some(checkpoint) = pipeline.checkpoint else {
        let name = file.display();
        let reason = "names no `checkpoint` folder, by which a pipeline is found; add a line such as checkpoint = \"checkpoint\"";
        return Err(Refused(format!("{name} {reason}")).into());
    };
    Ok((pipeline.name, checkpoint))
}

/// The text of a pipeline file.
pub(crate) fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).map_err(|error| Refused(format!("reading {}: {error}", file.display())))?;
    let text = String::from_utf8(bytes);
    text.map_err(|error| {
        Refused(format!("reading {}: the file is not UTF-8: {error}", file.display())).into()
    })
}

/// A runtime for commands that wait for nothing outside.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("waiting").enable_all().build().context("starting the runtime")
}

/// A pipeline file that is checked again and again; its components are loaded once.
pub(crate) struct Subject {
    file: PathBuf,
    text: String,
    components: Overridden,
    loaded: Mutex<BTreeMap<String, Arc<dyn Component>>>,
}

impl Subject {
    pub(crate) fn new(file: &Path) -> Result<Self> {
        let text = read(file)?;
        let sandbox = sandbox(compiled(file, &text))?;
        let components = Overridden { sandbox, overrides: Overrides::new() };
        Ok(Self { file: file.to_owned(), text, components, loaded: Mutex::default() })
    }

    /// The pipeline, with nothing in it that an earlier one has seen or done.
    pub(crate) async fn check(&self) -> Result<Checked> {
        Ok(millstream_pipeline::check(&self.file, &self.text, self).await?)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
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

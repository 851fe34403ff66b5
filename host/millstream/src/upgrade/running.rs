//! The side of the running pipeline: loads what is asked for beside what runs, and goes over to it.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::{Context, Result};
use millstream_connectors::{Handover, Screen};
use millstream_engine::{Upgrade, UpgradeError, Upgrader};
use millstream_model::{BatchTime, Version};
use millstream_pipeline::Checked;
use millstream_platform::crash_point;
use millstream_plugins::Cache;
use tokio::sync::Mutex;

use super::changes::{changes, fixed, wider};
use super::{Adopted, Files, Report, Request};
use crate::load::{Overrides, Refused, check_text, read};
use crate::versions::Store;
use crate::wire::{version, wire};

type BoxFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A version of a pipeline, with the files that its components were loaded from.
pub(crate) struct Loaded {
    pub(crate) text: String,
    pub(crate) overrides: Overrides,
    pub(crate) checked: Checked,
}

/// A pipeline that runs, as far as it takes other code.
pub(crate) struct Running {
    /// The pipeline file.
    pub(crate) file: PathBuf,
    /// Files that were given for plugins when it was started.
    pub(crate) given: Overrides,
    pub(crate) screen: Screen,
    /// Where its sources take and leave their sockets.
    pub(crate) handover: Handover,
    /// None: the pipeline has no checkpoint folder, and only its files say what it runs.
    pub(crate) store: Option<Store>,
    pub(crate) compiled: Option<Cache>,
    pub(crate) upgrader: Upgrader,
    /// The version that runs.
    pub(crate) current: Mutex<Loaded>,
}

impl Loaded {
    pub(crate) fn version(&self) -> Version {
        version(&self.text, &self.checked)
    }
}

impl Running {
    /// Goes over to what is asked for.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn upgrade(&self, request: Request) -> Result<Report> {
        // One after the other.
        let mut current = self.current.lock().await;
        match request.back {
            true => self.go_over(&mut current, self.before().await?, None).await,
            false => {
                let next = self.load(&current, &request).await?;
                self.go_over(&mut current, next, Some(&request.allow)).await
            }
        }
    }

    /// Goes over to the files as they are now.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn refresh(&self) -> Result<Report> {
        let mut current = self.current.lock().await;
        let (text, overrides) = (read(&self.file)?, self.given.clone());
        let checked = check_text(&self.file, &text, overrides.clone(), self.compiled.clone()).await?;
        self.go_over(&mut current, Loaded { text, overrides, checked }, Some(&[])).await
    }

    /// Goes over to `next`, which may ask for what it is granted, `allowed`, or anything at all.
    async fn go_over(
        &self,
        current: &mut Loaded,
        next: Loaded,
        allowed: Option<&[String]>,
    ) -> Result<Report> {
        let (from, to) = (current.version(), next.version());
        if from == to {
            return Err(Refused("the pipeline runs this already".to_owned()).into());
        }
        let wider = allowed.and_then(|allowed| wider(&current.checked, &next.checked, allowed));
        if let Some(reason) = fixed(&current.checked.pipeline, &next.checked.pipeline).or(wider) {
            return Err(Refused(reason).into());
        }
        let changes = changes(&current.checked, &next.checked);
        let concurrent = next.checked.pipeline.concurrent_batches;
        let code = wire(&next.text, &next.checked, &self.screen, &self.handover, concurrent).await?;
        let adopt: BoxFuture = match self.store.clone() {
            None => Box::pin(async { Ok(()) }),
            Some(store) => {
                store.keep(&next.text, &next.checked, &next.overrides)?;
                crash_point("version-kept");
                let files = Files::now(&self.file, &read(&self.file)?, &self.given)?;
                let adopted = Adopted { version: to, before: from, files };
                Box::pin(async move { store.adopt(&adopted).map_err(|error| format!("{error:#}")) })
            }
        };
        let swapped = self.upgrader.swap(Upgrade { code, adopt }).await;
        let swapped = swapped.map_err(|error| match error {
            UpgradeError::Refused(reason) => anyhow::Error::from(Refused(reason)),
            UpgradeError::Ended => error.into(),
        })?;
        tracing::info!("upgraded: {}", changes.join("; "));
        *current = next;
        let after = swapped.after.map(BatchTime::as_ms);
        Ok(Report { changes, after, reassigned: swapped.reassigned })
    }

    /// What is asked for; what is not spoken of is as it is.
    async fn load(&self, current: &Loaded, request: &Request) -> Result<Loaded> {
        let text = match &request.file {
            Some(file) => read(file)?,
            None => current.text.clone(),
        };
        let file = request.file.as_deref().unwrap_or(&self.file);
        let plugins = millstream_pipeline::parse(&self.file, &text)
            .with_context(|| format!("reading {}", file.display()))?
            .plugins;
        let is_known = |name: &String| plugins.iter().any(|plugin| plugin.name.value == *name);
        if let Some(unknown) = request.plugins.keys().find(|name| !is_known(name)) {
            let reason = format!("{} has no plugin \"{unknown}\"", self.file.display());
            return Err(Refused(reason).into());
        }
        let mut overrides = Overrides::new();
        for plugin in &plugins {
            let name = &plugin.name.value;
            let of_current = current.checked.pipeline.plugins.iter().find(|old| old.name.value == *name);
            let is_same = of_current.is_some_and(|old| old.component.value == plugin.component.value);
            let running = current.checked.components.get(name).filter(|_| is_same);
            let path = match (request.plugins.get(name), running) {
                (Some(path), _) => Some(path.clone()),
                (None, Some(component)) => {
                    self.store.as_ref().map(|store| store.component(component.digest()))
                }
                (None, None) => None,
            };
            overrides.extend(path.map(|path| (name.clone(), path)));
        }
        let checked = check_text(&self.file, &text, overrides.clone(), self.compiled.clone()).await;
        let checked = checked.map_err(|error| match &request.file {
            Some(file) => {
                anyhow::Error::from(Refused(format!("{}, in the place of {error}", file.display())))
            }
            None => error,
        })?;
        Ok(Loaded { text, overrides, checked })
    }

    /// The version before the one that runs.
    async fn before(&self) -> Result<Loaded> {
        let none = || Refused("the pipeline was not upgraded; there is nothing to go back to".to_owned());
        let store = self.store.as_ref().ok_or_else(none)?;
        let adopted = store.adopted()?.ok_or_else(none)?;
        let (text, checked) = store.checked(&adopted.before).await?;
        Ok(Loaded { text, overrides: Overrides::new(), checked })
    }
}

/// The version that a pipeline starts with: the one that it was given last while it ran, unless its files are others by
/// now.
pub(crate) async fn choose(
    file: &Path,
    text: String,
    given: &Overrides,
    store: Option<&Store>,
    files: impl AsyncFnOnce(&str) -> Result<Checked>,
) -> Result<Loaded> {
    if let Some(store) = store
        && let Some(adopted) = store.adopted()?
    {
        if adopted.files == Files::now(file, &text, given)? {
            tracing::info!("goes on with the version that it was upgraded to");
            let (text, checked) = store.checked(&adopted.version).await?;
            return Ok(Loaded { text, overrides: Overrides::new(), checked });
        }
        tracing::warn!(
            "{} or a component of it has changed since the pipeline was upgraded, and is taken instead",
            file.display()
        );
    }
    let checked = files(&text).await?;
    Ok(Loaded { text, overrides: given.clone(), checked })
}

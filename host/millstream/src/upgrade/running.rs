//! The side of the running pipeline: loads what is asked for beside what runs, and goes over to it.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use millstream_connectors::{Handover, Screen};
use millstream_engine::{Code, Upgrade, UpgradeError, Upgraded, Upgrader};
use millstream_model::pipeline::Probation;
use millstream_model::{BatchTime, Version};
use millstream_pipeline::{Checked, SELF};
use millstream_platform::{Spare, crash_point};
use millstream_plugins::Cache;
use tokio::sync::{Mutex, MutexGuard, watch};

use super::changes::{changes, fixed, wider};
use super::returning::Return;
use super::shadow::Shadowed;
use super::{Adopted, Files, Report, Request, Returned};
use crate::allowed::Allowed;
use crate::load::{Overrides, Refused, check_components, check_text};
use crate::status::VersionStatus;
use crate::target::{Read, Target};
use crate::versions::Store;
use crate::wire::{close_unclaimed, names, version, wire};

type BoxFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Of a version that ran before.
const NO_PROBATION: Probation = Probation { batches: 0, failures_max: 0 };

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

/// A pipeline that runs, as far as it takes other code.
pub(crate) struct Running {
    /// What it was started from.
    pub(crate) target: Target,
    /// Files that were given for plugins when it was started.
    pub(crate) given: Overrides,
    pub(crate) screen: Screen,
    /// Where its sources take and leave their sockets.
    pub(crate) handover: Handover,
    /// None: the pipeline has no checkpoint folder, and only its files say what it runs.
    pub(crate) store: Option<Store>,
    pub(crate) compiled: Option<Cache>,
    pub(crate) upgrader: Upgrader,
    /// The version that runs, unless another has returned since.
    pub(crate) current: Mutex<Arc<Loaded>>,
    pub(crate) returned: Returned,
    /// What is shown of it, also while the next is on its way; nothing, without a checkpoint folder.
    pub(crate) version: watch::Sender<VersionStatus>,
}

impl Loaded {
    pub(crate) fn version(&self) -> Version {
        version(&self.text, &self.checked)
    }

    /// A version that the checkpoint folder keeps.
    async fn kept(store: &Store, version: &Version, allowed: Allowed) -> Result<Self> {
        let (text, checked) = store.checked(version).await?;
        let is_carried = version.plugins.contains_key(SELF);
        Ok(Self { text, is_carried, overrides: Overrides::new(), checked, allowed })
    }
}

impl Running {
    /// Goes over to what is asked for.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn upgrade(self: &Arc<Self>, request: Request) -> Result<Report> {
        let running = Arc::clone(self);
        beside(async move { running.upgrade_here(request).await }).await
    }

    /// Goes over to the files as they are now.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Report> {
        let running = Arc::clone(self);
        beside(async move { running.refresh_here().await }).await
    }

    async fn upgrade_here(&self, request: Request) -> Result<Report> {
        // One after the other.
        let mut current = self.current().await;
        let (next, twin) = match request.back {
            true => (self.before(&current).await?, None),
            false => {
                let next = self.load(&current, &request).await?;
                let twin = match request.shadow {
                    Some(_) => Some(self.load(&current, &request).await?),
                    None => None,
                };
                (next, twin)
            }
        };
        self.go_over(&mut current, next, &request, twin).await
    }

    async fn refresh_here(&self) -> Result<Report> {
        let mut current = self.current().await;
        let (read, overrides, allowed) =
            (self.target.read().await?, self.given.clone(), current.allowed.clone());
        let compiled = self.compiled.clone();
        let checked = check_components(&read, &allowed, overrides.clone(), compiled).await?;
        let is_carried = read.carrier.is_some();
        let next = Loaded { text: read.text, is_carried, overrides, checked, allowed };
        self.go_over(&mut current, next, &Request::default(), None).await
    }

    /// The version that runs.
    async fn current(&self) -> MutexGuard<'_, Arc<Loaded>> {
        let mut current = self.current.lock().await;
        if let Some(returned) = self.returned.take() {
            *current = returned;
        }
        current
    }

    /// Goes over to `next`, which is what was asked for. It may ask for what it is granted and what is allowed; the version
    /// before, for anything at all. Where that is asked for, its `twin` runs beside the stream first.
    async fn go_over(
        &self,
        current: &mut Arc<Loaded>,
        next: Loaded,
        request: &Request,
        twin: Option<Loaded>,
    ) -> Result<Report> {
        let (from, to) = (current.version(), next.version());
        if from == to {
            return Err(Refused("the pipeline runs this already".to_owned()).into());
        }
        let wider = || match request.back {
            true => None,
            false => wider(&current.checked, &next.checked, &request.allow_imports),
        };
        if let Some(reason) = fixed(&current.checked.pipeline, &next.checked.pipeline).or_else(wider) {
            return Err(Refused(reason).into());
        }
        next.checked.states.allow_drops(request.drop_states.iter().cloned());
        let changes = changes(&current.checked, &next.checked);
        let concurrent = next.checked.pipeline.concurrent_batches;
        let code = self.wire(&next, concurrent).await?;
        let shadow = match (request.shadow, &twin) {
            (Some(asked), Some(twin)) => {
                twin.checked.states.allow_drops(request.drop_states.iter().cloned());
                Some(asked.of(self.wire(twin, 1).await?))
            }
            _ => None,
        };
        let probation = Some(self.probation(current, &next, request)?);
        let adopt = self.adopt(&next, from.clone(), to.clone(), request).await?;
        // Connections of sources that differ go to those in their place, or back.
        let (wanted, started) = (self.handover.want(), names(&code.sources));
        let upgraded = self.upgrader.swap(Upgrade { code, adopt, shadow, probation }).await;
        drop(wanted);
        if upgraded.as_ref().is_ok_and(|upgraded| upgraded.swapped.is_some()) {
            close_unclaimed(&self.handover, &next.checked.pipeline, &started);
            *current = Arc::new(next);
        }
        // Of a pipeline that has ended nobody knows here what the next start goes on with.
        let has_ended = matches!(upgraded, Err(UpgradeError::Ended));
        if !has_ended && let Err(error) = self.let_go(current).await {
            tracing::warn!("removing versions that are not needed any more: {error:#}");
        }
        let upgraded = upgraded.map_err(|error| match error {
            UpgradeError::Refused(reason) => anyhow::Error::from(Refused(reason)),
            UpgradeError::Ended => {
                drop(self.handover.take_all());
                error.into()
            }
        })?;
        let Upgraded { swapped, shadow, migrated } = upgraded;
        if let Some(swapped) = &swapped {
            tracing::info!("upgraded: {}", changes.join("; "));
            self.version.send_replace(VersionStatus { runs: to, after: swapped.after, before: Some(from) });
        }
        let after = swapped.and_then(|swapped| swapped.after).map(BatchTime::as_ms);
        let reassigned = swapped.map_or(0, |swapped| swapped.reassigned);
        let promoted = swapped.is_some();
        let shadow = shadow.zip(request.shadow).map(|(report, asked)| Shadowed {
            accepted: asked.accepts(&report),
            promoted,
            report,
        });
        Ok(Report { changes, after, reassigned, shadow, migrated })
    }

    async fn wire(&self, loaded: &Loaded, concurrent: u32) -> Result<Code> {
        wire(&loaded.text, &loaded.checked, &self.screen, &self.handover, concurrent).await
    }

    /// How `next` is tried out: as its file says, or as was asked for. A version that ran before is not.
    fn probation(
        &self,
        current: &Arc<Loaded>,
        next: &Loaded,
        request: &Request,
    ) -> Result<millstream_engine::Probation> {
        let Probation { batches, failures_max } = match request.back {
            true => NO_PROBATION,
            false => next.checked.pipeline.probation,
        };
        let from = current.version();
        let earlier = self.store.as_ref().map(Store::adopted).transpose()?.flatten();
        let way_back = Return {
            returned: self.returned.clone(),
            shown: self.version.clone(),
            target: self.target.clone(),
            given: self.given.clone(),
            store: self.store.clone(),
            to: Arc::clone(current),
            adopted: earlier.filter(|adopted| adopted.version == from),
            drop_states: added_streams(&current.checked, &next.checked),
        };
        Ok(millstream_engine::Probation {
            batches: request.probation.unwrap_or(batches),
            failures_max: request.max_failures.unwrap_or(failures_max),
            go_back: Box::pin(way_back.make()),
        })
    }

    /// Lets go of the versions that nobody needs, and of an upgrade to another version than the one that runs.
    pub(crate) async fn tidy(&self) -> Result<()> {
        self.let_go(&*self.current().await).await
    }

    async fn let_go(&self, current: &Loaded) -> Result<()> {
        // One that has come back by itself meanwhile is known with the next look.
        let Some(store) = self.store.as_ref().filter(|_| !self.returned.is_there()) else { return Ok(()) };
        let mut needed = vec![current.version()];
        match store.adopted()?.filter(|adopted| adopted.version == needed[0]) {
            Some(adopted) => needed.extend(adopted.before),
            None => store.forget_adopted()?,
        }
        store.tidy(&store.archive().await?, needed, self.compiled.as_ref())
    }

    /// Keeps the version `to`, and gives what makes it the pipeline's own.
    async fn adopt(&self, next: &Loaded, from: Version, to: Version, request: &Request) -> Result<BoxFuture> {
        let store = self.store.clone();
        let adopted = match &store {
            None => None,
            Some(store) => {
                store.keep(&next.text, &next.checked, &next.overrides)?;
                crash_point("version-kept");
                let files = Files::now(&self.target.read().await?, &self.given)?;
                let (allowed, drop_states) = (next.allowed.clone(), request.drop_states.clone());
                Some(Adopted { version: to, before: Some(from), files, allowed, drop_states })
            }
        };
        let returned = self.returned.clone();
        let adopt = async move {
            if returned.is_there() {
                let reason = "the version before came back by itself meanwhile: `millstream status` says why";
                return Err(reason.to_owned());
            }
            let Some((store, adopted)) = store.zip(adopted) else { return Ok(()) };
            store.adopt(&adopted).map_err(|error| format!("{error:#}"))
        };
        Ok(Box::pin(adopt))
    }

    /// What is asked for; what is not spoken of is as it is.
    async fn load(&self, current: &Loaded, request: &Request) -> Result<Loaded> {
        let read = self.read(current, request).await?;
        let plugins = read.text().parse()?.plugins;
        let is_known = |name: &String| plugins.iter().any(|plugin| plugin.name.value == *name);
        if let Some(unknown) = request.plugins.keys().find(|name| !is_known(name)) {
            let reason = format!("{} has no plugin \"{unknown}\"", read.text().name().display());
            return Err(Refused(reason).into());
        }
        let mut overrides = Overrides::new();
        for plugin in &plugins {
            let name = &plugin.name.value;
            let of_current = current.checked.pipeline.plugins.iter().find(|old| old.name.value == *name);
            let is_same = of_current.is_some_and(|old| old.component.value == plugin.component.value);
            let running = current.checked.components.get(name).filter(|_| is_same);
            let carrier = request.file.as_ref().filter(|_| name == SELF);
            let path = match (request.plugins.get(name).or(carrier), running) {
                (Some(path), _) => Some(path.clone()),
                (None, Some(component)) => {
                    self.store.as_ref().map(|store| store.component(component.digest()))
                }
                (None, None) => None,
            };
            overrides.extend(path.map(|path| (name.clone(), path)));
        }
        let compiled = self.compiled.clone();
        let checked = check_text(&read.text(), overrides.clone(), compiled).await;
        let checked = checked.map_err(|error| in_place(request, error))?;
        let of_carrier = checked.components.get(SELF).map(|component| component.digest());
        if read.carrier.is_some() && request.file.is_some() && of_carrier != read.carrier.as_deref() {
            return Err(
                Refused("the component changed while it was being loaded; try again".to_owned()).into()
            );
        }
        let (is_carried, allowed) = (read.carrier.is_some(), current.allowed.and(&request.allowed));
        Ok(Loaded { text: read.text, is_carried, overrides, checked, allowed })
    }

    /// The pipeline that is asked for. Paths in it are relative to the folder of the one that it takes the place of.
    async fn read(&self, current: &Loaded, request: &Request) -> Result<Read> {
        let Some(file) = &request.file else {
            let carrier = current.checked.components.get(SELF).map(|component| component.digest().to_owned());
            return Ok(self.target.with_text(current.text.clone(), carrier.filter(|_| current.is_carried)));
        };
        let Target { checkpoint, .. } = self.target.clone();
        let read = Target { pipeline: file.clone(), checkpoint }.read().await?;
        let read = self.target.with_text(read.text, read.carrier);
        read.admit(&current.allowed.and(&request.allowed)).map_err(|error| in_place(request, error))?;
        Ok(read)
    }

    /// The version before the one that runs.
    async fn before(&self, current: &Loaded) -> Result<Loaded> {
        let none = || Refused("no version ran before this one; there is nothing to go back to".to_owned());
        let store = self.store.as_ref().ok_or_else(none)?;
        let before = store.adopted()?.and_then(|adopted| adopted.before).ok_or_else(none)?;
        Loaded::kept(store, &before, current.allowed.clone()).await
    }
}

/// Loads, checks and compiles without a hurry: batches and receivers come first.
async fn beside(work: impl Future<Output = Result<Report>> + Send + 'static) -> Result<Report> {
    let mut work = Spare::start("upgrade", work).context("starting a thread that prepares the upgrade")?;
    work.done().await.context("the upgrade was cut short; the log says why")?
}

/// The streams that a version has and the one before has not: what they keep goes where that one comes back.
fn added_streams(before: &Checked, next: &Checked) -> Vec<String> {
    let names = |checked: &Checked| -> Vec<String> {
        checked.pipeline.streams.iter().map(|stream| stream.name.value.clone()).collect()
    };
    let known = names(before);
    names(next).into_iter().filter(|name| !known.contains(name)).collect()
}

/// A refusal of another pipeline file, whose diagnostics speak of the one that it takes the place of.
fn in_place(request: &Request, error: anyhow::Error) -> anyhow::Error {
    match &request.file {
        Some(file) => Refused(format!("{}, in the place of {error}", file.display())).into(),
        None => error,
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
            let loaded = Loaded::kept(store, &adopted.version, allowed.and(&adopted.allowed)).await?;
            loaded.checked.states.allow_drops(adopted.drop_states.iter().cloned());
            return Ok(loaded);
        }
        tracing::warn!(
            "{} or a component of it has changed since the pipeline was upgraded, and is taken instead",
            read.file.display()
        );
    }
    let checked = check_components(read, allowed, given.clone(), compiled).await?;
    let (text, is_carried) = (read.text.clone(), read.carrier.is_some());
    Ok(Loaded { text, is_carried, overrides: given.clone(), checked, allowed: allowed.clone() })
}

//! The side of the running pipeline: loads what is asked for beside what runs, and goes over to it.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use millstream_connectors::{Handover, Screen};
use millstream_engine::{Code, Upgrade, UpgradeError, Upgrader};
use millstream_model::Version;
use millstream_model::pipeline::Probation;
use millstream_pipeline::{Checked, Diagnostics, SELF};
use millstream_platform::{Spare, crash_point};
use millstream_plugins::Cache;
use tokio::sync::{Mutex, MutexGuard, watch};

use super::asker::Decision;
use super::changes::{changes, fixed, wider};
use super::returning::Return;
use super::{Adopted, Asker, Files, Loaded, Report, Request, Returned, ShadowRequest};
use crate::load::{Overrides, Refused, check_text, refuse_unknown};
use crate::status::VersionStatus;
use crate::target::{Read, Target};
use crate::versions::Store;
use crate::wire::{close_unclaimed, names, wire};

type BoxFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Of a version that ran before.
const NO_PROBATION: Probation = Probation { batches: 0, failures_max: 0 };

/// How a version is compared with the one that runs, before it may take its place.
struct Comparing {
    shadow: ShadowRequest,
    /// The version once more.
    twin: Loaded,
    asker: Asker,
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

impl Running {
    /// Goes over to what is asked for. A comparison is for the asker, and ends where they leave.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn upgrade(self: &Arc<Self>, request: Request, asker: Asker) -> Result<Report> {
        let running = Arc::clone(self);
        beside(async move { running.upgrade_here(request, asker).await }).await
    }

    /// Goes over to the files as they are now; nothing comes of it where they are what runs.
    ///
    /// # Errors
    /// The pipeline goes on as it was, and why.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Option<Report>> {
        let running = Arc::clone(self);
        beside(async move { running.refresh_here().await }).await
    }

    async fn upgrade_here(&self, request: Request, asker: Asker) -> Result<Report> {
        // One after the other.
        let mut current = self.current().await;
        refuse_other(&current.checked.pipeline.name, request.pipeline.as_deref())?;
        let next = match request.back {
            true => self.before(&current).await?,
            false => self.load(&current, &request).await?,
        };
        let comparing = match request.shadow {
            Some(shadow) => {
                Some(Comparing { shadow, twin: self.twin(&current, &request, &next).await?, asker })
            }
            None => None,
        };
        self.go_over(&mut current, next, &request, comparing).await
    }

    async fn refresh_here(&self) -> Result<Option<Report>> {
        let mut current = self.current().await;
        let (read, given) = (self.files().await?, self.given.clone());
        let next = Loaded::from_files(&read, given, current.allowed.clone(), self.compiled.clone()).await?;
        match next.version() == current.version() {
            true => Ok(None),
            false => self.go_over(&mut current, next, &Request::default(), None).await.map(Some),
        }
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
    /// before, for anything at all. Where that is asked for, it is compared first.
    async fn go_over(
        &self,
        current: &mut Arc<Loaded>,
        next: Loaded,
        request: &Request,
        comparing: Option<Comparing>,
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
        let (shadow, asker) = match comparing {
            Some(Comparing { shadow, twin, asker }) => {
                twin.checked.states.allow_drops(request.drop_states.iter().cloned());
                (Some(shadow.of(self.wire(&twin, 1).await?)), Some(asker))
            }
            None => (None, None),
        };
        let probation = Some(self.probation(current, &next, request)?);
        let decision = asker.as_ref().map(|asker| asker.decision.clone());
        let adopt = self.adopt(&next, from.clone(), to.clone(), request, decision).await?;
        // Connections of sources that differ go to those in their place, or back.
        let (wanted, started) = (self.handover.want(), names(&code.sources));
        let swapping = self.upgrader.swap(Upgrade { code, adopt, shadow, probation });
        let upgraded = match asker {
            Some(asker) => asker.stay_for(swapping).await,
            None => swapping.await,
        };
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
        if let Some(swapped) = &upgraded.swapped {
            tracing::info!("upgraded: {}", changes.join("; "));
            self.version.send_replace(VersionStatus { runs: to, after: swapped.after, before: Some(from) });
        }
        Ok(Report::new(changes, upgraded, request.shadow))
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
            compiled: self.compiled.clone(),
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
    async fn adopt(
        &self,
        next: &Loaded,
        from: Version,
        to: Version,
        request: &Request,
        decision: Option<Decision>,
    ) -> Result<BoxFuture> {
        let store = self.store.clone();
        let adopted = match &store {
            None => None,
            Some(store) => {
                store.keep(&next.text, &next.checked, &next.overrides)?;
                crash_point("version-kept");
                let files = Files::now(&self.files().await?, &self.given)?;
                let (allowed, drop_states) = (next.allowed.clone(), request.drop_states.clone());
                Some(Adopted { version: to, before: Some(from), files, allowed, drop_states })
            }
        };
        // Also where its asker is gone by then.
        let (returned, wanted) = (self.returned.clone(), self.handover.want());
        let adopt = async move {
            let _wanted = wanted;
            if returned.is_there() {
                let reason = "the version before came back by itself meanwhile: `millstream status` says why";
                return Err(reason.to_owned());
            }
            decision.map_or(Ok(()), |decision| decision.make())?;
            let Some((store, adopted)) = store.zip(adopted) else { return Ok(()) };
            store.adopt(&adopted).map_err(|error| format!("{error:#}"))
        };
        Ok(Box::pin(adopt))
    }

    /// `next` once more, with states of its own.
    async fn twin(&self, current: &Loaded, request: &Request, next: &Loaded) -> Result<Loaded> {
        let twin = self.load(current, request).await?;
        match twin.version() == next.version() {
            true => Ok(twin),
            false => Err(Refused("a file changed while it was being loaded; try again".to_owned()).into()),
        }
    }

    /// What the pipeline was started from, as it is now.
    async fn files(&self) -> Result<Read> {
        self.target.read_with(self.compiled.clone()).await
    }

    /// What is asked for; what is not spoken of is as it is.
    async fn load(&self, current: &Loaded, request: &Request) -> Result<Loaded> {
        let read = self.read(current, request).await?;
        let plugins = read.text().parse()?.plugins;
        refuse_unknown(&read.text(), &plugins, request.plugins.keys())?;
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

    /// The pipeline that is asked for, which may use what it wants. Paths in it are relative to the folder of the one that it
    /// takes the place of.
    async fn read(&self, current: &Loaded, request: &Request) -> Result<Read> {
        let (text, carrier) = match &request.file {
            None => {
                let carrier = current.checked.components.get(SELF).filter(|_| current.is_carried);
                (current.text.clone(), carrier.map(|component| component.digest().to_owned()))
            }
            Some(file) => {
                let Target { checkpoint, .. } = self.target.clone();
                let target = Target { pipeline: file.clone(), checkpoint };
                let Read { text, carrier, .. } = target.read_with(self.compiled.clone()).await?;
                (text, carrier)
            }
        };
        let read = self.target.with_text(text, carrier);
        // What was allowed before is for those that are carried, and says nothing of a file in their place.
        let admitted = match read.carrier {
            Some(_) => read.admit(&current.allowed.and(&request.allowed)),
            None => read.admit(&request.allowed),
        };
        admitted.map_err(|error| in_place(request, error))?;
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
async fn beside<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let mut work = Spare::start("upgrade", work).context("starting a thread that prepares the upgrade")?;
    work.done().await.context("the upgrade was cut short; the log says why")?
}

/// Refuses what is meant for another pipeline than the one that runs, as the file says that was named.
fn refuse_other(running: &str, asked: Option<&str>) -> Result<()> {
    match asked.filter(|asked| *asked != running) {
        None => Ok(()),
        Some(asked) => Err(Refused(format!(
            "the pipeline that runs on this checkpoint folder is \"{running}\", and not \"{asked}\"; name its own file, or \
             another folder by --checkpoint"
        ))
        .into()),
    }
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
        Some(file) if error.is::<Diagnostics>() => {
            Refused(format!("{}, in the place of {error}", file.display())).into()
        }
        _ => error,
    }
}

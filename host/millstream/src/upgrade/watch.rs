//! `millstream run --watch`: the author's loop, in which a pipeline goes on with each version of its files that works.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millstream_model::pipeline::PluginSpec;
use millstream_platform::{Clock, SystemClock};
use millstream_plugins::Cache;

use super::Running;
use crate::load::Overrides;
use crate::target::Target;
use crate::told;

/// How often the files are looked at. A file that is being written is taken when it has stayed the same in between.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What tells a file from what it was: its length and when it was changed; nothing, where it is not there.
pub(crate) type Stamp = Option<(u64, SystemTime)>;

/// The files that a pipeline is made of.
#[derive(Clone, Default, PartialEq)]
struct Files {
    /// The pipeline's own.
    pipeline: Stamp,
    components: BTreeMap<PathBuf, Stamp>,
}

/// The files of a pipeline, as they were when it was read.
pub(crate) struct Watched {
    target: Target,
    given: Overrides,
    compiled: Option<Cache>,
    taken: Files,
}

impl Watched {
    /// The files as they are now, but for the pipeline's own, which was `read` when it was so; `given` take the place of
    /// components that it names.
    pub(crate) async fn look(
        target: &Target,
        read: Stamp,
        given: Overrides,
        compiled: Option<&Cache>,
    ) -> Self {
        let (target, compiled) = (target.clone(), compiled.cloned());
        let mut watched = Self { target, given, compiled, taken: Files::default() };
        watched.taken = Files { pipeline: read, ..watched.now(Files::default()).await };
        watched
    }

    /// Lets the pipeline go over to its files whenever they have changed.
    pub(crate) async fn watch(self, running: Arc<Running>) {
        let (mut taken, mut seen) = (self.taken.clone(), self.taken.clone());
        loop {
            SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await;
            let now = self.now(seen.clone()).await;
            if now == seen && now != taken {
                take(&running).await;
                taken.clone_from(&now);
            }
            seen = now;
        }
    }

    /// The files as they are now. Which components there are is found out again only where the pipeline's own file is another
    /// than it was.
    async fn now(&self, before: Files) -> Files {
        let pipeline = stamp(self.target.file());
        let paths: Vec<PathBuf> = match pipeline.is_some() && pipeline == before.pipeline {
            true => before.components.into_keys().collect(),
            false => self.components().await,
        };
        Files { pipeline, components: paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect() }
    }

    /// The components' files; none, of a pipeline that cannot be read.
    async fn components(&self) -> Vec<PathBuf> {
        let read = self.target.read_with(self.compiled.clone()).await;
        let plugins = read.and_then(|read| Ok(read.text().parse()?)).map(|pipeline| pipeline.plugins);
        let path =
            |spec: PluginSpec| self.given.get(&spec.name.value).cloned().unwrap_or(spec.component.value);
        plugins.unwrap_or_default().into_iter().map(path).collect()
    }
}

async fn take(running: &Arc<Running>) {
    match running.refresh().await {
        Ok(Some(report)) => tracing::info!("the files have changed: {}", report.changes.join("; ")),
        Ok(None) => tracing::info!("the files have changed, and are what runs"),
        Err(error) => tracing::error!("the files have changed, and are not taken: {}", told(&error)),
    }
}

/// What tells the file from what it was, as it is now.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?))
}

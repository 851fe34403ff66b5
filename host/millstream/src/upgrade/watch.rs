//! `millstream run --watch`: the author's loop, in which a pipeline goes on with each version of its files that works.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millstream_model::pipeline::PluginSpec;
use millstream_platform::{Clock, SystemClock};

use super::Running;
use crate::told;

/// How often the files are looked at. A file that is being written is taken when it has stayed the same in between.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What tells a file from what it was: its length and when it was changed; nothing, where it is not there.
type Stamp = Option<(u64, SystemTime)>;

/// The files that a pipeline is made of.
#[derive(Clone, Default, PartialEq)]
struct Files {
    /// The pipeline's own.
    pipeline: Stamp,
    components: BTreeMap<PathBuf, Stamp>,
}

/// Lets the pipeline go over to its files whenever they have changed.
pub(crate) async fn watch(running: Arc<Running>) {
    let mut taken = look(&running, Files::default()).await;
    let mut seen = taken.clone();
    loop {
        SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await;
        let now = look(&running, seen.clone()).await;
        if now == seen && now != taken {
            match running.refresh().await {
                Ok(report) => tracing::info!("the files have changed: {}", report.changes.join("; ")),
                Err(error) => tracing::error!("the files have changed, and are not taken: {}", told(&error)),
            }
            taken.clone_from(&now);
        }
        seen = now;
    }
}

/// The files as they are now. Which components there are is found out again only where the pipeline's own file is another
/// than it was.
async fn look(running: &Running, before: Files) -> Files {
    let pipeline = stamp(running.target.file());
    let paths: Vec<PathBuf> = match pipeline.is_some() && pipeline == before.pipeline {
        true => before.components.into_keys().collect(),
        false => components(running).await,
    };
    Files { pipeline, components: paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect() }
}

/// The components' files; none, of a pipeline that cannot be read.
async fn components(running: &Running) -> Vec<PathBuf> {
    let read = running.files().await.and_then(|read| Ok(read.text().parse()?));
    let plugins = read.map(|pipeline| pipeline.plugins).unwrap_or_default();
    let path =
        |spec: PluginSpec| running.given.get(&spec.name.value).cloned().unwrap_or(spec.component.value);
    plugins.into_iter().map(path).collect()
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?))
}

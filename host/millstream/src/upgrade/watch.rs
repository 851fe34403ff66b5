//! `millstream run --watch`: the author's loop, in which a pipeline goes on with each version of its files that works.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millstream_platform::{Clock, SystemClock};

use super::Running;
use crate::told;

/// How often the files are looked at. A file that is being written is taken when it has stayed the same in between.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What tells a file from what it was: its length and when it was changed; nothing, where it is not there.
type Stamp = Option<(u64, SystemTime)>;

/// Lets the pipeline go over to its files whenever they have changed.
pub(crate) async fn watch(running: Arc<Running>) {
    let mut taken = stamps(&running);
    let mut seen = taken.clone();
    loop {
        SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await;
        let now = stamps(&running);
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

/// The files that the pipeline is made of. A pipeline file that cannot be read names none.
fn stamps(running: &Running) -> BTreeMap<PathBuf, Stamp> {
    let text = fs::read_to_string(&running.file).unwrap_or_default();
    let plugins = millstream_pipeline::parse(&running.file, &text).map(|pipeline| pipeline.plugins);
    let component = |spec: millstream_model::pipeline::PluginSpec| {
        running.given.get(&spec.name.value).cloned().unwrap_or(spec.component.value)
    };
    let components = plugins.unwrap_or_default().into_iter().map(component);
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.len(), about.modified().ok()?))
    };
    components.chain([running.file.clone()]).map(|path| (path.clone(), stamp(&path))).collect()
}

//! In what a version of a pipeline differs from the one that runs: what an operator is told, and what takes their word.

use std::fmt::Debug;

use millstream_model::pipeline::{Grant, Pipeline};
use millstream_pipeline::Checked;

use crate::grants::{granted, in_words};
use crate::imports::{OUTSIDE, outside};
use crate::printable_line;
use crate::versions::short;

/// What an operator is told of the way from one version to another, a line each.
pub(crate) fn changes(before: &Checked, after: &Checked) -> Vec<String> {
    let mut told = Vec::new();
    for (name, component) in &after.components {
        match before.components.get(name) {
            None => told.push(format!("plugin {name}: new, {}", short(component.digest()))),
            Some(old) if old.digest() != component.digest() => {
                let (from, to) = (old.description(), component.description());
                let versions = match from.version == to.version {
                    true => String::new(),
                    false => format!(", version {} to {}", from.version, to.version),
                };
                let (old, new) = (short(old.digest()), short(component.digest()));
                told.push(format!("plugin {name}: {old} to {new}{versions}"));
            }
            Some(_) => {}
        }
    }
    let gone = before.components.keys().filter(|name| !after.components.contains_key(*name));
    told.extend(gone.map(|name| format!("plugin {name}: gone")));
    let (old, new) = (&before.pipeline, &after.pipeline);
    told.extend(differences("source", &old.sources, &new.sources, |spec| &spec.name.value));
    told.extend(differences("table", &old.tables, &new.tables, |spec| &spec.name.value));
    told.extend(differences("stream", &old.streams, &new.streams, |spec| &spec.name.value));
    told.extend(differences("sink", &old.sinks, &new.sinks, |spec| &spec.name.value));
    let (before, now) = (granted(&old.plugins), granted(&new.plugins));
    let stays = |name: &&String| old.plugins.iter().any(|spec| spec.name.value == **name);
    for name in new.plugins.iter().map(|spec| &spec.name.value).filter(stays) {
        match (before.get(name), now.get(name)) {
            (before, now) if before == now => {}
            (_, Some(granted)) => told.push(format!("plugin {name}: is granted {}", in_words(granted))),
            (_, None) => told.push(format!("plugin {name}: is granted nothing")),
        }
    }
    // Some of it is what components say of themselves.
    told.iter().map(|line| printable_line(line)).collect()
}

/// What is new, changed and gone among the parts of a kind.
fn differences<T: Debug>(
    kind: &str,
    before: &[T],
    after: &[T],
    name: impl for<'t> Fn(&'t T) -> &'t String,
) -> Vec<String> {
    let find = |parts: &'_ [T], wanted: &str| {
        parts.iter().find(|part| name(part) == wanted).map(|part| format!("{part:?}"))
    };
    let mut told = Vec::new();
    for part in after {
        match find(before, name(part)) {
            None => told.push(format!("{kind} {}: new", name(part))),
            Some(old) if old != format!("{part:?}") => told.push(format!("{kind} {}: changed", name(part))),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|part| find(after, name(part)).is_none());
    told.extend(gone.map(|part| format!("{kind} {}: gone", name(part))));
    told
}

/// The first way outside that a component asks for, which the one before it did not ask for, the pipeline file does not grant
/// and nobody has allowed.
pub(crate) fn wider(before: &Checked, after: &Checked, allowed: &[String]) -> Option<String> {
    after.components.iter().find_map(|(name, component)| {
        let imports = before.components.get(name).map(|old| old.imports()).unwrap_or_default();
        let known = outside(&imports);
        let asked = component.imports();
        let spec = after.pipeline.plugins.iter().find(|spec| spec.name.value == *name);
        let is_granted = |what: &str| spec.is_some_and(|spec| is_granted(&spec.grant, what));
        let is_new = |what: &str| {
            !known.contains_key(what) && !is_granted(what) && !allowed.iter().any(|allowed| allowed == what)
        };
        let (what, import) = outside(&asked).into_iter().find(|(what, _)| is_new(what))?;
        Some(format!(
            "plugin \"{name}\" asks for more than the version that runs: {what} (it imports {import}), of which it is \
             granted nothing. Grant in a new pipeline file what it may reach, and upgrade with --file; or let it have \
             the import, and nothing of it, by --allow-import {what}"
        ))
    })
}

/// Whether something is granted of a way outside.
fn is_granted(grant: &Grant, what: &str) -> bool {
    let kinds = OUTSIDE.iter().filter(|(way, _)| *way == what).flat_map(|(_, kinds)| kinds.iter());
    kinds.into_iter().any(|kind| !grant.values(*kind).is_empty())
}

/// The first setting of the whole pipeline that differs and takes a restart.
pub(crate) fn fixed(before: &Pipeline, after: &Pipeline) -> Option<String> {
    let differing = lasting(before).into_iter().zip(lasting(after)).find(|(old, new)| old != new);
    differing.map(|((key, old), (_, new))| {
        format!(
            "`{key}` is {new} instead of {old}, which takes a restart: stop the pipeline and run it with the new file"
        )
    })
}

/// The settings that hold for as long as a process runs the pipeline. What is left out is each version's own.
fn lasting(pipeline: &Pipeline) -> [(&'static str, String); 10] {
    let Pipeline {
        name,
        batch_interval,
        checkpoint,
        dead_letters,
        attempts,
        continue_on_failure,
        every_missed_batch,
        backpressure,
        history_bytes,
        state_memory_bytes,
        max_batch_rows: _,
        receive_memory_bytes: _,
        receive_disk_bytes: _,
        block_interval: _,
        concurrent_batches: _,
        table_memory_bytes: _,
        plugins: _,
        sources: _,
        tables: _,
        streams: _,
        sinks: _,
        tests: _,
        probation: _,
    } = pipeline;
    [
        ("name", format!("{name:?}")),
        ("batch-interval", format!("{batch_interval:?}")),
        ("checkpoint", format!("{checkpoint:?}")),
        ("dead-letters", format!("{dead_letters:?}")),
        ("attempts", format!("{attempts:?}")),
        ("on-failure", format!("{continue_on_failure:?}")),
        ("catch-up", format!("{every_missed_batch:?}")),
        ("backpressure", format!("{backpressure:?}")),
        ("history", format!("{history_bytes:?}")),
        ("state-memory", format!("{state_memory_bytes:?}")),
    ]
}

//! In what a version of a pipeline differs from the one that runs: what an operator is told, and what takes their word.

use std::collections::BTreeMap;
use std::fmt::Debug;

use millstream_model::pipeline::{Grant, GrantKind, Pipeline, PluginSpec};
use millstream_pipeline::Checked;

use crate::imports::outside;

/// So much of a digest tells versions apart.
const DIGEST_SHOWN: usize = 12;

/// What an operator is told of the way from one version to another, a line each.
pub(crate) fn changes(before: &Checked, after: &Checked) -> Vec<String> {
    let mut told = Vec::new();
    for (name, component) in &after.components {
        match before.components.get(name) {
            None => told.push(format!("plugin {name}: new, {}", shown(component.digest()))),
            Some(old) if old.digest() != component.digest() => {
                let (from, to) = (old.description(), component.description());
                let versions = match from.version == to.version {
                    true => String::new(),
                    false => format!(", version {} to {}", from.version, to.version),
                };
                let (old, new) = (shown(old.digest()), shown(component.digest()));
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
    let grants = |pipeline: &Pipeline| {
        let grant = |spec: &PluginSpec| (spec.name.value.clone(), format!("{:?}", spec.grant));
        pipeline.plugins.iter().map(grant).collect::<BTreeMap<_, _>>()
    };
    let (granted, before) = (grants(new), grants(old));
    let changed = granted.iter().filter(|(name, grant)| before.get(*name).is_some_and(|old| old != *grant));
    told.extend(changed.map(|(name, grant)| format!("plugin {name}: is granted {grant}")));
    // Some of it is what components say of themselves.
    told.iter().map(|line| line.replace(|c: char| c.is_control(), "\u{fffd}")).collect()
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

fn shown(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
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
    let kinds: &[GrantKind] = match what {
        "http" => &[GrantKind::Http],
        "network" => &[GrantKind::Network],
        "folders" => &[GrantKind::Read, GrantKind::Write],
        "environment" => &[GrantKind::Environment],
        _ => &[],
    };
    kinds.iter().any(|kind| !grant.values(*kind).is_empty())
}

/// The first setting of the whole pipeline that differs and takes a restart.
pub(crate) fn fixed(before: &Pipeline, after: &Pipeline) -> Option<String> {
    let settings = |pipeline: &Pipeline| {
        [
            ("name", format!("{:?}", pipeline.name)),
            ("batch-interval", format!("{:?}", pipeline.batch_interval)),
            ("checkpoint", format!("{:?}", pipeline.checkpoint)),
            ("dead-letters", format!("{:?}", pipeline.dead_letters)),
            ("attempts", format!("{:?}", pipeline.attempts)),
            ("on-failure", format!("{:?}", pipeline.continue_on_failure)),
            ("catch-up", format!("{:?}", pipeline.every_missed_batch)),
            ("backpressure", format!("{:?}", pipeline.backpressure)),
            ("history", format!("{:?}", pipeline.history_bytes)),
            ("state-memory", format!("{:?}", pipeline.state_memory_bytes)),
        ]
    };
    let differing = settings(before).into_iter().zip(settings(after)).find(|(old, new)| old != new);
    differing.map(|((key, old), (_, new))| {
        format!(
            "`{key}` is {new} instead of {old}, which takes a restart: stop the pipeline and run it with the new file"
        )
    })
}

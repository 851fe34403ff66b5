//! A checked pipeline, wired to its connectors.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use millstream_connectors::{Handover, Plugins, Screen, Ways, decoder, sink, source, table};
use millstream_engine::{
    Backpressure, CatchUp, Code, DeadLetters, InletSettings, OnFailure, PidSettings, Policy, Programs,
    SinkBinding, SourceBinding, Storage, TableBinding, Tables,
};
use millstream_journal::Outbox;
use millstream_model::pipeline::{self, CallSpec, Pipeline, SinkKind, SourceKind, SourceSpec};
use millstream_model::{Metered, Receiver, Sink, Version};
use millstream_pipeline::{Checked, Component};
use millstream_platform::SystemDisk;
use millstream_plugins::sha256;
use millstream_query::Program;
use millstream_state::Limits as StateLimits;

use crate::grants::granted;
use crate::load::Refused;

/// Threads that compute.
pub(crate) fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The version that `text`, the pipeline's file, and the components that it loaded make.
pub(crate) fn version(text: &str, checked: &Checked) -> Version {
    let digest = |(name, component): (&String, &Arc<dyn millstream_pipeline::Component>)| {
        (name.clone(), component.digest().to_owned())
    };
    let plugins = checked.components.iter().map(digest).collect();
    Version { pipeline: sha256(text.as_bytes()), plugins, grants: granted(&checked.pipeline.plugins) }
}

/// The code of a checked pipeline, for batches of which `concurrent` may run at once; its sources take and leave their
/// sockets at `handover`. Nothing is opened yet.
pub(crate) async fn wire(
    text: &str,
    checked: &Checked,
    screen: &Screen,
    handover: &Handover,
    concurrent: u32,
) -> Result<Code> {
    let pipeline = &checked.pipeline;
    let wanted: Vec<&str> = pipeline.sinks.iter().map(|sink| sink.from.value.as_str()).collect();
    let mut programs = Vec::new();
    for _ in 0..concurrent.max(1) {
        let program = Program::compile(&checked.relations, &wanted, threads()).await;
        programs.push(program.context("compiling the pipeline")?);
    }
    let unread = |name: &str| !programs[0].inputs().any(|input| input == name);
    for table in pipeline.tables.iter().filter(|table| unread(&table.name.value)) {
        tracing::warn!("table \"{}\" leads to no sink and is not read", table.name);
    }
    let read: Vec<String> = programs[0].inputs().map(str::to_owned).collect();
    Ok(Code {
        version: version(text, checked),
        sources: sources(checked, handover, &read),
        tables: Tables::new(tables(pipeline, &read), pipeline.table_memory_bytes),
        sinks: sinks(checked, screen)?,
        metered: metered(checked),
        programs: Programs::new(programs),
        states: Arc::clone(&checked.states),
    })
}

/// The sources that some sink's rows come from.
fn sources(checked: &Checked, handover: &Handover, read: &[String]) -> Vec<SourceBinding> {
    let pipeline = &checked.pipeline;
    let sources = pipeline.sources.iter().filter(|spec| {
        let read = read.contains(&spec.name.value);
        if !read {
            tracing::warn!("source \"{}\" leads to no sink and is not started", spec.name);
        }
        read
    });
    let call_of = |kind: &SourceKind| match kind {
        SourceKind::Plugin(call) => Some(call.clone()),
        _ => None,
    };
    let binding = |spec: &SourceSpec| {
        let (decoder, settings) = (decoder(spec), settings(pipeline, spec));
        SourceBinding {
            name: spec.name.value.clone(),
            source: source(spec, &Functions(checked), handover),
            parallelism: spec.parallelism,
            identity: format!(
                "{spec:?} {settings:?} {}",
                plugin_identity(checked, call_of(&spec.kind).as_ref())
            ),
            format: format!("{:?} {:?}", spec.format, decoder.schema()),
            decoder,
            settings,
        }
    };
    sources.map(binding).collect()
}

/// The names of sources.
pub(crate) fn names(sources: &[SourceBinding]) -> BTreeSet<String> {
    sources.iter().map(|source| source.name.clone()).collect()
}

/// Closes what was handed over and no source that is started goes on with.
pub(crate) fn close_unclaimed(handover: &Handover, pipeline: &Pipeline, started: &BTreeSet<String>) {
    let is_started = |spec: &&SourceSpec| started.contains(&spec.name.value);
    for source in handover.keep_for(pipeline.sources.iter().filter(is_started)) {
        tracing::warn!(
            source,
            "its sockets are closed: the pipeline has no such source with that address any more"
        );
    }
}

/// What tells the plugin of a call from others of its name: its code, and what it may do.
fn plugin_identity(checked: &Checked, call: Option<&CallSpec>) -> String {
    let Some(call) = call else { return String::new() };
    let spec = checked.pipeline.plugins.iter().find(|plugin| plugin.name.value == call.plugin);
    let digest = checked.components.get(&call.plugin).map(|component| component.digest());
    // Where the component was found does not matter.
    let spec = spec.map(|spec| format!("{:?} {:?} {:?}", spec.grant, spec.limit, spec.config));
    format!("{digest:?} {spec:?}")
}

/// The tables that some sink's rows come from.
pub(crate) fn tables(pipeline: &Pipeline, read: &[String]) -> Vec<TableBinding> {
    let bindings = pipeline.tables.iter().filter_map(|spec| {
        if !read.contains(&spec.name.value) {
            return None;
        }
        let schema = spec.schema.clone().expect("a checked pipeline knows its tables' columns");
        Some(TableBinding {
            name: spec.name.value.clone(),
            table: table(spec, schema),
            refresh: spec.refresh,
        })
    });
    bindings.collect()
}

/// How much a source may bring in.
pub(crate) fn settings(pipeline: &Pipeline, spec: &SourceSpec) -> InletSettings {
    InletSettings {
        bytes_max: usize::try_from(pipeline.receive_memory_bytes).unwrap_or(usize::MAX),
        disk_bytes_max: pipeline.receive_disk_bytes,
        storage: match spec.storage {
            pipeline::Storage::Memory => Storage::Memory,
            pipeline::Storage::MemoryAndDisk => Storage::MemoryAndDisk,
            pipeline::Storage::Disk => Storage::Disk,
        },
        batch_rows_max: pipeline.max_batch_rows,
        block_interval: pipeline.block_interval,
        rate_max: spec.max_rate,
        once: false,
    }
}

/// Who accounts for the calls of the plugins' functions.
fn metered(checked: &Checked) -> Vec<Arc<dyn Metered>> {
    checked.components.values().filter_map(|component| component.metered()).collect()
}

fn sinks(checked: &Checked, screen: &Screen) -> Result<Vec<SinkBinding>> {
    let checkpoint = checked.pipeline.checkpoint.as_deref();
    let outbox = |sink: &str| checkpoint.map(|folder| Outbox::new(Arc::new(SystemDisk), folder, sink));
    let ways = Ways { screen: screen.clone(), plugins: &Functions(checked), outbox: &outbox };
    let sinks = checked.pipeline.sinks.iter().map(|spec| {
        let schema = checked.relations.schema(&spec.from.value);
        let schema = schema.with_context(|| format!("sink \"{}\" has no input", spec.name))?;
        let call = match &spec.kind {
            SinkKind::Plugin(call) => Some(call),
            SinkKind::Print { .. } | SinkKind::Files { .. } => None,
        };
        let identity = format!("{spec:?} {schema:?} {}", plugin_identity(checked, call));
        let sink =
            sink(spec, schema, &ways).map_err(|error| Refused(format!("sink \"{}\": {error}", spec.name)))?;
        Ok(SinkBinding { name: spec.name.value.clone(), from: spec.from.value.clone(), sink, identity })
    });
    sinks.collect()
}

/// The functions of a checked pipeline's plugins.
struct Functions<'c>(&'c Checked);

impl Functions<'_> {
    fn find<T>(&self, call: &CallSpec, get: impl Fn(&dyn Component, usize) -> Option<T>) -> T {
        let found = self.0.components.get(&call.plugin).and_then(|component| {
            let functions = &component.description().functions;
            let index = functions.iter().position(|function| function.name == call.function)?;
            get(component.as_ref(), index)
        });
        found.expect("a checked pipeline's functions are there, and of their kind")
    }
}

impl Plugins for Functions<'_> {
    fn receiver(&self, call: &CallSpec) -> Arc<dyn Receiver> {
        self.find(call, |component, index| component.receiver(index))
    }

    fn sink(&self, call: &CallSpec) -> Arc<dyn Sink> {
        self.find(call, |component, index| component.sink(index))
    }
}

/// How much the pipeline's states may take.
pub(crate) fn state_limits(pipeline: &Pipeline) -> StateLimits {
    StateLimits { memory_bytes: pipeline.state_memory_bytes, ..StateLimits::default() }
}

/// How the pipeline's batches are run.
pub(crate) fn policy(pipeline: &Pipeline) -> Policy {
    let settings = |settings: pipeline::Backpressure| PidSettings {
        proportional: settings.proportional,
        integral: settings.integral,
        derivative: settings.derivative,
        min_rate: settings.min_rate,
    };
    Policy {
        attempts: pipeline.attempts,
        on_failure: if pipeline.continue_on_failure { OnFailure::Continue } else { OnFailure::Stop },
        quarantine: true,
        catch_up: if pipeline.every_missed_batch { CatchUp::EveryBatch } else { CatchUp::OneBatch },
        backpressure: Backpressure(pipeline.backpressure.map(settings)),
    }
}

/// Where the pipeline's rejected records go.
pub(crate) fn dead_letters(pipeline: &Pipeline) -> DeadLetters {
    match dead_letters_file(pipeline) {
        Some(path) => DeadLetters::file(Arc::new(SystemDisk), path),
        None => DeadLetters::logged(),
    }
}

/// The file that the pipeline names, or one in its checkpoint folder.
pub(crate) fn dead_letters_file(pipeline: &Pipeline) -> Option<PathBuf> {
    let in_checkpoint = |folder: &Path| folder.join("dead-letters.jsonl");
    pipeline.dead_letters.clone().or_else(|| pipeline.checkpoint.as_deref().map(in_checkpoint))
}

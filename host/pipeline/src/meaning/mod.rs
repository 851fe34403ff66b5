//! The meaning of a pipeline file: what its names refer to, and whether the two ends of every edge fit.
//!
//! Streams are planned one after the other, each against the real columns of what it reads. A stream that is wrong
//! is *unusable*, and so is all that reads it: of those nothing is said, for it would follow from what is said already.

mod call;
mod case;
mod columns;
mod event;
mod graph;
mod initial;
mod join;
mod keyed;
mod needs;
mod outside;
mod sink;
mod slides;
mod sql;
mod table;
mod union;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_model::pipeline::{Located, Operation, Pipeline, Place, StreamSpec};
use millstream_operators::StateUpdate;
use millstream_query::{QueryError, Relations, sql_relations};
use millstream_state::States;

use crate::diagnostic::Diagnostic;
use crate::form::Draft;
use crate::place::Lines;
use crate::{Checked, Component, Components, Diagnostics, LoadedTable, nearest};
use event::EventTime;
use join::Sides;
use keyed::Defined;
use outside::Outside;
use slides::Slides;

/// Why something is unusable; nothing, where that is reported elsewhere.
type Faults = Vec<Diagnostic>;

/// Checks a draft, and gives all that is wrong with it, the form included.
pub(crate) async fn check(
    lines: &Lines<'_>,
    draft: Draft,
    components: &dyn Components,
) -> Result<Checked, Vec<Diagnostic>> {
    let relations = Relations::new().map_err(|error| vec![at(Place { line: 1, column: 1 }, &error)])?;
    let mut meaning = Meaning {
        lines,
        pipeline: &draft.pipeline,
        names: draft.broken.clone(),
        complete: draft.complete,
        unusable: draft.broken.clone(),
        broken_plugins: draft.broken_plugins.clone(),
        components: BTreeMap::new(),
        relations,
        tables: BTreeMap::new(),
        states: Arc::default(),
        updates: BTreeMap::new(),
        slides: Slides::new(&draft.pipeline),
        event_time: EventTime::default(),
        outside: Outside::default(),
        diagnostics: draft.diagnostics.clone(),
    };
    meaning.load(components).await;
    meaning.add_sources();
    meaning.add_tables(components).await;
    meaning.add_streams().await;
    meaning.check_loose_ends(&draft.loose_ends);
    meaning.check_sinks();
    meaning.check_settings().await;
    meaning.check_cases(&draft.cases);
    let Meaning { components, relations, tables, states, outside, diagnostics, .. } = meaning;
    if diagnostics.is_empty() {
        let mut pipeline = draft.pipeline;
        for table in &mut pipeline.tables {
            table.schema = tables.get(&table.name.value).map(|loaded| loaded.schema.clone());
        }
        outside.complete(&mut pipeline);
        Ok(Checked { pipeline, relations, states, components })
    } else {
        Err(diagnostics)
    }
}

/// What is known so far.
struct Meaning<'a> {
    lines: &'a Lines<'a>,
    pipeline: &'a Pipeline,
    /// All that is defined, usable or not.
    names: BTreeSet<String>,
    /// Whether a name that is not defined is wrong: the file may hold a definition that could not be read.
    complete: bool,
    unusable: BTreeSet<String>,
    broken_plugins: BTreeSet<String>,
    components: BTreeMap<String, Arc<dyn Component>>,
    relations: Relations,
    tables: BTreeMap<String, LoadedTable>,
    states: Arc<States>,
    /// The streams with states.
    updates: BTreeMap<String, Arc<StateUpdate>>,
    slides: Slides,
    event_time: EventTime,
    /// What is found of receivers and sinks.
    outside: Outside,
    diagnostics: Vec<Diagnostic>,
}

impl Meaning<'_> {
    fn report(&mut self, place: Place, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new(place, message));
    }

    async fn load(&mut self, components: &dyn Components) {
        // Where the form is wrong, a grant may be one that could not be read.
        let reads_grants = self.diagnostics.is_empty();
        for plugin in &self.pipeline.plugins {
            let name = plugin.name.value.clone();
            match components.load(plugin).await {
                Ok(component) => {
                    let needs = reads_grants.then_some(&component.description().needs);
                    self.diagnostics.extend(needs::check(plugin, needs.into_iter().flatten()));
                    self.components.insert(name, component);
                }
                Err(reason) => {
                    let message = format!("the component of plugin \"{name}\" cannot be loaded: {reason}");
                    self.report(plugin.component.place, message);
                    self.broken_plugins.insert(name);
                }
            }
        }
    }

    /// Defines the sources as inputs of the program.
    fn add_sources(&mut self) {
        for source in &self.pipeline.sources {
            let name = &source.name;
            if !self.names.insert(name.value.clone()) {
                continue;
            }
            let schema = match self.source_schema(source) {
                Ok(schema) => schema,
                Err(faults) => {
                    self.diagnostics.extend(faults);
                    self.unusable.insert(name.value.clone());
                    continue;
                }
            };
            let checked = event::check_source(source, &schema);
            let added = self.relations.add_input(&name.value, schema).map_err(|error| at(name.place, &error));
            if let Err(fault) = checked.and(added) {
                self.diagnostics.push(fault);
                self.unusable.insert(name.value.clone());
            }
        }
    }

    async fn add_streams(&mut self) {
        let streams = &self.pipeline.streams;
        self.names.extend(streams.iter().map(|stream| stream.name.value.clone()));
        let by_name: BTreeMap<_, _> =
            streams.iter().enumerate().map(|(i, s)| (s.name.value.as_str(), i)).collect();
        let (mut reads, mut names): (Vec<Vec<usize>>, Vec<_>) = (Vec::new(), Vec::new());
        for stream in streams {
            let of = self.reads(stream);
            reads.push(of.iter().filter_map(|name| by_name.get(name.value.as_str()).copied()).collect());
            names.push(of);
        }
        let order = graph::order(&reads);
        let placed: BTreeSet<_> = order.ordered.iter().copied().collect();
        let unplaced = (0..streams.len()).filter(|stream| !placed.contains(stream));
        self.unusable.extend(unplaced.map(|stream| streams[stream].name.value.clone()));
        for circle in order.circles {
            self.report_circle(&circle);
        }
        for stream in order.ordered {
            let unusable_input =
                reads[stream].iter().any(|&read| self.unusable.contains(&streams[read].name.value));
            if unusable_input || self.unusable.contains(&streams[stream].name.value) {
                self.unusable.insert(streams[stream].name.value.clone());
            } else if let Err(faults) = self.define(&streams[stream], &names[stream]).await {
                self.diagnostics.extend(faults);
                self.unusable.insert(streams[stream].name.value.clone());
            }
        }
    }

    /// The names that a stream reads. It is unusable if one of them is.
    fn reads(&mut self, stream: &StreamSpec) -> Vec<Located<String>> {
        let use_of = format!("stream \"{}\" takes its input from", stream.name);
        let (names, usable) = match &stream.operation.value {
            Operation::Sql(text) => match sql_relations(&text.value) {
                Ok(names) => {
                    let names = sql::located(self.lines, text, names);
                    let usable = names.iter().filter(|name| self.usable(&use_of, name)).count();
                    (names, usable)
                }
                Err(error) => {
                    let fault = sql::fault(self.lines, text, &error, &self.names);
                    self.diagnostics.push(fault);
                    self.unusable.insert(stream.name.value.clone());
                    return Vec::new();
                }
            },
            _ => {
                let usable = stream.from.iter().filter(|name| self.flows(&use_of, name)).count();
                (stream.from.clone(), usable)
            }
        };
        if usable < names.len() {
            self.unusable.insert(stream.name.value.clone());
        }
        names
    }

    /// Whether `name` can be used; reports it if it is not defined, in a message that begins with `use_of`.
    /// A stream that is not yet known to be unusable counts as usable.
    fn usable(&mut self, use_of: &str, name: &Located<String>) -> bool {
        if !self.names.contains(&name.value) && self.complete {
            let names = self.names.iter().map(String::as_str);
            // Nobody reads the hints of reports that are only counted, and each costs a look at every name.
            let hint = match self.diagnostics.len() {
                0..Diagnostics::SHOWN_MAX => nearest::hint(&name.value, self.kinds(), names),
                _ => String::new(),
            };
            self.report(name.place, format!("{use_of} \"{name}\", which does not exist{hint}"));
        }
        self.names.contains(&name.value) && !self.unusable.contains(&name.value)
    }

    /// What a name can be of.
    fn kinds(&self) -> &'static str {
        if self.pipeline.tables.is_empty() { "sources and streams" } else { "sources, tables and streams" }
    }

    fn report_circle(&mut self, circle: &[usize]) {
        let streams = &self.pipeline.streams;
        let names = circle.iter().chain(circle.first()).map(|&stream| streams[stream].name.value.as_str());
        let flow = names.collect::<Vec<_>>().join(" → ");
        if let Some(&first) = circle.first() {
            let message = format!(
                "streams take their input from each other in a circle: {flow}; take one from a source"
            );
            self.report(streams[first].name.place, message);
        }
    }

    async fn define(&mut self, stream: &StreamSpec, reads: &[Located<String>]) -> Result<SchemaRef, Faults> {
        self.slides.add(stream, reads)?;
        self.check_states(stream)?;
        self.event_time.add(&stream.name.value, reads);
        let name = stream.name.value.as_str();
        match &stream.operation.value {
            Operation::Sql(text) => {
                let planned = Box::pin(self.relations.add_sql(name, &text.value)).await;
                planned.map_err(|error| vec![sql::fault(self.lines, text, &error, &self.names)])
            }
            Operation::Join(join) => {
                let sides = Sides::new(&self.relations, &stream.from, &join.on)?;
                self.add_query(stream, &sides.join(join.kind)).await
            }
            Operation::Cogroup(on) => {
                let sides = Sides::new(&self.relations, &stream.from, on)?;
                self.add_query(stream, &sides.cogroup()).await
            }
            Operation::Call(spec) => {
                let (from, input) = self.input(stream)?;
                if self.broken_plugins.contains(&spec.plugin) {
                    return Err(Vec::new());
                }
                let who = format!("stream \"{name}\"");
                let binding = call::Binding { who: &who, spec, from, input: &input, keys: &[] };
                let call = binding.call(stream, &self.components, self.complete)?;
                let planned = Box::pin(self.relations.add_call(name, from, call)).await;
                planned.map_err(|error| vec![at(spec.place, &error)])
            }
            Operation::Union => {
                union::check(&self.relations, &stream.from)?;
                let from: Vec<_> = stream.from.iter().map(|name| name.value.as_str()).collect();
                let planned = Box::pin(self.relations.add_union(name, &from)).await;
                planned.map_err(|error| vec![at(stream.operation.place, &error)])
            }
            operation => {
                let (from, input) = self.input(stream)?;
                let defined = Defined { stream, from, input };
                match operation {
                    Operation::Aggregate(aggregate) => self.define_aggregate(&defined, aggregate).await,
                    Operation::Reduce(reduce) => self.define_reduce(&defined, reduce).await,
                    Operation::Window(window) => self.define_window(&defined, window).await,
                    Operation::UpdateState(update) => self.define_update(&defined, update).await,
                    Operation::Late => self.define_late(&defined).await,
                    Operation::Repartition(spec) => self.define_repartition(&defined, spec).await,
                    _ => self.define_snapshot(&defined).await,
                }
            }
        }
    }

    /// Defines a stream by a query that stands for its operation.
    async fn add_query(&mut self, stream: &StreamSpec, query: &str) -> Result<SchemaRef, Faults> {
        let planned = Box::pin(self.relations.add_sql(&stream.name.value, query)).await;
        planned.map_err(|error| vec![at(stream.operation.place, &error)])
    }

    /// Refuses what states cannot be kept with.
    fn check_states(&self, stream: &StreamSpec) -> Result<(), Faults> {
        let keeps = match &stream.operation.value {
            Operation::UpdateState(_) | Operation::Window(_) => true,
            Operation::Reduce(reduce) => reduce.window.is_some(),
            Operation::Aggregate(aggregate) => aggregate.window.is_some(),
            _ => false,
        };
        let fault = |message: &str| Err(vec![Diagnostic::new(stream.operation.place, message)]);
        if keeps && self.pipeline.concurrent_batches > 1 {
            return fault("each batch goes on from the one before it; leave \"concurrent-batches\" at 1");
        }
        let has_states = matches!(&stream.operation.value, Operation::UpdateState(_));
        if has_states && self.pipeline.checkpoint.is_none() {
            return fault("states are kept in a checkpoint; add a line such as checkpoint = \"checkpoint\"");
        }
        Ok(())
    }

    fn bound(&self, binding: &call::Binding<'_>) -> Result<call::Bound<'_>, Faults> {
        match self.broken_plugins.contains(&binding.spec.plugin) {
            true => Err(Vec::new()),
            false => binding.bind(&self.components, self.complete),
        }
    }

    fn found(&self, binding: &call::Binding<'_>) -> Result<(&Arc<dyn Component>, usize), Faults> {
        match self.broken_plugins.contains(&binding.spec.plugin) {
            true => Err(Vec::new()),
            false => binding.function(&self.components, self.complete),
        }
    }

    /// The one input of a stream, and its columns.
    fn input<'s>(&self, stream: &'s StreamSpec) -> Result<(&'s str, SchemaRef), Faults> {
        let from = stream.from.first().ok_or_else(Vec::new)?;
        let schema = self.relations.schema(&from.value).ok_or_else(Vec::new)?;
        Ok((&from.value, schema))
    }

    fn check_loose_ends(&mut self, loose_ends: &[(String, Located<String>)]) {
        for (who, name) in loose_ends {
            self.flows(&format!("{who} takes its input from"), name);
        }
    }

    fn check_sinks(&mut self) {
        for spec in &self.pipeline.sinks {
            if !self.flows(&format!("sink \"{}\" takes its input from", spec.name), &spec.from) {
                continue;
            }
            if let Some(schema) = self.relations.schema(&spec.from.value) {
                self.diagnostics.extend(sink::check(spec, &schema));
                let taken = self.take_outside(spec, &schema).err();
                self.diagnostics.extend(taken.into_iter().flatten());
            }
        }
    }
}

/// What planning refuses, where it does not know a place better than `place`.
fn at(place: Place, error: &QueryError) -> Diagnostic {
    Diagnostic::new(place, error.to_string())
}

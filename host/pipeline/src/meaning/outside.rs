//! The edges of the pipeline: the columns that sources give, and those that the sinks of plugins take.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use millstream_model::pipeline::{
    CallSpec, Format, Located, Pipeline, SinkKind, SinkSpec, SourceKind, SourceSpec,
};
use millstream_model::{DataType, Field, FunctionKind, Schema};

use crate::diagnostic::Diagnostic;

use super::call::Binding;
use super::{Faults, Meaning};

/// What only plugins tell of sources and sinks, by their names.
#[derive(Default)]
pub(super) struct Outside {
    /// The columns of receivers' rows.
    given: BTreeMap<String, Schema>,
    /// The columns that sinks take.
    taken: BTreeMap<String, Vec<Located<String>>>,
}

impl Outside {
    /// Writes what was found into the pipeline.
    pub(super) fn complete(mut self, pipeline: &mut Pipeline) {
        for source in &mut pipeline.sources {
            if let Some(schema) = self.given.remove(&source.name.value) {
                source.format = Format::Rows(schema);
            }
        }
        for sink in &mut pipeline.sinks {
            if let SinkKind::Plugin(call) = &mut sink.kind {
                call.columns = self.taken.remove(&sink.name.value);
            }
        }
    }
}

impl Meaning<'_> {
    /// The columns that a source gives.
    pub(super) fn source_schema(&mut self, source: &SourceSpec) -> Result<SchemaRef, Faults> {
        let schema = match (&source.kind, &source.format) {
            (SourceKind::Plugin(call), _) => {
                let schema = self.receiver_schema(source, call)?;
                self.outside.given.insert(source.name.value.clone(), schema.clone());
                schema.to_arrow()
            }
            (_, Format::Lines) => Schema::new([Field::new("value", DataType::Utf8)]).to_arrow(),
            (_, Format::Records { .. }) => Schema::new([Field::new("value", DataType::Binary)]).to_arrow(),
            (_, Format::Json(schema) | Format::Csv { schema, .. }) => schema.to_arrow(),
            (_, Format::Parquet(schema) | Format::Rows(schema)) => schema.to_arrow(),
        };
        Ok(Arc::new(schema))
    }

    fn receiver_schema(&self, source: &SourceSpec, call: &CallSpec) -> Result<Schema, Faults> {
        let who = format!("source \"{}\"", source.name);
        let (from, input) = (source.name.value.as_str(), ArrowSchema::empty());
        let binding = Binding { who: &who, spec: call, from, input: &input, keys: &[] };
        let (component, index) = self.found(&binding)?;
        Ok(component.description().functions[index].output.clone())
    }

    /// Asks the plugins whether their receivers and sinks can work with the configuration that the file gives them. Of a call
    /// that is wrong itself something is said elsewhere.
    pub(super) async fn check_settings(&mut self) {
        let sources = self.pipeline.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Plugin(call) => {
                Some((format!("source \"{}\"", source.name), call, FunctionKind::Receiver))
            }
            _ => None,
        });
        let sinks = self.pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Plugin(call) => Some((format!("sink \"{}\"", sink.name), call, FunctionKind::Sink)),
            _ => None,
        });
        for (who, call, kind) in sources.chain(sinks) {
            let CallSpec { plugin, function, .. } = call;
            let Some(component) = self.components.get(plugin) else { continue };
            let mut functions = component.description().functions.iter();
            let index = functions.position(|described| described.name == *function && described.kind == kind);
            let Some(index) = index else { continue };
            if let Err(reason) = component.check(index).await {
                let message = format!(
                    "{who} cannot use \"{plugin}.{function}\" as \"{plugin}\" is configured: {reason}"
                );
                self.diagnostics.push(Diagnostic::new(call.place, message));
            }
        }
    }

    /// Checks a sink of a plugin against the columns of what it takes, and notes which of them those are.
    pub(super) fn take_outside(&mut self, sink: &SinkSpec, schema: &ArrowSchema) -> Result<(), Faults> {
        let SinkKind::Plugin(call) = &sink.kind else { return Ok(()) };
        let who = format!("sink \"{}\"", sink.name);
        let binding = Binding { who: &who, spec: call, from: &sink.from.value, input: schema, keys: &[] };
        let columns = self.bound(&binding)?.columns;
        let located = |value| Located { value, place: call.place };
        self.outside.taken.insert(sink.name.value.clone(), columns.into_iter().map(located).collect());
        Ok(())
    }
}

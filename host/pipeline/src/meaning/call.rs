//! Calls: a function found, and its inputs bound to the stream's columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use millstream_model::pipeline::{CallSpec, Located, Place, StreamSpec};
use millstream_model::{Field, FunctionDescription, FunctionKind};
use millstream_query::{Call, Caller};

use super::Faults;
use super::columns::{absent, type_name};
use crate::diagnostic::Diagnostic;
use crate::{Component, nearest};

/// A call and the relation that it is to work on.
pub(super) struct Binding<'a> {
    /// How messages name the stream that calls.
    pub(super) who: &'a str,
    pub(super) spec: &'a CallSpec,
    pub(super) from: &'a str,
    pub(super) input: &'a ArrowSchema,
    /// Columns of the relation that the function is not meant to take, unless it names them.
    pub(super) keys: &'a [Located<String>],
}

/// A function that was found, and the relation's columns for its inputs.
pub(super) struct Bound<'c> {
    pub(super) component: &'c dyn Component,
    pub(super) index: usize,
    pub(super) columns: Vec<String>,
}

impl Binding<'_> {
    /// The call of a transformation, bound to the relation's columns.
    pub(super) fn call(
        &self,
        stream: &StreamSpec,
        components: &BTreeMap<String, Arc<dyn Component>>,
        complete: bool,
    ) -> Result<Call, Faults> {
        let bound = self.bind(components, complete)?;
        let (keep_columns, caller) = (self.spec.keep_columns, self.caller(stream, &bound));
        let Bound { component, index, columns } = bound;
        Ok(Call { function: component.function(index), columns, keep_columns, caller })
    }

    /// The stream as the one that calls the function.
    pub(super) fn caller(&self, stream: &StreamSpec, bound: &Bound<'_>) -> Arc<Caller> {
        Arc::new(Caller {
            stream: stream.name.value.clone(),
            function: self.name(),
            digest: bound.component.digest().to_owned(),
            on_error: stream.on_error,
            call_time_max: bound.component.call_time_max(),
        })
    }

    /// The function and the relation's columns that it takes.
    pub(super) fn bind<'c>(
        &self,
        components: &'c BTreeMap<String, Arc<dyn Component>>,
        complete: bool,
    ) -> Result<Bound<'c>, Faults> {
        let (component, index) = self.function(components, complete)?;
        let function = &component.description().functions[index];
        let columns = self.columns(function)?;
        self.check_types(function, &columns)?;
        self.check_names(function, &columns)?;
        let columns = columns.into_iter().map(|column| column.value).collect();
        Ok(Bound { component: component.as_ref(), index, columns })
    }

    /// The function. Where the file is not `complete`, a plugin that is not in it may still be meant to be.
    pub(super) fn function<'c>(
        &self,
        components: &'c BTreeMap<String, Arc<dyn Component>>,
        complete: bool,
    ) -> Result<(&'c Arc<dyn Component>, usize), Faults> {
        let Some(component) = components.get(&self.spec.plugin) else {
            return Err(if complete { vec![self.no_plugin(components)] } else { Vec::new() });
        };
        let index = self.find(&component.description().functions)?;
        Ok((component, index))
    }

    pub(super) fn at_call(&self, message: String) -> Diagnostic {
        Diagnostic::new(self.spec.place, message)
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.spec.plugin, self.spec.function)
    }

    fn no_plugin(&self, components: &BTreeMap<String, Arc<dyn Component>>) -> Diagnostic {
        let plugin = &self.spec.plugin;
        let hint = nearest::hint(plugin, "plugins", components.keys().map(String::as_str));
        self.at_call(format!(
            "{} calls a function of plugin \"{plugin}\", which does not exist{hint}",
            self.who
        ))
    }

    /// The number of the function, if it is of the kind that the key says.
    fn find(&self, functions: &[FunctionDescription]) -> Result<usize, Faults> {
        let CallSpec { plugin, function, kind, .. } = self.spec;
        let Some(index) = functions.iter().position(|described| described.name == *function) else {
            let hint = nearest::hint(function, "functions", functions.iter().map(|f| f.name.as_str()));
            return Err(vec![
                self.at_call(format!("plugin \"{plugin}\" has no function \"{function}\"{hint}")),
            ]);
        };
        let found = functions[index].kind;
        if found == *kind {
            return Ok(index);
        }
        use FunctionKind as K;
        let name = self.name();
        let remedy = match found {
            K::Map | K::FlatMap | K::Filter | K::Transform => format!("write {found} = \"{name}\""),
            K::Reduce => format!("write reduce = {{ by = [...], function = \"{name}\" }}"),
            K::Inverse => format!("name it beside a reduce over a window, as in inverse = \"{name}\""),
            K::UpdateState => format!("write update-state = {{ by = [...], function = \"{name}\" }}"),
            K::Receiver => format!("it brings rows in: give a source plugin = \"{name}\""),
            K::Sink => format!("it takes rows out: give a sink plugin = \"{name}\""),
        };
        Err(vec![self.at_call(format!("\"{name}\" is of the kind {found} and not {kind}; {remedy}"))])
    }

    /// For each input of the function the relation's column, which exists.
    fn columns(&self, function: &FunctionDescription) -> Result<Vec<Located<String>>, Faults> {
        let inputs = &function.input.fields;
        let located = |name: &str| Located { value: name.to_owned(), place: self.spec.place };
        let is_key = |name: &str| self.keys.iter().any(|key| key.value == name);
        let values: Vec<_> = self.input.fields().iter().filter(|field| !is_key(field.name())).collect();
        let columns: Vec<_> = match (&self.spec.columns, inputs.as_slice(), values.as_slice()) {
            (Some(columns), ..) => {
                self.check_count(function, columns)?;
                columns.clone()
            }
            (None, [input], [only]) if input.name != *only.name() => vec![located(only.name())],
            (None, ..) => inputs.iter().map(|input| located(&input.name)).collect(),
        };
        let faults: Vec<_> = columns.iter().filter_map(|column| self.absent(function, column)).collect();
        if faults.is_empty() { Ok(columns) } else { Err(faults) }
    }

    fn check_count(&self, function: &FunctionDescription, columns: &[Located<String>]) -> Result<(), Faults> {
        let (given, expected) = (columns.len(), function.input.fields.len());
        if given == expected {
            return Ok(());
        }
        let place = columns.first().map_or(self.spec.place, |column| column.place);
        let message = format!("\"{}\" takes {} and is given {given} columns", self.name(), function.input);
        Err(vec![Diagnostic::new(place, message)])
    }

    fn absent(&self, function: &FunctionDescription, column: &Located<String>) -> Option<Diagnostic> {
        if self.input.field_with_name(&column.value).is_ok() {
            return None;
        }
        let reason = absent(&column.value, self.from, self.input);
        let message = match self.spec.columns {
            Some(_) => reason,
            None => {
                let (name, kind) = (self.name(), self.spec.kind);
                let form = match kind {
                    FunctionKind::Sink => "columns = [...]".to_owned(),
                    _ => format!("{kind} = {{ function = \"{name}\", columns = [...] }}"),
                };
                format!("\"{name}\" takes {}, but {reason}; or name the columns: {form}", function.input)
            }
        };
        Some(Diagnostic::new(column.place, message))
    }

    fn check_types(&self, function: &FunctionDescription, columns: &[Located<String>]) -> Result<(), Faults> {
        let pairs = function.input.fields.iter().zip(columns);
        let fault = |(input, column): (&Field, &Located<String>)| {
            let given = self.input.field_with_name(&column.value).ok()?;
            let reason = mismatch(input, given)?;
            Some(Diagnostic::new(
                column.place,
                format!("\"{}\" cannot take column \"{column}\": {reason}", self.name()),
            ))
        };
        let faults: Vec<_> = pairs.filter_map(fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Refuses output that has the name of a column which stays beside it.
    fn check_names(&self, function: &FunctionDescription, columns: &[Located<String>]) -> Result<(), Faults> {
        if !matches!(function.kind, FunctionKind::Map | FunctionKind::FlatMap) {
            return Ok(());
        }
        let stays = |name: &str| self.spec.keep_columns || columns.iter().all(|column| column.value != name);
        let carried: Vec<_> =
            self.input.fields().iter().map(|field| field.name()).filter(|name| stays(name)).collect();
        let clash = |output: &&Field| carried.iter().any(|name| **name == output.name);
        let place: Place = self.spec.place;
        let fault = |output: &Field| {
            let (name, from) = (&output.name, self.from);
            let remedy = match (self.spec.keep_columns, columns.iter().any(|column| column.value == *name)) {
                (true, true) => "leave keep-columns out, or rename the column in sql first",
                _ => "rename the column in sql first, or leave it out",
            };
            let message = format!(
                "\"{}\" gives a column \"{name}\", which \"{from}\" has already; {remedy}",
                self.name()
            );
            Diagnostic::new(place, message)
        };
        let faults: Vec<_> = function.output.fields.iter().filter(clash).map(fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Why a function's input cannot be taken from a column.
fn mismatch(input: &Field, given: &ArrowField) -> Option<String> {
    let name = &input.name;
    if !input.data_type.accepts(given.data_type()) {
        let (wanted, found) = (&input.data_type, type_name(given.data_type()));
        return Some(format!("it is {found}, and the input \"{name}\" is {wanted}; cast it in sql first"));
    }
    if given.is_nullable() && !input.nullable {
        let remedy = "replace nulls in sql first, with coalesce, or take an optional value in the plugin";
        return Some(format!("it may hold nulls, and the input \"{name}\" takes none; {remedy}"));
    }
    None
}

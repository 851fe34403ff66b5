//! Operations that the host computes itself: reduces, windows, states by key, repartitions.

use std::sync::Arc;

use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use millstream_model::pipeline::{
    AggregateSpec, CallSpec, Located, ReduceSpec, RepartitionSpec, StreamSpec, UpdateSpec, WindowSpec,
};
use millstream_model::{DataType, Field, FunctionDescription, Schema};
use millstream_operators::{
    Folding, InverseWindow, KeyedReduce, Reducing, Repartition, Sliding, Snapshot, Span, StateUpdate,
    UpdateColumns, UpdateSettings, Window,
};
use millstream_query::{Condition, Operator, OperatorInput};
use millstream_state::{KeyedSpec, PaneSpec, names};

use super::call::Binding;
use super::columns::{absent, type_name};
use super::{Faults, Meaning, at, sql};
use crate::diagnostic::Diagnostic;

/// A stream that is being defined, and what it reads.
pub(super) struct Defined<'s> {
    pub(super) stream: &'s StreamSpec,
    pub(super) from: &'s str,
    pub(super) input: SchemaRef,
}

impl Defined<'_> {
    pub(super) fn name(&self) -> &str {
        &self.stream.name.value
    }

    /// The numbers of columns that must be there.
    pub(super) fn columns(&self, names: &[Located<String>]) -> Result<Vec<usize>, Faults> {
        let found: Vec<_> = names.iter().map(|name| self.input.index_of(&name.value)).collect();
        let faults: Vec<_> = names
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_err())
            .map(|(name, _)| Diagnostic::new(name.place, absent(&name.value, self.from, &self.input)))
            .collect();
        if faults.is_empty() { Ok(found.into_iter().flatten().collect()) } else { Err(faults) }
    }
}

impl Meaning<'_> {
    /// The name of a table of a stream's panes.
    fn panes(&self, defined: &Defined<'_>, columns: SchemaRef) -> Arc<millstream_state::PaneTable> {
        self.states.panes(&names::window(defined.name()), PaneSpec { columns })
    }

    pub(super) async fn add(
        &mut self,
        defined: &Defined<'_>,
        input: OperatorInput,
        operator: Arc<dyn Operator>,
    ) -> Result<SchemaRef, Faults> {
        let schema = operator.schema();
        let added = Box::pin(self.relations.add_operator(defined.name(), input, operator)).await;
        added.map(|()| schema).map_err(|error| vec![at(defined.stream.operation.place, &error)])
    }

    async fn add_over_rows(
        &mut self,
        defined: &Defined<'_>,
        operator: Arc<dyn Operator>,
    ) -> Result<SchemaRef, Faults> {
        self.add(defined, OperatorInput::Rows(defined.from.to_owned()), operator).await
    }

    pub(super) async fn define_window(
        &mut self,
        defined: &Defined<'_>,
        window: &WindowSpec,
    ) -> Result<SchemaRef, Faults> {
        if let Some(on) = &window.on {
            return self.define_event_window(defined, window, on).await;
        }
        let panes = self.panes(defined, Arc::clone(&defined.input));
        let operator = Window::new(span(window), panes, Arc::clone(&self.states));
        self.add_over_rows(defined, Arc::new(operator)).await
    }

    pub(super) async fn define_aggregate(
        &mut self,
        defined: &Defined<'_>,
        aggregate: &AggregateSpec,
    ) -> Result<SchemaRef, Faults> {
        if let Some((window, on)) = over_event_time(&aggregate.window) {
            return self.define_event_aggregate(defined, aggregate, window, on).await;
        }
        let query =
            sql::Aggregate::new(defined.stream.operation.place, aggregate, defined.from, &defined.input)?;
        let schema = match &aggregate.window {
            None => {
                let planned = Box::pin(self.relations.add_sql(defined.name(), &query.text)).await;
                planned.map_err(|error| vec![query.fault(self.lines, &error)])?
            }
            Some(window) => {
                let planned = Box::pin(self.relations.aggregation(&query.text)).await;
                let aggregation = planned.map_err(|error| vec![query.fault(self.lines, &error)])?;
                let panes = self.panes(defined, aggregation.state_schema());
                let (span, states) = (span(window), Arc::clone(&self.states));
                let operator = Sliding::new(span, Arc::new(aggregation), panes, states);
                let input = OperatorInput::Partial(query.text.clone());
                self.add(defined, input, Arc::new(operator)).await?
            }
        };
        query.check_width(&schema).map(|()| schema)
    }

    pub(super) async fn define_reduce(
        &mut self,
        defined: &Defined<'_>,
        reduce: &ReduceSpec,
    ) -> Result<SchemaRef, Faults> {
        if let Some((window, on)) = over_event_time(&reduce.window) {
            return self.define_event_reduce(defined, reduce, window, on).await;
        }
        if reduce.by.is_empty()
            && let (Some(window), Some(inverse)) = (&reduce.window, &reduce.inverse)
        {
            return self.define_whole_inverse(defined, reduce, window, inverse).await;
        }
        let keys = defined.columns(&reduce.by)?;
        let (folding, description) = self.folding(defined, reduce, &defined.input, keys)?;
        let operator: Arc<dyn Operator> = match (&reduce.window, &reduce.inverse) {
            (None, _) => Arc::new(KeyedReduce::new(folding)),
            (Some(window), None) => {
                let panes = self.panes(defined, folding.schema());
                let merging = Arc::new(Reducing(folding));
                Arc::new(Sliding::new(span(window), merging, panes, Arc::clone(&self.states)))
            }
            (Some(window), Some(inverse)) => {
                self.inverse(defined, reduce, folding, &description, window, inverse).await?
            }
        };
        self.add_over_rows(defined, operator).await
    }

    /// Defines what all rows of a window come to, as the total of the one key that all of them have:
    ///
    /// ```text
    /// input ─▶ NAME.keyed ─▶ NAME.totals ─▶ NAME
    /// ```
    async fn define_whole_inverse(
        &mut self,
        defined: &Defined<'_>,
        reduce: &ReduceSpec,
        window: &WindowSpec,
        inverse: &CallSpec,
    ) -> Result<SchemaRef, Faults> {
        let mut key = "key".to_owned();
        while defined.input.column_with_name(&key).is_some() {
            key.push('_');
        }
        let (keyed, totals) = (format!("{}.keyed", defined.name()), format!("{}.totals", defined.name()));
        let fault = |error| vec![at(defined.stream.operation.place, &error)];
        let (from, column) = (sql::quoted(defined.from), sql::quoted(&key));
        let query = format!("SELECT *, 0 AS {column} FROM {from}");
        let rows = Box::pin(self.relations.add_sql(&keyed, &query)).await.map_err(fault)?;
        let keys = vec![rows.fields().len() - 1];
        let (folding, description) = self.folding(defined, reduce, &rows, keys)?;
        let schema = folding.schema();
        let operator = self.inverse(defined, reduce, folding, &description, window, inverse).await?;
        let added =
            Box::pin(self.relations.add_operator(&totals, OperatorInput::Rows(keyed), operator)).await;
        added.map_err(fault)?;
        let values: Vec<_> = schema.fields()[1..].iter().map(|field| sql::quoted(field.name())).collect();
        let query = format!("SELECT {} FROM {}", values.join(", "), sql::quoted(&totals));
        Box::pin(self.relations.add_sql(defined.name(), &query)).await.map_err(fault)
    }

    /// The reduce of rows with the columns `rows`, which are those of the input and perhaps others behind them.
    pub(super) fn folding(
        &self,
        defined: &Defined<'_>,
        reduce: &ReduceSpec,
        rows: &ArrowSchema,
        keys: Vec<usize>,
    ) -> Result<(Folding, FunctionDescription), Faults> {
        let who = format!("stream \"{}\"", defined.name());
        let on = reduce.window.iter().filter_map(|window| window.on.as_ref());
        let apart: Vec<_> = reduce.by.iter().chain(on).cloned().collect();
        let binding = Binding {
            who: &who,
            spec: &reduce.call,
            from: defined.from,
            input: &defined.input,
            keys: &apart,
        };
        let bound = self.bound(&binding)?;
        let values: Vec<usize> =
            bound.columns.iter().filter_map(|name| defined.input.index_of(name).ok()).collect();
        let both = values.iter().find(|value| keys.contains(value));
        if let Some(both) = both {
            let name = defined.input.field(*both).name();
            let message = format!("\"{name}\" is of the key and is reduced as well; name other columns");
            return Err(vec![binding.at_call(message)]);
        }
        let description = bound.component.description().functions[bound.index].clone();
        let function = bound.component.reduce(bound.index).expect("its kind was checked");
        let caller = binding.caller(defined.stream, &bound);
        Ok((Folding::new(function, rows, keys, values).called_by(caller), description))
    }

    async fn inverse(
        &self,
        defined: &Defined<'_>,
        reduce: &ReduceSpec,
        folding: Folding,
        description: &FunctionDescription,
        window: &WindowSpec,
        inverse: &CallSpec,
    ) -> Result<Arc<dyn Operator>, Faults> {
        let who = format!("stream \"{}\"", defined.name());
        let binding =
            Binding { who: &who, spec: inverse, from: defined.from, input: &defined.input, keys: &reduce.by };
        let (component, index) = self.found(&binding)?;
        let taken = &component.description().functions[index];
        let types = |schema: &Schema| schema.fields.iter().map(|f| f.data_type.clone()).collect::<Vec<_>>();
        if types(&taken.input) != types(&description.input) {
            let message = format!(
                "\"{}\" takes {}, and the reduce makes {}; it has to take the same",
                binding.name(),
                taken.input,
                description.output
            );
            return Err(vec![binding.at_call(message)]);
        }
        let inverse = component.inverse(index).expect("its kind was checked");
        let (schema, key_columns) = (folding.schema(), folding.key_columns());
        let keep = match &reduce.keep {
            None => None,
            Some(condition) => {
                let compiled = Box::pin(Condition::compile(Arc::clone(&schema), &condition.value)).await;
                Some(compiled.map_err(|error| vec![at(condition.place, &error)])?)
            }
        };
        let (keys, values) = schema.fields().split_at(key_columns);
        let (key, state) = (self.fields(defined, keys)?, self.fields(defined, values)?);
        let totals = self.states.keyed(defined.name(), KeyedSpec { key, state, version: 0 });
        let panes = self.panes(defined, schema);
        let states = Arc::clone(&self.states);
        Ok(Arc::new(InverseWindow::new(span(window), folding, inverse, keep, totals, panes, states)))
    }

    pub(super) async fn define_update(
        &mut self,
        defined: &Defined<'_>,
        update: &UpdateSpec,
    ) -> Result<SchemaRef, Faults> {
        let keys = defined.columns(&update.by)?;
        let who = format!("stream \"{}\"", defined.name());
        let binding = Binding {
            who: &who,
            spec: &update.call,
            from: defined.from,
            input: &defined.input,
            keys: &update.by,
        };
        let bound = self.bound(&binding)?;
        let description = &bound.component.description().functions[bound.index];
        let key = self.key(defined, &keys, &binding, description)?;
        let values = bound.columns.iter().filter_map(|name| defined.input.index_of(name).ok()).collect();
        let (state, version) = (description.state.clone(), description.state_version);
        let spec = KeyedSpec { key, state, version };
        let initial = update.initial.as_ref().map(|table| self.initial(defined.name(), table, &spec));
        let initial = initial.transpose()?;
        let versions = description.migrations.iter().map(|migration| migration.version);
        let migrations = versions.filter_map(|version| bound.component.migration(bound.index, version));
        let keyed = self.states.migrating(defined.name(), spec, migrations.collect());
        let function = bound.component.update_state(bound.index).expect("its kind was checked");
        let UpdateSpec { timeout, every_key, .. } = *update;
        let caller = binding.caller(defined.stream, &bound);
        let settings = UpdateSettings { timeout, every_key, initial, caller };
        let columns = UpdateColumns { input: Arc::clone(&defined.input), keys, values };
        let states = Arc::clone(&self.states);
        let operator = StateUpdate::new(function, columns, keyed, states, settings);
        let operator = Arc::new(operator);
        refuse_clash(&operator.schema()).map_err(|name| {
            let remedy = "rename the key's column in sql first";
            let message =
                format!("\"{}\" gives a column \"{name}\", as the key has; {remedy}", binding.name());
            vec![binding.at_call(message)]
        })?;
        self.updates.insert(defined.name().to_owned(), Arc::clone(&operator));
        self.add_over_rows(defined, operator).await
    }

    /// The fields of the key, in the types that the function takes.
    fn key(
        &self,
        defined: &Defined<'_>,
        keys: &[usize],
        binding: &Binding<'_>,
        description: &FunctionDescription,
    ) -> Result<Schema, Faults> {
        let fields: Vec<_> = keys.iter().map(|key| Arc::clone(&defined.input.fields()[*key])).collect();
        let described = &description.keys.fields;
        if described.is_empty() {
            return self.fields(defined, &fields);
        }
        let fits = described.len() == fields.len()
            && described.iter().zip(&fields).all(|(own, given)| own.data_type.accepts(given.data_type()));
        if !fits {
            let given: Vec<_> =
                fields.iter().map(|f| format!("{}: {}", f.name(), type_name(f.data_type()))).collect();
            let message = format!(
                "\"{}\" has keys of {}, and \"by\" names ({}); name others, or cast them in sql",
                binding.name(),
                description.keys,
                given.join(", ")
            );
            return Err(vec![binding.at_call(message)]);
        }
        let field = |(own, given): (&Field, &Arc<arrow::datatypes::Field>)| Field {
            name: given.name().clone(),
            data_type: own.data_type.clone(),
            nullable: given.is_nullable(),
        };
        Ok(Schema { fields: described.iter().zip(&fields).map(field).collect() })
    }

    /// Columns as fields that a table can keep.
    fn fields(
        &self,
        defined: &Defined<'_>,
        columns: &[Arc<arrow::datatypes::Field>],
    ) -> Result<Schema, Faults> {
        let field = |column: &Arc<arrow::datatypes::Field>| {
            let data_type = DataType::from_arrow(column.data_type()).ok_or_else(|| {
                let (name, found) = (column.name(), type_name(column.data_type()));
                let message =
                    format!("the column \"{name}\" is {found}, which cannot be kept; cast it in sql");
                vec![Diagnostic::new(defined.stream.operation.place, message)]
            })?;
            Ok(Field { name: column.name().clone(), data_type, nullable: column.is_nullable() })
        };
        Ok(Schema { fields: columns.iter().map(field).collect::<Result<_, Faults>>()? })
    }

    pub(super) async fn define_snapshot(&mut self, defined: &Defined<'_>) -> Result<SchemaRef, Faults> {
        let Some(update) = self.updates.get(defined.from).cloned() else {
            let message =
                format!("\"{}\" has no states; \"from\" names a stream with update-state", defined.from);
            return Err(vec![Diagnostic::new(defined.stream.operation.place, message)]);
        };
        self.add_over_rows(defined, Arc::new(Snapshot::new(update))).await
    }

    pub(super) async fn define_repartition(
        &mut self,
        defined: &Defined<'_>,
        spec: &RepartitionSpec,
    ) -> Result<SchemaRef, Faults> {
        let by = defined.columns(&spec.by)?;
        let operator = Repartition::new(Arc::clone(&defined.input), by, spec.partitions as usize);
        self.add_over_rows(defined, Arc::new(operator)).await
    }
}

/// A column that stands there twice.
pub(super) fn refuse_clash(schema: &ArrowSchema) -> Result<(), String> {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    let clash = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    clash.map_or(Ok(()), |(_, name)| Err((*name).clone()))
}

/// The window and its column of event times, where it is over these.
fn over_event_time(window: &Option<WindowSpec>) -> Option<(&WindowSpec, &Located<String>)> {
    window.as_ref().and_then(|window| Some((window, window.on.as_ref()?)))
}

fn span(window: &WindowSpec) -> Span {
    Span::new(window.length, window.slide)
}

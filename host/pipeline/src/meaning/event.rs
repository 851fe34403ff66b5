//! Windows over event time, the watermarks that end them, and the rows that come too late for them.
//!
//! A stream `per-minute` over the source `orders` becomes these relations, whose names no stream can have:
//!
//! ```text
//! orders ─▶ orders.watermark ┄┄┄┄┄┄┄┐ how far event time has come
//!    └────▶ per-minute.panes ─▶ per-minute.timely ─▶ per-minute
//!                  └──────────────────────────────────▶ whatever has late = true
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType as ArrowType, Schema as ArrowSchema, SchemaRef};
use millstream_model::pipeline::{AggregateSpec, Located, Place, ReduceSpec, SourceSpec, WindowSpec};
use millstream_operators::{
    Assignment, EventSpan, EventWindow, Gathering, Merging, Reducing, Watermark, Watermarks,
};
use millstream_query::OperatorInput;

use super::columns::{absent, type_name};
use super::keyed::{Defined, refuse_clash};
use super::{Faults, Meaning, at, sql};
use crate::diagnostic::Diagnostic;

/// What is known of event time so far.
#[derive(Default)]
pub(super) struct EventTime {
    /// By stream, the sources that it is made from.
    origins: BTreeMap<String, BTreeSet<String>>,
    /// By stream, by how much its rows may be behind the watermarks of its sources: by the lengths of the windows they went through.
    behind: BTreeMap<String, Duration>,
    /// By source.
    watermarks: BTreeMap<String, Arc<Watermark>>,
    /// By stream with windows over event time, the query of the rows that come too late for them.
    late: BTreeMap<String, String>,
}

/// The rows of a stream's input that are in time, with their panes.
struct Timely {
    /// The column of event times.
    on: String,
    relation: String,
    /// The name of the pane's column, the last.
    pane: String,
    schema: SchemaRef,
    span: EventSpan,
    watermarks: Watermarks,
}

impl EventTime {
    /// Notes what a stream is made from.
    pub(super) fn add(&mut self, stream: &str, reads: &[Located<String>]) {
        let origins = reads.iter().flat_map(|read| self.origins_of(&read.value)).collect();
        self.origins.insert(stream.to_owned(), origins);
        let behind = reads.iter().map(|read| self.behind(&read.value)).max().unwrap_or_default();
        self.behind.insert(stream.to_owned(), behind);
    }

    fn behind(&self, name: &str) -> Duration {
        self.behind.get(name).copied().unwrap_or_default()
    }

    /// The sources that a source or a stream is made from.
    fn origins_of(&self, name: &str) -> BTreeSet<String> {
        self.origins.get(name).cloned().unwrap_or_else(|| BTreeSet::from([name.to_owned()]))
    }
}

/// Refuses what is no column of event times.
pub(super) fn check_source(source: &SourceSpec, schema: &ArrowSchema) -> Result<(), Diagnostic> {
    let Some(timestamp) = &source.timestamp else { return Ok(()) };
    time_column(timestamp, &source.name.value, schema).map(drop)
}

/// The number of a column of event times.
fn time_column(name: &Located<String>, of: &str, schema: &ArrowSchema) -> Result<usize, Diagnostic> {
    let Ok(column) = schema.index_of(&name.value) else {
        return Err(Diagnostic::new(name.place, absent(&name.value, of, schema)));
    };
    match schema.field(column).data_type() {
        ArrowType::Timestamp(..) => Ok(column),
        other => {
            let message = format!(
                "\"{name}\" is {}, and event times are of the type timestamp; name another column, or cast it in sql",
                type_name(other)
            );
            Err(Diagnostic::new(name.place, message))
        }
    }
}

impl Meaning<'_> {
    /// The watermarks of the sources that a stream's input is made from.
    async fn watermarks(&mut self, defined: &Defined<'_>, place: Place) -> Result<Watermarks, Faults> {
        let origins = self.event_time.origins_of(defined.from);
        let sources = self.pipeline.sources.iter().filter(|source| origins.contains(&source.name.value));
        let sources: Vec<_> = sources.collect();
        let mut watermarks = Vec::new();
        for source in sources.iter().filter(|source| source.timestamp.is_some()) {
            let watermark = self.watermark(source).await?;
            watermarks.push((watermark_relation(source), watermark));
        }
        if watermarks.is_empty() {
            let source = sources.first().map_or("NAME", |source| source.name.value.as_str());
            let message = format!(
                "nothing says when a window over event time is over: no source of \"{}\" names its event times; add a line such \
                 as timestamp = \"at\" to [sources.{source}]",
                defined.from
            );
            return Err(vec![Diagnostic::new(place, message)]);
        }
        Ok(Watermarks::new(watermarks, self.event_time.behind(defined.from)))
    }

    /// The watermark of a source with event times.
    async fn watermark(&mut self, source: &SourceSpec) -> Result<Arc<Watermark>, Faults> {
        let name = &source.name.value;
        if let Some(watermark) = self.event_time.watermarks.get(name) {
            return Ok(Arc::clone(watermark));
        }
        let (Some(timestamp), Some(schema)) = (&source.timestamp, self.relations.schema(name)) else {
            return Err(Vec::new());
        };
        let column = time_column(timestamp, name, &schema).map_err(|fault| vec![fault])?;
        let watermark =
            Arc::new(Watermark::new(name, &timestamp.value, column, source.watermark_delay, &self.states));
        let (relation, input) = (watermark_relation(source), OperatorInput::Rows(name.clone()));
        let operator = Arc::clone(&watermark);
        let added = Box::pin(self.relations.add_operator(&relation, input, operator)).await;
        added.map_err(|error| vec![at(timestamp.place, &error)])?;
        self.event_time.watermarks.insert(name.clone(), Arc::clone(&watermark));
        Ok(watermark)
    }

    /// Gives the rows of a stream's input their panes, and parts those that are late from the others. The pane's column has none of
    /// the names `taken`.
    async fn timely(
        &mut self,
        defined: &Defined<'_>,
        window: &WindowSpec,
        on: &Located<String>,
        taken: &[&str],
    ) -> Result<Timely, Faults> {
        let column = time_column(on, defined.from, &defined.input).map_err(|fault| vec![fault])?;
        let watermarks = self.watermarks(defined, on.place).await?;
        let span = EventSpan::new(window.length, window.slide);
        let behind = self.event_time.behind(defined.from).saturating_add(window.length);
        self.event_time.behind.insert(defined.name().to_owned(), behind);
        let mut pane = "pane".to_owned();
        while defined.input.column_with_name(&pane).is_some() || taken.contains(&pane.as_str()) {
            pane.push('_');
        }
        let operator = Assignment::new(&defined.input, column, &pane, span, watermarks.clone());
        let (panes, relation) = (format!("{}.panes", defined.name()), format!("{}.timely", defined.name()));
        let input = OperatorInput::Rows(defined.from.to_owned());
        let added = Box::pin(self.relations.add_operator(&panes, input, Arc::new(operator))).await;
        let fault = |error| vec![at(defined.stream.operation.place, &error)];
        added.map_err(fault)?;
        let (panes, column) = (sql::quoted(&panes), sql::quoted(&pane));
        let timely = format!("SELECT * FROM {panes} WHERE {column} IS NOT NULL");
        let schema = Box::pin(self.relations.add_sql(&relation, &timely)).await.map_err(fault)?;
        let columns: Vec<_> = defined.input.fields().iter().map(|field| sql::quoted(field.name())).collect();
        let late = format!("SELECT {} FROM {panes} WHERE {column} IS NULL", columns.join(", "));
        self.event_time.late.insert(defined.name().to_owned(), late);
        Ok(Timely { on: on.value.clone(), relation, pane, schema, span, watermarks })
    }

    /// Defines a stream by what `merging` makes of rows that are in time.
    async fn add_event_window<M: Merging + 'static>(
        &mut self,
        defined: &Defined<'_>,
        timely: Timely,
        (merging, key_columns): (M, usize),
        input: OperatorInput,
        named: &[(&str, Place)],
    ) -> Result<SchemaRef, Faults> {
        let Timely { on, span, watermarks, .. } = timely;
        let place = defined.stream.operation.place;
        let operator =
            EventWindow::new((defined.name(), &on), span, merging, key_columns, watermarks, &self.states);
        let operator = Arc::new(operator.map_err(|error| vec![at(place, &error)])?);
        let schema = self.add(defined, input, operator).await?;
        refuse_clash(&schema).map_err(|name| {
            let place = named.iter().find(|(named, _)| *named == name).map_or(place, |(_, place)| *place);
            let message =
                format!("each window has a column \"{name}\" of its own; give this one another name, in sql");
            vec![Diagnostic::new(place, message)]
        })?;
        Ok(schema)
    }

    pub(super) async fn define_event_window(
        &mut self,
        defined: &Defined<'_>,
        window: &WindowSpec,
        on: &Located<String>,
    ) -> Result<SchemaRef, Faults> {
        let timely = self.timely(defined, window, on, &[]).await?;
        let merging = Gathering::new(&timely.schema);
        let (keys, input) = (merging.key_columns(), OperatorInput::Rows(timely.relation.clone()));
        self.add_event_window(defined, timely, (merging, keys), input, &[]).await
    }

    pub(super) async fn define_event_aggregate(
        &mut self,
        defined: &Defined<'_>,
        aggregate: &AggregateSpec,
        window: &WindowSpec,
        on: &Located<String>,
    ) -> Result<SchemaRef, Faults> {
        let outputs: Vec<_> = aggregate.outputs.iter().map(|(name, _)| name.as_str()).collect();
        let timely = self.timely(defined, window, on, &outputs).await?;
        let panes = sql::Panes { relation: &timely.relation, column: &timely.pane };
        let place = defined.stream.operation.place;
        let query = sql::Aggregate::of_panes(place, aggregate, defined.from, &defined.input, &panes)?;
        let planned = Box::pin(self.relations.aggregation(&query.text)).await;
        let aggregation = planned.map_err(|error| vec![query.fault(self.lines, &error)])?;
        query.check_width(&aggregation.schema())?;
        let by = aggregate.by.iter().map(|column| (column.value.as_str(), column.place));
        let outputs = aggregate.outputs.iter().map(|(name, expression)| (name.as_str(), expression.place));
        let named: Vec<_> = by.chain(outputs).collect();
        let merging = (aggregation, aggregate.by.len() + 1);
        let input = OperatorInput::Partial(query.text.clone());
        self.add_event_window(defined, timely, merging, input, &named).await
    }

    pub(super) async fn define_event_reduce(
        &mut self,
        defined: &Defined<'_>,
        reduce: &ReduceSpec,
        window: &WindowSpec,
        on: &Located<String>,
    ) -> Result<SchemaRef, Faults> {
        let timely = self.timely(defined, window, on, &[]).await?;
        let mut keys = vec![timely.schema.fields().len() - 1];
        keys.extend(defined.columns(&reduce.by)?);
        let key_columns = keys.len();
        let (folding, _) = self.folding(defined, reduce, &timely.schema, keys)?;
        let input = OperatorInput::Rows(timely.relation.clone());
        let named: Vec<_> = reduce.by.iter().map(|column| (column.value.as_str(), column.place)).collect();
        self.add_event_window(defined, timely, (Reducing(folding), key_columns), input, &named).await
    }

    pub(super) async fn define_late(&mut self, defined: &Defined<'_>) -> Result<SchemaRef, Faults> {
        let place = defined.stream.operation.place;
        let Some(late) = self.event_time.late.get(defined.from) else {
            let message = format!(
                "nothing comes too late for \"{}\"; \"from\" names a stream with a window over event time",
                defined.from
            );
            return Err(vec![Diagnostic::new(place, message)]);
        };
        let added = Box::pin(self.relations.add_sql(defined.name(), late)).await;
        added.map_err(|error| vec![at(place, &error)])
    }
}

fn watermark_relation(source: &SourceSpec) -> String {
    format!("{}.watermark", source.name)
}

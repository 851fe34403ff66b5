//! Streams of an application that is being made.

use std::marker::PhantomData;

use crate::application::{Application, Definition, Described, Named, kind};
use crate::draft::{Entry, Group};
use crate::row::Row;
use crate::schema::{DataType, Schema};
use crate::toml::{Toml, set, table};

/// A source or a stream of an [`Application`]. Copies are the same stream, and each method that makes a stream of it makes
/// another branch. `K` is what made it, and which settings it takes.
#[derive(Debug)]
pub struct Stream<'a, K = kind::Plain> {
    application: &'a Application,
    index: usize,
    kind: PhantomData<K>,
}

impl<K> Clone for Stream<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Stream<'_, K> {}

/// Streams that call a function.
pub trait Calls {}

impl Calls for kind::Map {}
impl Calls for kind::FlatMap {}
impl Calls for kind::Filter {}
impl Calls for kind::Transform {}
impl Calls for kind::Reduce {}
impl Calls for kind::UpdateState {}

/// Streams whose rows belong together by columns.
pub trait Keyed {}

impl Keyed for kind::Reduce {}
impl Keyed for kind::Aggregate {}
impl Keyed for kind::UpdateState {}
impl Keyed for kind::Repartition {}

/// Streams that are computed over a window, if one is said.
pub trait Spanning {}

impl Spanning for kind::Reduce {}
impl Spanning for kind::Aggregate {}

/// How much a window spans: `"30s"`, `("30s", "10s")` with its slide, or with [`Window::on`] over event time.
#[derive(Clone, Debug, PartialEq)]
pub struct Window(Vec<(String, Toml)>);

impl Window {
    /// A window that spans so much.
    #[must_use]
    pub fn of(length: &str) -> Self {
        Self(vec![("length".to_owned(), length.into())])
    }

    /// From one window to the next.
    #[must_use]
    pub fn slide(mut self, slide: &str) -> Self {
        set(&mut self.0, "slide", slide.into());
        self
    }

    /// Over event time, by this column.
    #[must_use]
    pub fn on(mut self, column: &str) -> Self {
        set(&mut self.0, "on", column.into());
        self
    }
}

impl From<&str> for Window {
    fn from(length: &str) -> Self {
        Self::of(length)
    }
}

impl From<(&str, &str)> for Window {
    fn from((length, slide): (&str, &str)) -> Self {
        Self::of(length).slide(slide)
    }
}

impl<'a, K> Stream<'a, K> {
    pub(crate) fn new(application: &'a Application, index: usize) -> Self {
        Self { application, index, kind: PhantomData }
    }

    /// Calls it so: in queries, in logs, and where its states are kept.
    pub fn named(self, name: &str) -> Self {
        self.application.change(self.index, |entry| entry.name = Some(name.to_owned()));
        self
    }

    /// Sets a key of it, as the pipeline file has it.
    pub fn key(self, key: &str, value: impl Into<Toml>) -> Self {
        let value = value.into();
        self.application.change(self.index, |entry| set(&mut entry.keys, key, value));
        self
    }

    /// A stream of it by any operation, as the pipeline file has it: `operation("map", "other.function")`.
    pub fn operation(self, key: &str, value: impl Into<Toml>) -> Stream<'a> {
        self.next("stream", key, value.into())
    }

    /// A row for each row.
    pub fn map<F: Described<kind::Map>>(self, _: Named<F>) -> Stream<'a, kind::Map> {
        self.called::<F, _>("map")
    }

    /// Any number of rows for each row.
    pub fn flat_map<F: Described<kind::FlatMap>>(self, _: Named<F>) -> Stream<'a, kind::FlatMap> {
        self.called::<F, _>("flat-map")
    }

    /// The rows that stay.
    pub fn filter<F: Described<kind::Filter>>(self, _: Named<F>) -> Stream<'a, kind::Filter> {
        self.called::<F, _>("filter")
    }

    /// Whole partitions of rows, into others.
    pub fn transform<F: Described<kind::Transform>>(self, _: Named<F>) -> Stream<'a, kind::Transform> {
        self.called::<F, _>("transform")
    }

    /// The rows of each key that [`by`](Stream::by) says, or all of them, into one.
    pub fn reduce<F: Described<kind::Reduce>>(self, _: Named<F>) -> Stream<'a, kind::Reduce> {
        self.called::<F, _>("reduce")
    }

    /// The state of each key that [`by`](Stream::by) says, with its new rows into a new one.
    pub fn update_state<F: Described<kind::UpdateState>>(self, _: Named<F>) -> Stream<'a, kind::UpdateState> {
        self.called::<F, _>("update-state")
    }

    /// SQL aggregates by name, as in `[("total", "count(*)")]`, of all rows or of each key that [`by`](Stream::by) says.
    pub fn aggregate<'n>(
        self,
        outputs: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Stream<'a, kind::Aggregate> {
        self.next("aggregate", "aggregate", table(outputs))
    }

    /// How often each row is there, in the column `count` behind the row's own.
    pub fn count_by_value(self) -> Stream<'a> {
        let counts = |name: &str| format!("SELECT *, count(*) AS count FROM {name} GROUP BY ALL");
        self.defined(Entry { query: Some(counts), ..Entry::new(Group::Streams, "counts", Vec::new()) })
    }

    /// The rows of several batches.
    pub fn window(self, window: impl Into<Window>) -> Stream<'a> {
        self.next("window", "window", Toml::Table(window.into().0))
    }

    /// Pairs of rows of both that have the same values in these columns.
    pub fn join<O, T: Into<String>>(
        self,
        other: Stream<'a, O>,
        on: impl IntoIterator<Item = T>,
    ) -> Stream<'a, kind::Join> {
        self.with(other, "join", Some(table([("on", columns(on))])))
    }

    /// The rows of both by the values of these columns, as lists.
    pub fn cogroup<O, T: Into<String>>(
        self,
        other: Stream<'a, O>,
        on: impl IntoIterator<Item = T>,
    ) -> Stream<'a> {
        self.with(other, "cogroup", Some(table([("on", columns(on))])))
    }

    /// The rows of both.
    pub fn union<O>(self, other: Stream<'a, O>) -> Stream<'a> {
        self.with(other, "union", None)
    }

    /// The same rows in so many partitions.
    pub fn repartition(self, partitions: u32) -> Stream<'a, kind::Repartition> {
        self.next("repartition", "repartition", table([("partitions", partitions)]))
    }

    /// The rows that came too late for the windows of this stream.
    pub fn late(self) -> Stream<'a> {
        self.next("late", "late", true.into())
    }

    /// Shows its first rows on the screen, batch by batch.
    pub fn print(self) -> Definition<'a> {
        self.sunk("print", vec![("type", "print".into())])
    }

    /// Writes it to files of a folder: as `"text"`, `"json"`, `"csv"` or `"parquet"`.
    pub fn save(self, folder: &str, format: &str) -> Definition<'a> {
        self.sunk("files", vec![("type", "files".into()), ("path", folder.into()), ("format", format.into())])
    }

    /// Hands it to a sink of the component.
    pub fn sink<F: Described<kind::Sink>>(self, _: Named<F>) -> Definition<'a> {
        let function = self.application.call(&F::FUNCTION);
        self.sunk("sink", vec![("plugin", function.into())])
    }

    fn called<F: Described<K2>, K2>(self, operation: &'static str) -> Stream<'a, K2> {
        let function = self.application.call(&F::FUNCTION);
        self.next(operation, operation, table([("function", function)]))
    }

    fn next<K2>(self, base: &'static str, operation: &str, value: Toml) -> Stream<'a, K2> {
        self.defined(Entry::new(Group::Streams, base, vec![(operation.to_owned(), value)]))
    }

    fn with<O, K2>(
        self,
        other: Stream<'a, O>,
        operation: &'static str,
        value: Option<Toml>,
    ) -> Stream<'a, K2> {
        let keys = value.into_iter().map(|value| (operation.to_owned(), value)).collect();
        let stream = self.defined(Entry::new(Group::Streams, operation, keys));
        self.application.change(stream.index, |entry| entry.from.push(other.index));
        stream
    }

    fn defined<K2>(self, entry: Entry) -> Stream<'a, K2> {
        let defined = self.application.define(Entry { from: vec![self.index], ..entry });
        Stream::new(self.application, defined.index)
    }

    fn sunk(self, base: &'static str, keys: Vec<(&str, Toml)>) -> Definition<'a> {
        let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.application.define(Entry { from: vec![self.index], ..Entry::new(Group::Sinks, base, keys) })
    }

    /// Sets a key of the stream's operation.
    fn detail(self, key: &str, value: Toml) -> Self {
        self.application.change(self.index, |entry| {
            if let Some((_, Toml::Table(entries))) = entry.keys.first_mut() {
                set(entries, key, value);
            }
        });
        self
    }
}

impl Stream<'_, kind::Source> {
    /// JSON objects, a line each, with the columns of a row.
    pub fn json<T: Row>(self) -> Self {
        self.key("format", "json").key("schema", schema::<T>())
    }

    /// Comma-separated values, with the columns of a row in this order.
    pub fn csv<T: Row>(self) -> Self {
        self.key("format", "csv").key("schema", schema::<T>())
    }

    /// Parquet, with the columns of a row.
    pub fn parquet<T: Row>(self) -> Self {
        self.key("format", "parquet").key("schema", schema::<T>())
    }
}

impl<K: Calls> Stream<'_, K> {
    /// The columns that the function's inputs are, in their order.
    pub fn columns<T: Into<String>>(self, columns: impl IntoIterator<Item = T>) -> Self {
        self.detail("columns", self::columns(columns))
    }

    /// What becomes of rows that the function fails on: `"dead-letter"`, `"skip"` or `"stop"`.
    pub fn on_error(self, reaction: &str) -> Self {
        self.key("on-error", reaction)
    }
}

impl Stream<'_, kind::Map> {
    /// Keeps the columns that the function takes.
    pub fn keep_columns(self) -> Self {
        self.detail("keep-columns", true.into())
    }
}

impl Stream<'_, kind::FlatMap> {
    /// Keeps the columns that the function takes.
    pub fn keep_columns(self) -> Self {
        self.detail("keep-columns", true.into())
    }
}

impl<K: Keyed> Stream<'_, K> {
    /// The columns of the key.
    pub fn by<T: Into<String>>(self, columns: impl IntoIterator<Item = T>) -> Self {
        self.detail("by", self::columns(columns))
    }
}

impl<K: Spanning> Stream<'_, K> {
    /// Over a window, and not over each batch.
    pub fn over(self, window: impl Into<Window>) -> Self {
        self.detail("window", Toml::Table(window.into().0))
    }
}

impl Stream<'_, kind::Reduce> {
    /// What takes out of a total what leaves the window.
    pub fn inverse<F: Described<kind::Inverse>>(self, _: Named<F>) -> Self {
        let function = self.application.call(&F::FUNCTION);
        self.detail("inverse", function.into())
    }

    /// The SQL condition for which a key stays that has an inverse.
    pub fn keep(self, condition: &str) -> Self {
        self.detail("keep", condition.into())
    }
}

impl<'a> Stream<'a, kind::UpdateState> {
    /// How long a key without rows keeps its state.
    pub fn timeout(self, timeout: &str) -> Self {
        self.detail("timeout", timeout.into())
    }

    /// The table of the states to begin with, by its name.
    pub fn initial(self, table: &str) -> Self {
        self.detail("initial", table.into())
    }

    /// Calls the function for all keys in every batch.
    pub fn every_key(self) -> Self {
        self.detail("every-key", true.into())
    }

    /// All keys with their states, after each batch.
    pub fn snapshot(self) -> Stream<'a> {
        self.next("snapshot", "snapshot", true.into())
    }
}

impl Stream<'_, kind::Join> {
    /// Which rows stay that have no partner: `"left"`, `"right"` or `"full"`.
    pub fn kind(self, kind: &str) -> Self {
        self.detail("kind", kind.into())
    }
}

fn columns<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Toml {
    Toml::List(names.into_iter().map(|name| Toml::Text(name.into())).collect())
}

/// The columns of a row and their types.
fn schema<T: Row>() -> Toml {
    let mut schema = Schema::default();
    T::fields("value", &mut schema);
    table(schema.fields.iter().map(|field| (field.name.as_str(), type_name(&schema, field.data_type))))
}

fn type_name(schema: &Schema, data_type: DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Timestamp => "timestamp".to_owned(),
        DataType::Utf8 => "utf8".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::List(item) => format!("list<{}>", type_name(schema, schema.items[item as usize].data_type)),
    }
}

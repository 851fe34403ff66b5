use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::pipeline::{GrantKind, PluginSpec, TableSpec};
use millstream_model::{
    Answered, CallContext, DataType, Field, Folded, Function, FunctionDescription, FunctionError,
    FunctionKind, Groups, Inverse, Need, PluginDescription, Reduce, Schema, Update, UpdateState, Updated,
};

use crate::{Component, Components, LoadError, LoadedTable};

/// Knows two components: `text.wasm`, and `needy.wasm`, which is the same and cannot do without some grants.
pub(super) struct FakeComponents;

#[async_trait]
impl Components for FakeComponents {
    async fn load(&self, plugin: &PluginSpec) -> Result<Arc<dyn Component>, LoadError> {
        match plugin.component.value.to_str() {
            Some("folder/text.wasm") => Ok(Arc::new(FakeComponent::text())),
            Some("folder/needy.wasm") => Ok(Arc::new(FakeComponent::needy())),
            _ => Err("no such file".into()),
        }
    }

    async fn table(&self, table: &TableSpec, _bytes_max: u64) -> Result<LoadedTable, LoadError> {
        match table.path.value.to_str() {
            Some("folder/states.json") => Ok(table_of(&[Some("a"), Some("b")], table.schema.as_ref())),
            Some("folder/nulls.json") => Ok(table_of(&[Some("a"), None], table.schema.as_ref())),
            Some("folder/twice.json") => Ok(table_of(&[Some("a"), Some("a")], table.schema.as_ref())),
            Some("folder/customers.csv") => Ok(table_of(&[], Some(&customers()))),
            _ => Err("no such file".into()),
        }
    }
}

fn customers() -> Schema {
    Schema::new([Field::new("id", DataType::Int64), Field::new("user", DataType::Utf8)])
}

/// States by user, in columns that the file does not name: `user`, `state` and one more.
fn table_of(users: &[Option<&str>], named: Option<&Schema>) -> LoadedTable {
    let nullable = |name: &str, data_type| Field { nullable: true, ..Field::new(name, data_type) };
    let found = Schema::new([
        nullable("note", DataType::Utf8),
        nullable("state", DataType::Int64),
        nullable("user", DataType::Utf8),
    ]);
    let schema = named.cloned().unwrap_or(found);
    let columns = schema.fields.iter().map(|field| match field.data_type {
        DataType::Int64 => Arc::new(Int64Array::from(vec![7; users.len()])) as ArrayRef,
        _ => Arc::new(StringViewArray::from_iter(users.iter().copied())),
    });
    let rows = RecordBatch::try_new(Arc::new(schema.to_arrow()), columns.collect()).unwrap();
    LoadedTable { rows: vec![rows], schema, bytes: 100 }
}

struct FakeComponent(PluginDescription);

impl FakeComponent {
    fn text() -> Self {
        use DataType::{Float64, Int64, Timestamp, Utf8};
        use FunctionKind as K;
        let functions = vec![
            function("split-words", K::FlatMap, &[("line", Utf8)], &[("word", Utf8)]),
            function("shout", K::Map, &[("value", Utf8)], &[("value", Utf8)]),
            function("is-long", K::Filter, &[("value", Utf8)], &[]),
            function("scale", K::Map, &[("amount", Float64)], &[("scaled", Float64)]),
            function("tag", K::Map, &[("value", Utf8), ("word", Utf8)], &[("tag", Utf8)]),
            function("sort", K::Transform, &[("value", Utf8)], &[("value", Utf8)]),
            function("add", K::Reduce, &[("amount", Float64)], &[("amount", Float64)]),
            function("tail", K::Receiver, &[], &[("line", Utf8), ("at", Timestamp)]),
            FunctionDescription {
                input: nullable(&[("user", Utf8), ("amount", Float64)]),
                ..function("post", K::Sink, &[], &[])
            },
            function("picky", K::Sink, &[("value", Utf8)], &[]),
            function("picky-tail", K::Receiver, &[], &[("line", Utf8)]),
            FunctionDescription {
                state: Schema::new([Field::new("state", Int64)]),
                ..function("count", K::UpdateState, &[], &[("count", Int64)])
            },
        ];
        Self(PluginDescription { name: "text".to_owned(), functions, ..PluginDescription::default() })
    }

    fn needy() -> Self {
        let need = |(grant, what): (GrantKind, &str)| Need { grant, what: what.to_owned() };
        let needs = [
            (GrantKind::Http, "the rates"),
            (GrantKind::Environment, "LANG"),
            (GrantKind::Read, "a dictionary"),
        ];
        Self(PluginDescription { needs: needs.map(need).to_vec(), ..Self::text().0 })
    }

    fn is(&self, index: usize, kind: FunctionKind) -> bool {
        self.0.functions[index].kind == kind
    }

    fn fake(&self, index: usize) -> FakeFunction {
        FakeFunction(self.0.functions[index].clone())
    }
}

#[async_trait]
impl Component for FakeComponent {
    fn description(&self) -> &PluginDescription {
        &self.0
    }

    fn function(&self, index: usize) -> Arc<dyn Function> {
        Arc::new(self.fake(index))
    }

    async fn check(&self, index: usize) -> Result<(), String> {
        match self.0.functions[index].name.starts_with("picky") {
            true => Err("there is no `url`".to_owned()),
            false => Ok(()),
        }
    }

    fn reduce(&self, index: usize) -> Option<Arc<dyn Reduce>> {
        self.is(index, FunctionKind::Reduce).then(|| Arc::new(self.fake(index)) as Arc<dyn Reduce>)
    }

    fn inverse(&self, index: usize) -> Option<Arc<dyn Inverse>> {
        self.is(index, FunctionKind::Inverse).then(|| Arc::new(self.fake(index)) as Arc<dyn Inverse>)
    }

    fn update_state(&self, index: usize) -> Option<Arc<dyn UpdateState>> {
        self.is(index, FunctionKind::UpdateState).then(|| Arc::new(self.fake(index)) as Arc<dyn UpdateState>)
    }
}

fn nullable(fields: &[(&str, DataType)]) -> Schema {
    let field = |(name, data_type): &(&str, DataType)| Field {
        nullable: true,
        ..Field::new(*name, data_type.clone())
    };
    Schema::new(fields.iter().map(field))
}

fn function(
    name: &str,
    kind: FunctionKind,
    input: &[(&str, DataType)],
    output: &[(&str, DataType)],
) -> FunctionDescription {
    let schema = |fields: &[(&str, DataType)]| {
        Schema::new(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone())))
    };
    FunctionDescription {
        name: name.to_owned(),
        kind,
        input: schema(input),
        output: schema(output),
        keys: Schema::default(),
        state: Schema::default(),
        state_version: 0,
        migrations: Vec::new(),
        documentation: String::new(),
    }
}

#[derive(Debug)]
struct FakeFunction(FunctionDescription);

#[async_trait]
impl Function for FakeFunction {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn call(&self, _: CallContext, _: RecordBatch) -> Result<Answered, FunctionError> {
        unreachable!("checking calls nothing")
    }
}

#[async_trait]
impl Reduce for FakeFunction {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn fold(&self, _: CallContext, _: RecordBatch, _: Groups) -> Result<Folded, FunctionError> {
        unreachable!("checking calls nothing")
    }
}

#[async_trait]
impl Inverse for FakeFunction {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn take_out(
        &self,
        _: CallContext,
        _: RecordBatch,
        _: RecordBatch,
    ) -> Result<Folded, FunctionError> {
        unreachable!("checking calls nothing")
    }
}

#[async_trait]
impl UpdateState for FakeFunction {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn update(&self, _: CallContext, _: Update) -> Result<Updated, FunctionError> {
        unreachable!("checking calls nothing")
    }
}

//! What a plugin says of itself, as it crosses the component's edge.

use crate::function::Kind;
use crate::migration::Migration;
use crate::need::{GrantKind, Need};
use crate::schema::{DataType, Field, Schema};
use crate::wasm::bindings::exports::millstream::plugin::description;
use crate::wasm::bindings::millstream::plugin::types;

pub(crate) fn need(need: &Need) -> description::Need {
    let grant = match need.grant {
        GrantKind::Network => description::GrantKind::Network,
        GrantKind::Http => description::GrantKind::Http,
        GrantKind::Read => description::GrantKind::Read,
        GrantKind::Write => description::GrantKind::Write,
        GrantKind::Environment => description::GrantKind::Environment,
    };
    description::Need { grant, what: need.what.to_owned() }
}

pub(crate) fn function(function: &crate::Function) -> description::Function {
    description::Function {
        name: function.name.to_owned(),
        kind: match function.kind {
            Kind::Map => description::FunctionKind::Map,
            Kind::FlatMap => description::FunctionKind::FlatMap,
            Kind::Filter => description::FunctionKind::Filter,
            Kind::Transform => description::FunctionKind::Transform,
            Kind::Reduce => description::FunctionKind::Reduce,
            Kind::Inverse => description::FunctionKind::Inverse,
            Kind::UpdateState => description::FunctionKind::UpdateState,
            Kind::Receiver => description::FunctionKind::Receiver,
            Kind::Sink => description::FunctionKind::Sink,
        },
        input: schema(function.input()),
        output: schema(function.output()),
        keys: schema(function.keys()),
        state: schema(function.state()),
        state_version: function.state_version,
        migrations: function
            .migrations
            .iter()
            .map(|migration| self::migration(function, migration))
            .collect(),
        documentation: function.documentation.to_owned(),
    }
}

fn migration(function: &crate::Function, migration: &Migration) -> description::Migration {
    description::Migration {
        version: migration.version,
        keys: schema(migration.keys()),
        state: schema(migration.state()),
        new_keys: schema(migration.new_keys()),
        merges: function.merge.is_some(),
    }
}

fn schema(schema: Schema) -> types::Schema {
    types::Schema {
        fields: schema.fields.into_iter().map(field).collect(),
        items: schema.items.into_iter().map(field).collect(),
    }
}

fn field(field: Field) -> types::Field {
    let data_type = match field.data_type {
        DataType::Boolean => types::DataType::Boolean,
        DataType::Int64 => types::DataType::Int64,
        DataType::Float64 => types::DataType::Float64,
        DataType::Timestamp => types::DataType::Timestamp,
        DataType::Utf8 => types::DataType::Utf8,
        DataType::Binary => types::DataType::Binary,
        DataType::List(item) => types::DataType::List(item),
    };
    types::Field { name: field.name, data_type, nullable: field.nullable }
}

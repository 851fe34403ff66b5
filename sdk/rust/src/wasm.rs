//! The component's edge: the generated bindings, and the moves between their types and the SDK's. No buffer is copied.
#![allow(unsafe_code, reason = "text from the host is UTF-8 by contract and is not checked again")]

use crate::accumulators;
use crate::function::{Answer, Context, Kind, Plugin};
use crate::host::Level;
use crate::schema::{DataType, Field, Schema};
use crate::table::{Column, Lists, Table, Values, Varying};

use bindings::exports::millstream::plugin::{description, transform};
use bindings::millstream::plugin::{accumulators as host_accumulators, host, types};

/// What `wit-bindgen` makes of the world `transforms`.
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "transforms",
        pub_export_macro: true,
        default_bindings_module: "millstream_sdk::wasm::bindings",
    });
}

/// The type that `export!` makes, and that the component's exports are of.
pub trait Component {
    /// The plugin.
    const PLUGIN: Plugin;
}

impl<C: Component> description::Guest for C {
    fn describe() -> description::Plugin {
        description::Plugin {
            name: C::PLUGIN.name.to_owned(),
            version: C::PLUGIN.version.to_owned(),
            documentation: C::PLUGIN.documentation.to_owned(),
            functions: C::PLUGIN.functions.iter().map(function).collect(),
        }
    }
}

impl<C: Component> transform::Guest for C {
    fn call(
        function: u32,
        context: transform::Context,
        rows: types::Table,
    ) -> Result<transform::Answer, types::Error> {
        let context = Context { batch_time_ms: context.batch_time_ms, partition: context.partition };
        // What was added outside a call belongs to no batch.
        drop(accumulators::take());
        let called = C::PLUGIN.call(function as usize, &table_in(rows), context);
        accumulators::take().iter().for_each(|(name, amount)| host_accumulators::add(name, *amount));
        called.map(answer).map_err(|error| types::Error::Rejected(error.to_string()))
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

pub(crate) fn config(key: &str) -> Option<String> {
    host::config(key)
}

fn function(function: &crate::Function) -> description::Function {
    description::Function {
        name: function.name.to_owned(),
        kind: match function.kind {
            Kind::Map => description::FunctionKind::Map,
            Kind::FlatMap => description::FunctionKind::FlatMap,
            Kind::Filter => description::FunctionKind::Filter,
            Kind::Transform => description::FunctionKind::Transform,
        },
        input: schema(function.input()),
        output: schema(function.output()),
        state: schema(Schema::default()),
        state_version: 0,
        documentation: function.documentation.to_owned(),
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

fn answer(answer: Answer) -> transform::Answer {
    match answer {
        Answer::Rows(rows) => transform::Answer::Rows(table_out(rows)),
        Answer::Expansion { rows, origins } => {
            transform::Answer::Expansion(transform::Expansion { rows: table_out(rows), origins })
        }
        Answer::Selection(bits) => transform::Answer::Selection(bits),
    }
}

fn table_in(table: types::Table) -> Table {
    Table {
        rows: table.rows as usize,
        columns: table.columns.into_iter().map(column_in).collect(),
        items: table.items.into_iter().map(column_in).collect(),
    }
}

fn column_in(column: types::Column) -> Column {
    let values = match column.values {
        types::Values::Boolean(bits) => Values::Boolean(bits),
        types::Values::Int64(values) => Values::Int64(values),
        types::Values::Float64(values) => Values::Float64(values),
        types::Values::Timestamp(values) => Values::Timestamp(values),
        types::Values::Utf8(varying) => {
            // SAFETY: the contract has the host pass UTF-8, which it checks for every source.
            let data = unsafe { String::from_utf8_unchecked(varying.data) };
            Values::Utf8(Varying { offsets: varying.offsets, data })
        }
        types::Values::Binary(varying) => {
            Values::Binary(Varying { offsets: varying.offsets, data: varying.data })
        }
        types::Values::List(lists) => Values::List(Lists { offsets: lists.offsets, item: lists.item }),
    };
    Column { validity: column.validity, values }
}

fn table_out(table: Table) -> types::Table {
    types::Table {
        rows: u32::try_from(table.rows).expect("a component's memory holds less than 4 billion rows"),
        columns: table.columns.into_iter().map(column_out).collect(),
        items: table.items.into_iter().map(column_out).collect(),
    }
}

fn column_out(column: Column) -> types::Column {
    let values = match column.values {
        Values::Boolean(bits) => types::Values::Boolean(bits),
        Values::Int64(values) => types::Values::Int64(values),
        Values::Float64(values) => types::Values::Float64(values),
        Values::Timestamp(values) => types::Values::Timestamp(values),
        Values::Utf8(text) => {
            types::Values::Utf8(types::Varying { offsets: text.offsets, data: text.data.into_bytes() })
        }
        Values::Binary(bytes) => {
            types::Values::Binary(types::Varying { offsets: bytes.offsets, data: bytes.data })
        }
        Values::List(lists) => types::Values::List(types::Lists { offsets: lists.offsets, item: lists.item }),
    };
    types::Column { validity: column.validity, values }
}

//! A plugin that does all that a plugin must not do, to show that the host survives it.
//!
//! It speaks the contract by hand, for the SDK does not let one do such things. Every function is described honestly and
//! misbehaves only when it is called: see `behaviour`.
#![cfg(target_family = "wasm")]
#![allow(unsafe_code, reason = "the generated exports")]

mod behaviour;

/// What `wit-bindgen` makes of the world `transforms`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "transforms" });
}

use behaviour::FUNCTIONS;
use bindings::exports::millstream::plugin::description::{self, FunctionKind};
use bindings::exports::millstream::plugin::transform::{self, Answer, Context};
use bindings::millstream::plugin::accumulators;
use bindings::millstream::plugin::types::{DataType, Error, Field, Schema, Table};

struct Hostile;

impl description::Guest for Hostile {
    fn describe() -> description::Plugin {
        // Outside a call there is nothing to count for.
        accumulators::add("rows", 1_000_000);
        description::Plugin {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            documentation: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            functions: FUNCTIONS.iter().map(|function| describe(function.name, function.kind)).collect(),
        }
    }
}

impl transform::Guest for Hostile {
    fn call(function: u32, _: Context, rows: Table) -> Result<Answer, Error> {
        (FUNCTIONS[function as usize].call)(rows)
    }
}

/// All functions read the column `value`; all but filters answer with the column `word`.
fn describe(name: &str, kind: FunctionKind) -> description::Function {
    let (fields, items) = match (name, kind) {
        (_, FunctionKind::Filter) => (vec![], vec![]),
        ("list-cycle", _) => (vec![field("word", DataType::List(0))], vec![field("item", DataType::Utf8)]),
        _ => (vec![field("word", DataType::Utf8)], vec![]),
    };
    description::Function {
        name: name.to_owned(),
        kind,
        input: Schema { fields: vec![field("value", DataType::Utf8)], items: vec![] },
        output: Schema { fields, items },
        state: Schema { fields: vec![], items: vec![] },
        state_version: 0,
        documentation: format!("Misbehaves: {name}."),
    }
}

fn field(name: &str, data_type: DataType) -> Field {
    Field { name: name.to_owned(), data_type, nullable: false }
}

bindings::export!(Hostile with_types_in bindings);

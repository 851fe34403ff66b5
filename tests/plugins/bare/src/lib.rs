//! A plugin of the world `transforms`: it exports none of the interfaces of other kinds.
//!
//! The key `describe` of its configuration has it describe one function more, to show what the host says of a plugin whose
//! description is not true.
#![cfg(target_family = "wasm")]
#![allow(unsafe_code, reason = "the generated exports")]

/// What `wit-bindgen` makes of the world `transforms`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "transforms" });
}

use bindings::exports::millstream::plugin::description::{self, FunctionKind, Migration};
use bindings::exports::millstream::plugin::transform::{self, Answer};
use bindings::millstream::plugin::host;
use bindings::millstream::plugin::types::{Context, DataType, Error, Field, Schema, Table};

struct Bare;

impl description::Guest for Bare {
    fn describe() -> description::Plugin {
        let wanted = host::config("describe").unwrap_or_default();
        let same = function("same", FunctionKind::Map, "value", "value");
        description::Plugin {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            documentation: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            functions: std::iter::once(same).chain(untrue(wanted.trim_matches('"'))).collect(),
            needs: vec![],
        }
    }
}

/// A function that the host has to refuse.
fn untrue(wanted: &str) -> Option<description::Function> {
    let one = || Schema { fields: vec![field("state")], items: vec![] };
    Some(match wanted {
        "reduce" => function("more", FunctionKind::Reduce, "value", "value"),
        "inverse" => function("more", FunctionKind::Inverse, "value", "value"),
        "update-state" => description::Function {
            state: one(),
            state_version: 1,
            ..function("more", FunctionKind::UpdateState, "value", "word")
        },
        "other-columns" => function("more", FunctionKind::Reduce, "value", "word"),
        "no-state" => function("more", FunctionKind::UpdateState, "value", "word"),
        "no-version" => description::Function {
            state: one(),
            ..function("more", FunctionKind::UpdateState, "value", "word")
        },
        "migrations" => update_state(vec![migration(1, "state", "word")]),
        "migrates-its-own" => {
            update_state(vec![migration(1, "state", "word"), migration(2, "state", "word")])
        }
        "migrates-twice" => update_state(vec![migration(1, "state", "word"), migration(1, "other", "word")]),
        "migrates-none" => update_state(vec![migration(0, "state", "word")]),
        "migrates-nothing" => {
            let nothing = Schema { fields: vec![], items: vec![] };
            update_state(vec![Migration { state: nothing, ..migration(1, "state", "word") }])
        }
        "migrates-to-other-keys" => {
            let keys =
                Schema { fields: vec![Field { data_type: DataType::Int64, ..field("word") }], items: vec![] };
            update_state(vec![Migration { new_keys: keys, ..migration(1, "state", "word") }])
        }
        "migrates-two-fields-of-a-name" => {
            let twice = Schema { fields: vec![field("state"), field("state")], items: vec![] };
            update_state(vec![Migration { state: twice, ..migration(1, "state", "word") }])
        }
        "map-that-migrates" => description::Function {
            migrations: vec![migration(1, "state", "word")],
            ..function("more", FunctionKind::Map, "value", "word")
        },
        "map-with-state" => {
            description::Function { state: one(), ..function("more", FunctionKind::Map, "value", "word") }
        }
        "map-with-keys" => {
            description::Function { keys: one(), ..function("more", FunctionKind::Map, "value", "word") }
        }
        _ => return None,
    })
}

/// An update-state of the version 2.
fn update_state(migrations: Vec<Migration>) -> description::Function {
    description::Function {
        keys: Schema { fields: vec![field("word")], items: vec![] },
        state: Schema { fields: vec![field("state")], items: vec![] },
        state_version: 2,
        migrations,
        ..function("more", FunctionKind::UpdateState, "value", "word")
    }
}

fn migration(version: u32, state: &str, key: &str) -> Migration {
    let columns = |name| Schema { fields: vec![field(name)], items: vec![] };
    Migration { version, keys: columns(key), state: columns(state), new_keys: columns(key), merges: false }
}

impl transform::Guest for Bare {
    fn call(_: u32, _: Context, rows: Table) -> Result<Answer, Error> {
        Ok(Answer::Rows(rows))
    }
}

fn function(name: &str, kind: FunctionKind, input: &str, output: &str) -> description::Function {
    let columns = |name| Schema { fields: vec![field(name)], items: vec![] };
    let none = || Schema { fields: vec![], items: vec![] };
    description::Function {
        name: name.to_owned(),
        kind,
        input: columns(input),
        output: columns(output),
        keys: none(),
        state: none(),
        state_version: 0,
        migrations: vec![],
        documentation: String::new(),
    }
}

fn field(name: &str) -> Field {
    Field { name: name.to_owned(), data_type: DataType::Utf8, nullable: false }
}

bindings::export!(Bare with_types_in bindings);

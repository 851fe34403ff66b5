//! A plugin that does all that a plugin must not do, to show that the host survives it.
//!
//! It speaks the contract by hand, for the SDK does not let one do such things. Every function is described honestly and
//! misbehaves only when it is called: see `behaviour`.
#![cfg(target_family = "wasm")]
#![allow(unsafe_code, reason = "the generated exports")]

mod behaviour;
mod keyed;
mod migrating;

/// What `wit-bindgen` makes of the world `plugin`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });
}

use behaviour::FUNCTIONS;
use bindings::exports::millstream::plugin::description::{self, FunctionKind, Migration};
use bindings::exports::millstream::plugin::transform::{self, Answer};
use bindings::exports::millstream::plugin::{migrate_state, reduce, update_state};
use bindings::millstream::plugin::accumulators;
use bindings::millstream::plugin::types::{Context, DataType, Error, Field, Schema, Table};
use keyed::{FOLDS, TAKE_OUTS, UPDATES, Update};
use migrating::{MERGES, MIGRATIONS};

struct Hostile;

impl description::Guest for Hostile {
    fn describe() -> description::Plugin {
        // Outside a call there is nothing to count for.
        accumulators::add("rows", 1_000_000);
        let folds = FOLDS.iter().map(|(name, _)| (*name, FunctionKind::Reduce));
        let take_outs = TAKE_OUTS.iter().map(|(name, _)| (*name, FunctionKind::Inverse));
        let updates = UPDATES.iter().map(|(name, _)| (*name, FunctionKind::UpdateState));
        let functions = FUNCTIONS.iter().map(|function| (function.name, function.kind));
        let functions = functions.chain(folds).chain(take_outs).chain(updates);
        let migrations = MIGRATIONS.iter().map(|(name, _)| describe_migration(name));
        let merges = MERGES.iter().map(|(name, _)| describe_migration(name));
        let functions = functions.map(|(name, kind)| describe(name, kind)).chain(migrations).chain(merges);
        description::Plugin {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            documentation: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            functions: functions.collect(),
            needs: vec![],
        }
    }
}

impl transform::Guest for Hostile {
    fn call(function: u32, _: Context, rows: Table) -> Result<Answer, Error> {
        (FUNCTIONS[function as usize].call)(rows)
    }
}

impl reduce::Guest for Hostile {
    fn fold(function: u32, _: Context, rows: Table, groups: Vec<u32>, count: u32) -> Result<Table, Error> {
        let (_, fold) = FOLDS[function as usize - FUNCTIONS.len()];
        fold(rows, groups, count)
    }

    fn take_out(function: u32, _: Context, totals: Table, taken: Table) -> Result<Table, Error> {
        let (_, take_out) = TAKE_OUTS[function as usize - FUNCTIONS.len() - FOLDS.len()];
        take_out(totals, taken)
    }
}

impl update_state::Guest for Hostile {
    fn update(
        function: u32,
        _: Context,
        keys: Table,
        states: Table,
        present: Vec<u8>,
        timed_out: Vec<u8>,
        groups: Vec<u32>,
        rows: Table,
    ) -> Result<update_state::Outcome, Error> {
        let (_, update) = UPDATES[function as usize - FUNCTIONS.len() - FOLDS.len() - TAKE_OUTS.len()];
        update(Update { keys, states, present, timed_out, groups, rows })
    }
}

/// The number of the first function that migrates.
const FIRST_MIGRATION: usize = FUNCTIONS.len() + FOLDS.len() + TAKE_OUTS.len() + UPDATES.len();

impl migrate_state::Guest for Hostile {
    fn migrate(function: u32, _: u32, keys: Table, states: Table) -> Result<migrate_state::Migrated, Error> {
        let (_, migrate) = MIGRATIONS[function as usize - FIRST_MIGRATION];
        migrate(keys, states)
    }

    fn merge(function: u32, states: Table, groups: Vec<u32>, count: u32) -> Result<Table, Error> {
        let (_, merge) = MERGES[function as usize - FIRST_MIGRATION - MIGRATIONS.len()];
        merge(states, groups, count)
    }
}

/// An update-state that misbehaves when it takes over the states of version 1. Only those that are called for it keep keys, or
/// do not merge.
fn describe_migration(name: &str) -> description::Function {
    let text = |name| Schema { fields: vec![field(name, DataType::Utf8)], items: vec![] };
    let keeps = name.starts_with("keep");
    let migration = Migration {
        version: 1,
        keys: text("value"),
        state: text("state"),
        new_keys: if keeps { Schema { fields: vec![], items: vec![] } } else { text("value") },
        merges: name.starts_with("merge"),
    };
    description::Function {
        state_version: 2,
        migrations: vec![migration],
        ..describe(name, FunctionKind::UpdateState)
    }
}

/// All functions read the column `value`; all but filters answer with one column, which reduces and inverses call by the
/// same name. An update-state reads the key `value` and keeps the field `state`.
fn describe(name: &str, kind: FunctionKind) -> description::Function {
    use FunctionKind::{Filter, Inverse, Reduce, UpdateState};
    let text = |name| Schema { fields: vec![field(name, DataType::Utf8)], items: vec![] };
    let none = || Schema { fields: vec![], items: vec![] };
    let output = match (name, kind) {
        (_, Filter) => none(),
        (_, Reduce | Inverse) => text("value"),
        ("list-cycle", _) => Schema {
            fields: vec![field("word", DataType::List(0))],
            items: vec![field("item", DataType::Utf8)],
        },
        _ => text("word"),
    };
    let keeps = matches!(kind, UpdateState);
    description::Function {
        name: name.to_owned(),
        kind,
        input: text("value"),
        output,
        keys: if keeps { text("value") } else { none() },
        state: if keeps { text("state") } else { none() },
        state_version: u32::from(keeps),
        migrations: vec![],
        documentation: format!("Misbehaves: {name}."),
    }
}

fn field(name: &str, data_type: DataType) -> Field {
    Field { name: name.to_owned(), data_type, nullable: false }
}

bindings::export!(Hostile with_types_in bindings);

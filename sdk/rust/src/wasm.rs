//! The component's edge: the generated bindings, and the moves between their types and the SDK's. No buffer is copied.
#![allow(unsafe_code, reason = "text from the host is UTF-8 by contract and is not checked again")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::accumulators;
use crate::application::{self, Application};
use crate::error::Error;
use crate::fold::Groups;
use crate::function::{Answer, Context, Plugin};
use crate::host::Level;
use crate::migration::Migrated;
use crate::outside::{Batch, Delivery, Fault, Receiving, Writing};
use crate::state::{Outcome, Updates};
use crate::table::{Column, Lists, Table, Values, Varying};
use crate::wasm_description::{function, need};

use bindings::exports::millstream::plugin::{
    description, migrate_state, receiver, reduce, settings, sink, transform, update_state,
};
use bindings::millstream::plugin::{accumulators as host_accumulators, host, types};

/// What `wit-bindgen` makes of the world `complete`.
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "complete",
        pub_export_macro: true,
        default_bindings_module: "millstream_sdk::wasm::bindings",
    });
}

/// What `wit-bindgen` makes of the world of components that carry their pipeline.
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
pub mod carrier {
    wit_bindgen::generate!({
        path: "wit",
        world: "application-only",
        pub_export_macro: true,
        default_bindings_module: "millstream_sdk::wasm::carrier",
    });
}

/// The type that `export!` makes, and that the component's exports are of.
pub trait Component {
    /// The plugin.
    const PLUGIN: Plugin;
}

/// A component that carries its pipeline.
pub trait Carrier: Component {
    /// Says what it is.
    fn build(application: &Application);
}

impl<C: Carrier> carrier::exports::millstream::plugin::application::Guest for C {
    fn pipeline() -> Result<String, String> {
        application::pipeline(&C::PLUGIN, C::build)
    }
}

impl<C: Component> description::Guest for C {
    fn describe() -> description::Plugin {
        description::Plugin {
            name: C::PLUGIN.name.to_owned(),
            version: C::PLUGIN.version.to_owned(),
            documentation: C::PLUGIN.documentation.to_owned(),
            functions: C::PLUGIN.functions.iter().map(function).collect(),
            needs: C::PLUGIN.needs.iter().map(need).collect(),
        }
    }
}

impl<C: Component> transform::Guest for C {
    fn call(
        function: u32,
        context: types::Context,
        rows: types::Table,
    ) -> Result<transform::Answer, types::Error> {
        let rows = table_in(rows);
        counted(|| C::PLUGIN.function(function as usize)?.call(&rows, context_in(context))).map(answer)
    }
}

impl<C: Component> reduce::Guest for C {
    fn fold(
        function: u32,
        context: types::Context,
        rows: types::Table,
        groups: Vec<u32>,
        count: u32,
    ) -> Result<types::Table, types::Error> {
        let rows = table_in(rows);
        let groups = Groups { of: &groups, count: count as usize };
        counted(|| C::PLUGIN.function(function as usize)?.fold(&rows, groups, context_in(context)))
            .map(table_out)
    }

    fn take_out(
        function: u32,
        context: types::Context,
        totals: types::Table,
        taken: types::Table,
    ) -> Result<types::Table, types::Error> {
        let (totals, taken) = (table_in(totals), table_in(taken));
        let context = context_in(context);
        counted(|| C::PLUGIN.function(function as usize)?.take_out(&totals, &taken, context)).map(table_out)
    }
}

impl<C: Component> update_state::Guest for C {
    fn update(
        function: u32,
        context: types::Context,
        keys: types::Table,
        states: types::Table,
        present: Vec<u8>,
        timed_out: Vec<u8>,
        groups: Vec<u32>,
        rows: types::Table,
    ) -> Result<update_state::Outcome, types::Error> {
        let (keys, states, rows) = (table_in(keys), table_in(states), table_in(rows));
        let updates = Updates {
            keys: &keys,
            states: &states,
            present: &present,
            timed_out: &timed_out,
            groups: &groups,
            rows: &rows,
        };
        counted(|| C::PLUGIN.function(function as usize)?.update(&updates, context_in(context))).map(outcome)
    }
}

impl<C: Component> migrate_state::Guest for C {
    fn migrate(
        function: u32,
        version: u32,
        keys: types::Table,
        states: types::Table,
    ) -> Result<migrate_state::Migrated, types::Error> {
        let (keys, states) = (table_in(keys), table_in(states));
        let function = C::PLUGIN.function(function as usize);
        let migrated = function.and_then(|function| function.migrate(version, &keys, &states));
        let Migrated { origins, keys, states } = migrated.map_err(refusal)?;
        Ok(migrate_state::Migrated { origins, keys: table_out(keys), states: table_out(states) })
    }

    fn merge(
        function: u32,
        states: types::Table,
        groups: Vec<u32>,
        count: u32,
    ) -> Result<types::Table, types::Error> {
        let states = table_in(states);
        let groups = Groups { of: &groups, count: count as usize };
        let function = C::PLUGIN.function(function as usize);
        function.and_then(|function| function.merge(&states, groups)).map(table_out).map_err(refusal)
    }
}

thread_local! {
    /// The receivers that were started and the sinks that were opened, by the numbers of their functions.
    static RECEIVERS: RefCell<BTreeMap<u32, Box<dyn Receiving>>> = const { RefCell::new(BTreeMap::new()) };
    static SINKS: RefCell<BTreeMap<u32, Box<dyn Writing>>> = const { RefCell::new(BTreeMap::new()) };
}

impl<C: Component> receiver::Guest for C {
    fn start(function: u32, position: Option<Vec<u8>>) -> Result<(), types::Error> {
        let called = C::PLUGIN.function(function as usize).map_err(Fault::from);
        let started = called.and_then(|called| called.start(position.as_deref())).map_err(fault)?;
        RECEIVERS.with_borrow_mut(|receivers| receivers.insert(function, started));
        Ok(())
    }

    fn poll(function: u32, deadline_ms: u32) -> Result<receiver::Delivery, types::Error> {
        let deadline = Duration::from_millis(deadline_ms.into());
        let Delivery { rows, position, ended } = receiving(function, |receiver| receiver.poll(deadline))?;
        Ok(receiver::Delivery { rows: table_out(rows), position, ended })
    }

    fn acknowledge(function: u32, position: Vec<u8>) -> Result<(), types::Error> {
        receiving(function, |receiver| receiver.acknowledge(&position))
    }

    fn stop(function: u32) {
        let stopped = RECEIVERS.with_borrow_mut(|receivers| receivers.remove(&function));
        if let Some(mut receiver) = stopped {
            receiver.stop();
        }
    }
}

/// Calls a receiver that was started.
fn receiving<T>(
    function: u32,
    call: impl FnOnce(&mut dyn Receiving) -> Result<T, Fault>,
) -> Result<T, types::Error> {
    RECEIVERS.with_borrow_mut(|receivers| {
        let receiver = receivers.get_mut(&function);
        let receiver = receiver.ok_or_else(|| fault(Fault::rejected("the receiver was not started")))?;
        call(receiver.as_mut()).map_err(fault)
    })
}

impl<C: Component> sink::Guest for C {
    fn write(function: u32, batch: sink::Batch, rows: types::Table) -> Result<(), types::Error> {
        let sink::Batch { time_ms, part, parts } = batch;
        let write = || {
            let kept = SINKS.with_borrow_mut(|sinks| sinks.remove(&function));
            let mut sink = kept.map_or_else(|| C::PLUGIN.function(function as usize)?.open(), Ok)?;
            sink.write(&table_in(rows), Batch { time_ms, part, parts })?;
            // One that failed is opened anew.
            SINKS.with_borrow_mut(|sinks| sinks.insert(function, sink));
            Ok(())
        };
        write().map_err(fault)
    }
}

impl<C: Component> settings::Guest for C {
    fn check(function: u32) -> Result<(), String> {
        C::PLUGIN.function(function as usize).map_err(|error| error.to_string())?.check()
    }
}

fn fault(fault: Fault) -> types::Error {
    match fault {
        Fault::Rejected(reason) => types::Error::Rejected(reason),
        Fault::Unavailable(reason) => types::Error::Unavailable(reason),
    }
}

/// Makes a call, and hands over what it added to accumulators.
fn counted<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, types::Error> {
    // What was added outside a call belongs to no batch.
    drop(accumulators::take());
    let called = call();
    accumulators::take().iter().for_each(|(name, amount)| host_accumulators::add(name, *amount));
    called.map_err(refusal)
}

fn refusal(error: Error) -> types::Error {
    match error {
        Error::Unavailable(reason) => types::Error::Unavailable(reason),
        error => types::Error::Rejected(error.to_string()),
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

fn answer(answer: Answer) -> transform::Answer {
    match answer {
        Answer::Rows(rows) => transform::Answer::Rows(table_out(rows)),
        Answer::Expansion { rows, origins } => {
            transform::Answer::Expansion(transform::Expansion { rows: table_out(rows), origins })
        }
        Answer::Selection(bits) => transform::Answer::Selection(bits),
    }
}

fn outcome(outcome: Outcome) -> update_state::Outcome {
    update_state::Outcome {
        fates: outcome.fates,
        states: table_out(outcome.states),
        output: table_out(outcome.output),
        origins: outcome.origins,
    }
}

fn context_in(context: types::Context) -> Context {
    Context { batch_time_ms: context.batch_time_ms, partition: context.partition }
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

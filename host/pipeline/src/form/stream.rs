//! `[streams.NAME]`
//!
//! A stream has one operation, which one key names.

use std::time::Duration;

use millstream_model::FunctionKind;
use millstream_model::pipeline::{Located, OnError, Operation, StreamSpec};

use super::Form;
use super::item::Item;
use super::operation::{
    aggregate, call, cogroup, join, late, reduce, repartition, snapshot, sql, update_state, whole_window,
};
use super::section::Section;

/// What stands around the value of an operation's key.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// How messages call the stream.
    pub(super) stream: &'a str,
    /// From one batch to the next.
    pub(super) interval: Duration,
}

/// Reads the value of an operation's key.
type Read = fn(Item<'_>, Around<'_>) -> Option<Operation>;

const OPERATIONS: &[(&str, Read)] = &[
    ("map", |item, around| call(item, around, FunctionKind::Map)),
    ("flat-map", |item, around| call(item, around, FunctionKind::FlatMap)),
    ("filter", |item, around| call(item, around, FunctionKind::Filter)),
    ("transform", |item, around| call(item, around, FunctionKind::Transform)),
    ("sql", |item, _| sql(item)),
    ("aggregate", aggregate),
    ("reduce", reduce),
    ("join", join),
    ("cogroup", cogroup),
    ("window", whole_window),
    ("update-state", update_state),
    ("snapshot", |item, _| snapshot(item)),
    ("late", |item, _| late(item)),
    ("repartition", repartition),
];

const SYNTAX: &str = "give it one of map, flat-map, filter, transform, sql, aggregate, reduce, join, cogroup, window, \
                      update-state, snapshot, late, repartition, or several names in from";

pub(super) fn read<'f>(
    form: &'f Form<'f>,
    name: Located<String>,
    mut section: Section<'f>,
    interval: Duration,
) -> Option<StreamSpec> {
    let from_item = section.optional("from");
    let from = from_item.map(from);
    let given = operations(&mut section);
    let operation = match given.as_slice() {
        [] => union(&section, from.as_ref()),
        [key] => one(&mut section, key, interval),
        [first, second, ..] => {
            let reason = "a stream has one operation; make the second a stream of its own";
            let place = section.key_place(second).unwrap_or(section.place);
            form.report(place, format!("{} has both \"{first}\" and \"{second}\"; {reason}", section.what));
            None
        }
    };
    let on_error = on_error(&mut section, &operation);
    let later = refuse_persist(&mut section);
    let sound =
        operation.as_ref().is_none_or(|operation| inputs_fit(&mut section, operation, from_item, &from));
    let from = from.unwrap_or_else(|| Some(Vec::new()));
    let what = section.what.clone();
    section.finish();
    match (operation, from, on_error) {
        (Some(operation), Some(from), Some(on_error)) if sound && !later => {
            Some(StreamSpec { name, from, operation, on_error })
        }
        (_, from, _) => {
            let loose = from.unwrap_or_default().into_iter().map(|name| (what.clone(), name));
            form.loose_ends.borrow_mut().extend(loose);
            None
        }
    }
}

fn operation_keys() -> impl Iterator<Item = &'static str> + Clone {
    OPERATIONS.iter().map(|(key, _)| *key)
}

/// The keys of operations that are given, in the order of the file.
fn operations(section: &mut Section<'_>) -> Vec<&'static str> {
    let mut given: Vec<_> = operation_keys().filter(|key| section.optional(key).is_some()).collect();
    given.sort_by_key(|key| section.key_place(key));
    given
}

fn from(item: Item<'_>) -> Option<Vec<Located<String>>> {
    let expected = "the name of a stream or source, or a list of names";
    if !item.is_array() {
        return item.string(expected).map(|name| vec![name]);
    }
    let names = item.strings(expected)?;
    if names.is_empty() {
        item.report("\"from\" names nothing; name a stream or source");
    }
    Some(names).filter(|names| !names.is_empty())
}

fn union(section: &Section<'_>, from: Option<&Option<Vec<Located<String>>>>) -> Option<Located<Operation>> {
    match from {
        Some(Some(names)) if names.len() > 1 => {
            let place = section.key_place("from").unwrap_or(section.place);
            Some(Located { value: Operation::Union, place })
        }
        // What is wrong with it is reported.
        Some(None) => None,
        _ if section.misspells(operation_keys()) => None,
        _ => {
            section
                .form()
                .report_missing(section.place, format!("{} has no operation; {SYNTAX}", section.what));
            None
        }
    }
}

/// The operation of the only key that names one.
fn one(section: &mut Section<'_>, key: &'static str, interval: Duration) -> Option<Located<Operation>> {
    let item = section.optional(key)?;
    let place = section.key_place(key)?;
    let (_, read) = OPERATIONS.iter().find(|(name, _)| *name == key)?;
    read(item, Around { stream: &section.what, interval }).map(|value| Located { value, place })
}

/// What happens to rows that the stream's function fails on; nothing, where what is said of it is wrong.
fn on_error(section: &mut Section<'_>, operation: &Option<Located<Operation>>) -> Option<OnError> {
    if operation.as_ref().is_some_and(|operation| !operation.value.calls()) {
        section.refuse("on-error", "it calls no function");
        return section.key_place("on-error").is_none().then(OnError::default);
    }
    let words = [("dead-letter", OnError::DeadLetter), ("skip", OnError::Skip), ("stop", OnError::Stop)];
    section.optional("on-error").map_or(Some(OnError::default()), |item| item.choice("reaction", &words))
}

/// Reports `persist`; says whether it was there.
fn refuse_persist(section: &mut Section<'_>) -> bool {
    let Some(item) = section.optional("persist") else {
        return false;
    };
    let words = [("memory", ()), ("memory-and-disk", ()), ("disk", ())];
    if item.choice("storage level", &words).is_some() {
        item.report("\"persist\" is not supported by this version yet; leave it out");
    }
    true
}

/// Reports inputs that the operation does not take.
fn inputs_fit(
    section: &mut Section<'_>,
    operation: &Located<Operation>,
    item: Option<Item<'_>>,
    from: &Option<Option<Vec<Located<String>>>>,
) -> bool {
    match (&operation.value, item, from) {
        (Operation::Union, ..) => true,
        (Operation::Join(_) | Operation::Cogroup(_), Some(item), Some(Some(names))) if names.len() != 2 => {
            item.report(format!("this operation takes two streams, and \"from\" names {}", names.len()));
            false
        }
        (Operation::Join(_) | Operation::Cogroup(_), Some(_), _) => true,
        (Operation::Sql(_), None, _) => true,
        (Operation::Sql(_), Some(_), _) => {
            section.refuse("from", "its sql names what it reads; remove \"from\"");
            false
        }
        (_, None, _) => section.required("from", "name the stream or source that it takes").is_some(),
        (_, Some(item), Some(Some(names))) if names.len() > 1 => {
            item.report(
                "this operation takes one input; make the names a stream of their own, with from alone",
            );
            false
        }
        _ => true,
    }
}

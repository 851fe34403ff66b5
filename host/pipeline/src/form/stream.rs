//! `[streams.NAME]`
//!
//! A stream has one operation. Those of the model that this version does not run are checked for their form
//! and then refused by name, so that nobody takes them for misspelt.

use std::time::Duration;

use millstream_model::FunctionKind;
use millstream_model::pipeline::{AggregateSpec, CallSpec, Located, Operation, StreamSpec};

use super::Form;
use super::item::Item;
use super::section::Section;

/// Reads the value of an operation's key, in a stream that messages call so.
type Read = fn(Item<'_>, &str) -> Option<Operation>;

const OPERATIONS: &[(&str, Read)] = &[
    ("map", |item, stream| call(item, stream, FunctionKind::Map)),
    ("flat-map", |item, stream| call(item, stream, FunctionKind::FlatMap)),
    ("filter", |item, stream| call(item, stream, FunctionKind::Filter)),
    ("transform", |item, stream| call(item, stream, FunctionKind::Transform)),
    ("sql", |item, _| sql(item)),
    ("aggregate", aggregate),
];

/// Operations of the model that this version does not run.
const LATER: &[&str] = &["reduce", "join", "cogroup", "window", "update-state", "repartition"];

const SYNTAX: &str =
    "give it one of map, flat-map, filter, transform, sql, aggregate, or several names in from";

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
    let later = refuse_persist(&mut section);
    let sound =
        operation.as_ref().is_none_or(|operation| inputs_fit(&mut section, operation, from_item, &from));
    let from = from.unwrap_or_else(|| Some(Vec::new()));
    let what = section.what.clone();
    section.finish();
    match (operation, from) {
        (Some(operation), Some(from)) if sound && !later => Some(StreamSpec { name, from, operation }),
        (_, from) => {
            let loose = from.unwrap_or_default().into_iter().map(|name| (what.clone(), name));
            form.loose_ends.borrow_mut().extend(loose);
            None
        }
    }
}

fn operation_keys() -> impl Iterator<Item = &'static str> + Clone {
    OPERATIONS.iter().map(|(key, _)| *key).chain(LATER.iter().copied())
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
    if let Some((_, read)) = OPERATIONS.iter().find(|(name, _)| *name == key) {
        return read(item, &section.what).map(|value| Located { value, place });
    }
    if key == "window" {
        window(item, &section.what, interval);
    }
    let remedy = "express it in sql, or leave it out";
    section.form().report(place, format!("\"{key}\" is not supported by this version yet; {remedy}"));
    None
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

fn call(item: Item<'_>, stream: &str, kind: FunctionKind) -> Option<Operation> {
    const NAME: &str = "a function, written \"plugin.function\"";
    if !item.is_table() {
        let name = item.string(&format!("{NAME}, or a table with one"))?;
        return target(item, &name, kind).map(Operation::Call);
    }
    let mut section = item.section(format!("the {kind} of {stream}"), item.place)?;
    let function = section.required("function", "name it, as in function = \"plugin.function\"");
    let target = function.and_then(|item| target(item, &item.string(NAME)?, kind));
    let columns_item = section.optional("columns");
    let columns = columns_item.map(|item| item.strings("a list of the stream's columns"));
    let keep_columns = match kind {
        FunctionKind::Map | FunctionKind::FlatMap => section.optional("keep-columns").and_then(Item::boolean),
        FunctionKind::Filter => {
            section.refuse("keep-columns", "a filter keeps all columns");
            None
        }
        _ => {
            section.refuse("keep-columns", "a transform answers with all the columns there are");
            None
        }
    };
    section.finish();
    let columns = columns.map_or(Some(None), |columns| columns.map(Some))?;
    Some(Operation::Call(CallSpec { columns, keep_columns: keep_columns.unwrap_or(false), ..target? }))
}

/// A call of the function that `name` names.
fn target(item: Item<'_>, name: &Located<String>, kind: FunctionKind) -> Option<CallSpec> {
    let parts = name.value.split_once('.');
    let Some((plugin, function)) = parts.filter(|(p, f)| !p.is_empty() && !f.is_empty() && !f.contains('.'))
    else {
        item.report(format!("\"{name}\" is no function; write \"plugin.function\""));
        return None;
    };
    Some(CallSpec {
        kind,
        plugin: plugin.to_owned(),
        function: function.to_owned(),
        place: name.place,
        columns: None,
        keep_columns: false,
    })
}

fn sql(item: Item<'_>) -> Option<Operation> {
    item.string("a query such as \"SELECT * FROM words\"").map(Operation::Sql)
}

fn aggregate(item: Item<'_>, stream: &str) -> Option<Operation> {
    let mut section = item.section(format!("the aggregate of {stream}"), item.place)?;
    let by = section.optional("by").map(|item| item.strings("a list of columns such as [\"word\"]"));
    let window = section.optional("window");
    if let Some(window) = window {
        window.report("\"window\" is not supported by this version yet; leave it out");
    }
    let outputs: Vec<_> = section
        .rest()
        .map(|(name, item)| {
            Some((name.value.to_owned(), item.string("an SQL aggregate such as \"count(*)\"")?))
        })
        .collect();
    if outputs.is_empty() {
        let remedy = "add one, as in total = \"count(*)\"";
        section.form().report_missing(section.place, format!("{} has no output; {remedy}", section.what));
    }
    section.finish_open();
    let by = by.unwrap_or_else(|| Some(Vec::new()))?;
    let outputs: Vec<_> = outputs.into_iter().collect::<Option<_>>()?;
    let sound = window.is_none() && !outputs.is_empty() && outputs_differ(item, &by, &outputs);
    sound.then_some(Operation::Aggregate(AggregateSpec { by, outputs }))
}

/// Reports an output that has the name of a column of the key.
fn outputs_differ(item: Item<'_>, by: &[Located<String>], outputs: &[(String, Located<String>)]) -> bool {
    let clash = outputs.iter().find(|(name, _)| by.iter().any(|column| column.value == *name));
    if let Some((name, expression)) = clash {
        let message = format!("the output \"{name}\" has the name of a column of the key; give it another");
        item.form.report(expression.place, message);
    }
    clash.is_none()
}

/// Checks a window's form: its length, and its slide, which is one interval where it is not given.
fn window(item: Item<'_>, stream: &str, interval: Duration) {
    let what = format!("the window of {stream}");
    let Some(mut section) = item.section(what, item.place) else {
        return;
    };
    let length = section.required("length", "say how much it spans, as in length = \"30s\"");
    for item in [length, section.optional("slide")].into_iter().flatten() {
        let Some(duration) = item.duration() else {
            continue;
        };
        if !duration.as_nanos().is_multiple_of(interval.as_nanos()) {
            let (given, interval) = (duration.as_millis(), interval.as_millis());
            let message =
                format!("\"{}\" is {given}ms, no multiple of the batch interval of {interval}ms", item.key);
            item.report(message);
        }
    }
    section.finish();
}

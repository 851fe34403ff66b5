//! The values of operations' keys.

use std::time::Duration;

use millstream_model::FunctionKind;
use millstream_model::pipeline::{
    AggregateSpec, CallSpec, JoinKind, JoinSpec, Located, Operation, ReduceSpec, RepartitionSpec, UpdateSpec,
    WindowSpec,
};

use super::item::Item;
use super::section::Section;
use super::stream::Around;

const FUNCTION: &str = "a function, written \"plugin.function\"";
const COLUMNS: &str = "a list of columns such as [\"word\"]";
/// More partitions are more pieces of a batch than any machine works on.
const PARTITIONS_MAX: u32 = 1_024;
/// Each row of a window over event time is in so many windows at most.
const PANES_MAX: u128 = 10_000;

pub(super) fn call(item: Item<'_>, around: Around<'_>, kind: FunctionKind) -> Option<Operation> {
    if !item.is_table() {
        let name = item.string(&format!("{FUNCTION}, or a table with one"))?;
        return target(item, &name, kind).map(Operation::Call);
    }
    let mut section = item.section(format!("the {kind} of {}", around.stream), item.place)?;
    let spec = called(&mut section, kind);
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
    Some(Operation::Call(CallSpec { keep_columns: keep_columns.unwrap_or(false), ..spec? }))
}

/// The keys `function` and `columns` of a table that calls one.
fn called(section: &mut Section<'_>, kind: FunctionKind) -> Option<CallSpec> {
    let function = section.required("function", "name it, as in function = \"plugin.function\"");
    let target = function.and_then(|item| target(item, &item.string(FUNCTION)?, kind));
    let columns = section.optional("columns").map(|item| item.strings("a list of the stream's columns"));
    let columns = columns.map_or(Some(None), |columns| columns.map(Some))?;
    Some(CallSpec { columns, ..target? })
}

/// A call of the function that `item` names, a receiver or a sink.
pub(super) fn outside(item: Item<'_>, kind: FunctionKind) -> Option<CallSpec> {
    target(item, &item.string(FUNCTION)?, kind)
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

pub(super) fn sql(item: Item<'_>) -> Option<Operation> {
    item.string("a query such as \"SELECT * FROM words\"").map(Operation::Sql)
}

pub(super) fn aggregate(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    let mut section = item.section(format!("the aggregate of {}", around.stream), item.place)?;
    let by = columns(&mut section, "by");
    let window = optional_window(&mut section, around);
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
    let (by, window) = (by?, window?);
    let outputs: Vec<_> = outputs.into_iter().collect::<Option<_>>()?;
    let sound = !outputs.is_empty() && outputs_differ(item, &by, &outputs);
    sound.then_some(Operation::Aggregate(AggregateSpec { by, outputs, window }))
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

/// The columns that a key lists; none, where it is not there.
fn columns(section: &mut Section<'_>, key: &'static str) -> Option<Vec<Located<String>>> {
    section.optional(key).map_or(Some(Vec::new()), |item| item.strings(COLUMNS))
}

/// The columns that a key lists, at least one.
fn key_columns(
    section: &mut Section<'_>,
    key: &'static str,
    remedy: &'static str,
) -> Option<Vec<Located<String>>> {
    let item = section.required(key, remedy)?;
    let columns = item.strings(COLUMNS)?;
    if columns.is_empty() {
        item.report(format!("\"{key}\" names no column; {remedy}"));
    }
    Some(columns).filter(|columns| !columns.is_empty())
}

pub(super) fn reduce(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    if !item.is_table() {
        let name = item.string(&format!("{FUNCTION}, or a table with one"))?;
        let call = target(item, &name, FunctionKind::Reduce)?;
        let spec = ReduceSpec { by: Vec::new(), call, window: None, inverse: None, keep: None };
        return Some(Operation::Reduce(spec));
    }
    let mut section = item.section(format!("the reduce of {}", around.stream), item.place)?;
    let (by, call) = (columns(&mut section, "by"), called(&mut section, FunctionKind::Reduce));
    let window = optional_window(&mut section, around);
    let (inverse, keep) = match &window {
        Some(None) => {
            section.refuse("inverse", "it takes out what leaves a window; add one, or leave it out");
            section.refuse("keep", "it drops keys from a window with an inverse; use a filter");
            (None, None)
        }
        Some(Some(WindowSpec { on: Some(_), .. })) => {
            section.refuse("inverse", "nothing leaves a window over event time; leave it out");
            section.refuse("keep", "it drops keys from a window with an inverse; use a filter");
            (None, None)
        }
        _ => {
            let inverse = section.optional("inverse");
            let inverse = inverse.map(|item| target(item, &item.string(FUNCTION)?, FunctionKind::Inverse));
            (inverse, section.optional("keep"))
        }
    };
    if let (Some(item), None) = (keep, &inverse) {
        item.report("\"keep\" drops keys from a window with an inverse; without one, use a filter");
    }
    let keep = keep.map(|item| item.string("an SQL condition such as \"total > 0\""));
    section.finish();
    let inverse = inverse.map_or(Some(None), |inverse| inverse.map(Some))?;
    let keep = keep.map_or(Some(None), |keep| keep.map(Some))?;
    Some(Operation::Reduce(ReduceSpec { by: by?, call: call?, window: window?, inverse, keep }))
}

pub(super) fn join(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    let kinds = [
        ("inner", JoinKind::Inner),
        ("left", JoinKind::Left),
        ("right", JoinKind::Right),
        ("full", JoinKind::Full),
    ];
    let mut section = item.section(format!("the join of {}", around.stream), item.place)?;
    let on = key_columns(&mut section, "on", "name the columns that both have, as in on = [\"id\"]");
    let kind = section.optional("kind").map(|item| item.choice("join", &kinds));
    section.finish();
    let kind = kind.map_or(Some(JoinKind::default()), |kind| kind)?;
    Some(Operation::Join(JoinSpec { on: on?, kind }))
}

pub(super) fn cogroup(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    let mut section = item.section(format!("the cogroup of {}", around.stream), item.place)?;
    let on = key_columns(&mut section, "on", "name the columns that both have, as in on = [\"id\"]");
    section.finish();
    on.map(Operation::Cogroup)
}

pub(super) fn update_state(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    let mut section = item.section(format!("the update-state of {}", around.stream), item.place)?;
    let by = key_columns(&mut section, "by", "name the columns of the key, as in by = [\"word\"]");
    let call = called(&mut section, FunctionKind::UpdateState);
    let timeout = section.optional("timeout").map(Item::duration);
    let initial = section.optional("initial").map(|item| item.string("the name of a table"));
    let every_key = section.optional("every-key").map(Item::boolean);
    section.finish();
    let timeout = timeout.map_or(Some(None), |timeout| timeout.map(Some))?;
    let initial = initial.map_or(Some(None), |initial| initial.map(Some))?;
    let every_key = every_key.map_or(Some(false), |every| every)?;
    Some(Operation::UpdateState(UpdateSpec { by: by?, call: call?, timeout, initial, every_key }))
}

pub(super) fn snapshot(item: Item<'_>) -> Option<Operation> {
    flag(item).then_some(Operation::Snapshot)
}

pub(super) fn late(item: Item<'_>) -> Option<Operation> {
    flag(item).then_some(Operation::Late)
}

/// Whether the value is `true`; reports anything else.
fn flag(item: Item<'_>) -> bool {
    let value = item.boolean();
    if value == Some(false) {
        item.report(format!("\"{}\" is true, or it is not there", item.key));
    }
    value == Some(true)
}

pub(super) fn repartition(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    let mut section = item.section(format!("the repartition of {}", around.stream), item.place)?;
    let by = columns(&mut section, "by");
    let given = section.required("partitions", "say how many, as in partitions = 4");
    let partitions = given.and_then(|item| {
        let count = item.count()?;
        let fits = u32::try_from(count).ok().filter(|count| *count <= PARTITIONS_MAX);
        if fits.is_none() {
            item.report(format!("\"partitions\" is at most {PARTITIONS_MAX}, and not {count}"));
        }
        fits
    });
    section.finish();
    Some(Operation::Repartition(RepartitionSpec { by: by?, partitions: partitions? }))
}

pub(super) fn whole_window(item: Item<'_>, around: Around<'_>) -> Option<Operation> {
    window(item, around).map(Operation::Window)
}

/// The window of another operation, if it has one; nothing where that is wrong.
fn optional_window(section: &mut Section<'_>, around: Around<'_>) -> Option<Option<WindowSpec>> {
    section.optional("window").map_or(Some(None), |item| window(item, around).map(Some))
}

/// A window of batches, or with `on` one over event time.
fn window(item: Item<'_>, around: Around<'_>) -> Option<WindowSpec> {
    let mut section = item.section(format!("the window of {}", around.stream), item.place)?;
    let length = section.required("length", "say how much it spans, as in length = \"30s\"");
    let slide = section.optional("slide");
    let spec = match section.optional("on") {
        None => batch_window(length, slide, around.interval),
        Some(on) => event_window(length, slide, on),
    };
    section.finish();
    spec
}

/// A window of batches, which slides by one interval where that is not given.
fn batch_window(length: Option<Item<'_>>, slide: Option<Item<'_>>, interval: Duration) -> Option<WindowSpec> {
    let length = length.and_then(|item| multiple(item, interval));
    let slide = slide.map_or(Some(interval), |item| multiple(item, interval));
    Some(WindowSpec { length: length?, slide: slide?, on: None })
}

/// A window over event time, which slides by its length where that is not given.
fn event_window(length: Option<Item<'_>>, slide: Option<Item<'_>>, on: Item<'_>) -> Option<WindowSpec> {
    let on = on.string("the name of a column of the type timestamp");
    let length = length.and_then(Item::duration);
    let step = slide.map_or(length, Item::duration);
    let (on, length, step) = (on?, length?, step?);
    let panes = length.as_millis() / step.as_millis();
    let fault = match length.as_millis().is_multiple_of(step.as_millis()) {
        false => format!("the window's length is {}ms, no multiple of it", length.as_millis()),
        true if panes > PANES_MAX => format!("a window is at most {PANES_MAX} times as long as its slide"),
        true => return Some(WindowSpec { length, slide: step, on: Some(on) }),
    };
    if let Some(slide) = slide {
        slide.report(format!("\"slide\" is {}ms; {fault}", step.as_millis()));
    }
    None
}

/// A duration that is a multiple of the batch interval.
fn multiple(item: Item<'_>, interval: Duration) -> Option<Duration> {
    let duration = item.duration()?;
    if duration.as_nanos().is_multiple_of(interval.as_nanos()) {
        return Some(duration);
    }
    let (given, interval) = (duration.as_millis(), interval.as_millis());
    let key = item.key;
    item.report(format!("\"{key}\" is {given}ms, no multiple of the batch interval of {interval}ms"));
    None
}

//! Reduces, inverses and updates of states as the SDK makes them, over columns of all types.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Field as ArrowField;
use millstream_model::{DataType, Fate, FunctionError, Groups, Update};
use millstream_plugins::Plugin;

use crate::support::{bare_rows, bits, context, description, index, lines, load, rows, texts, update};

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

/// Lists of text; none stands for a null.
fn lists(lists: &[Option<&[&str]>]) -> ArrayRef {
    let item = Arc::new(ArrowField::new_list_field(DataType::Utf8.to_arrow(), true));
    let mut builder = ListBuilder::new(StringViewBuilder::new()).with_field(item);
    for list in lists {
        list.unwrap_or_default().iter().for_each(|value| builder.values().append_value(value));
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

/// Folds the rows of these columns.
async fn fold(plugin: &Plugin, name: &str, columns: Vec<ArrayRef>, groups: Groups) -> Vec<String> {
    let rows = rows(&description(plugin, name).input, columns);
    let reduce = plugin.reduce(index(plugin, name)).unwrap();
    lines(&reduce.fold(context(), rows, groups).await.unwrap().rows)
}

fn groups(of: &[u32], count: u32) -> Groups {
    Groups { of: of.to_vec(), count }
}

#[tokio::test]
async fn texts_are_folded_in_order() {
    let plugin = load("keyed").await;
    let columns = || vec![strings(&["a", "bb", "c", "dd", "e"])];
    let of = || groups(&[1, 0, 1, 0, 2], 3);
    assert_eq!(fold(&plugin, "join", columns(), of()).await, ["bbdd", "ac", "e"]);
    assert_eq!(fold(&plugin, "longest", columns(), of()).await, ["bb", "a", "e"]);
    assert_eq!(fold(&plugin, "join", vec![strings(&[])], groups(&[], 0)).await, [""; 0]);
}

#[tokio::test]
async fn nulls_are_folded_where_the_function_takes_them() {
    let plugin = load("keyed").await;
    let amounts = Float64Array::from(vec![None, Some(2.5), Some(7.0), None]);
    let largest = fold(&plugin, "largest", vec![Arc::new(amounts)], groups(&[0, 0, 0, 1], 2)).await;
    assert_eq!(largest, ["7.0", ""]);
    assert_eq!(description(&plugin, "largest").input.to_string(), "{ amount: float64? }");
}

/// Summaries: how many, their sum, whose.
fn summaries(counts: &[i64], sums: &[f64], users: &[Option<&[&str]>]) -> Vec<ArrayRef> {
    let (counts, sums) = (Int64Array::from(counts.to_vec()), Float64Array::from(sums.to_vec()));
    vec![Arc::new(counts), Arc::new(sums), lists(users)]
}

#[tokio::test]
async fn rows_of_several_columns_are_folded_and_taken_out_again() {
    let plugin = load("keyed").await;
    let users: [Option<&[&str]>; 3] = [Some(&["ann"]), Some(&[]), Some(&["bob", "cy"])];
    let merged =
        fold(&plugin, "merge", summaries(&[1, 2, 3], &[0.5, 1.0, 2.0], &users), groups(&[0, 1, 0], 2)).await;
    assert_eq!(merged, ["4 | 2.5 | [ann, bob, cy]", "2 | 1.0 | []"]);
    let part = plugin.inverse(index(&plugin, "part")).unwrap();
    let schema = &description(&plugin, "part").input;
    let total = rows(schema, summaries(&[4, 2], &[2.5, 1.0], &[Some(&["ann", "bob"]), Some(&[])]));
    let taken = rows(schema, summaries(&[1, 0], &[0.5, 0.0], &[Some(&["ann"]), Some(&[])]));
    let rest = part.take_out(context(), total.clone(), taken.clone()).await.unwrap();
    assert_eq!(lines(&rest.rows), ["3 | 2.0 | [bob]", "2 | 1.0 | []"]);
    let rejected = part.take_out(context(), taken, total).await.unwrap_err();
    let FunctionError::Rejected { function, reason } = rejected else { panic!("{rejected:?}") };
    assert_eq!((function.as_str(), reason.as_str()), ("keyed.part", "row 0: more leaves than is there"));
}

#[tokio::test]
async fn the_stock_sum_stays_within_its_type() {
    let plugin = load("text").await;
    let numbers = |numbers: &[i64]| -> RecordBatch {
        rows(&description(&plugin, "add").input, vec![Arc::new(Int64Array::from(numbers.to_vec()))])
    };
    let add = plugin.reduce(index(&plugin, "add")).unwrap();
    let sums = add.fold(context(), numbers(&[1, 10, 2, 20]), groups(&[0, 1, 0, 1], 2)).await.unwrap();
    assert_eq!(lines(&sums.rows), ["3", "30"]);
    let subtract = plugin.inverse(index(&plugin, "subtract")).unwrap();
    let rest = subtract.take_out(context(), sums.rows, numbers(&[1, 20])).await.unwrap();
    assert_eq!(lines(&rest.rows), ["2", "10"]);
    let beyond = add.fold(context(), numbers(&[i64::MAX, 1]), groups(&[0, 0], 1)).await.unwrap_err();
    assert!(beyond.to_string().contains("row 1: the sum of"), "{beyond}");
}

#[tokio::test]
async fn the_stock_count_runs() {
    let plugin = load("text").await;
    let function = plugin.update_state(index(&plugin, "running-count")).unwrap();
    let counts = Int64Array::from(vec![None, Some(5), Some(7), Some(9)]);
    let states = rows(&function.description().state, vec![Arc::new(counts)]);
    let wanted = Update { keys: bare_rows(4), states, rows: bare_rows(3), ..update() };
    let updated = function.update(context(), wanted).await.unwrap();
    assert_eq!(updated.fates, [Fate::Put, Fate::Put, Fate::Put, Fate::Keep]);
    assert_eq!(lines(&updated.states)[..3], ["2", "6", "7"]);
    assert_eq!(
        (lines(&updated.output), updated.origins),
        (vec!["2".into(), "6".into(), "7".into()], vec![0, 1, 2])
    );
}

#[tokio::test]
async fn a_state_may_be_a_list_that_grows() {
    let plugin = load("keyed").await;
    let function = plugin.update_state(index(&plugin, "remember")).unwrap();
    assert_eq!(function.description().keys.to_string(), "{ key: utf8 }");
    assert_eq!(function.description().output.to_string(), "{ length: int64 }");
    // The key that times out is not among these.
    let states =
        rows(&function.description().state, vec![lists(&[None, Some(&["o", "p"]), Some(&[]), Some(&["g"])])]);
    let wanted = Update { states, timed_out: bits(&[false; 4]), ..update() };
    let updated = function.update(context(), wanted).await.unwrap();
    assert_eq!(updated.fates, [Fate::Put; 4]);
    assert_eq!(lines(&updated.states), ["[a, b]", "[o, p, c]", "[]", "[g]"]);
    assert_eq!(lines(&updated.output), ["2", "3", "0", "1"]);
    let added: Vec<_> = updated.added.into_iter().collect();
    let expected = [("gone", 0), ("idle", 0), ("new", 2), ("old", 1)];
    assert_eq!(added, expected.map(|(key, rows)| (format!("keyed.{key}"), rows)));
}

/// Three users' visits: a new one, one who leaves, one whose session times out.
fn visits(plugin: &Plugin, pages: &[&str]) -> Update {
    let described = description(plugin, "sessions");
    let users: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let since = TimestampMicrosecondArray::from(vec![None, Some(10), Some(20)]);
    let longest = Int64Array::from(vec![None, Some(4), None]);
    let known = lists(&[None, Some(&["home"]), Some(&["a", "b", "c"])]);
    let seconds = Int64Array::from_iter((0..pages.len()).map(|row| (row == 1).then_some(9)));
    Update {
        keys: rows(&described.keys, vec![users, strings(&["north", "south", "west"])]),
        states: rows(&described.state, vec![Arc::new(since), known, Arc::new(longest)]),
        present: bits(&[false, true, true]),
        timed_out: bits(&[false, false, true]),
        starts: vec![0, 2, pages.len() as u32, pages.len() as u32],
        rows: rows(&described.input, vec![strings(pages), Arc::new(seconds)]),
    }
}

#[tokio::test]
async fn a_state_of_several_fields_ends_at_its_timeout() {
    let plugin = load("keyed").await;
    let function = plugin.update_state(index(&plugin, "sessions")).unwrap();
    assert_eq!(function.description().state_version, 3);
    assert_eq!(function.description().keys.to_string(), "{ user: int64, shop: utf8 }");
    assert_eq!(
        function.description().state.to_string(),
        "{ since: timestamp, pages: list<utf8>, longest: int64? }"
    );
    let updated = function.update(context(), visits(&plugin, &["home", "cart", "bye"])).await.unwrap();
    assert_eq!(updated.fates, [Fate::Put, Fate::Remove, Fate::Remove]);
    assert_eq!(lines(&updated.states)[0], "1970-01-01T00:00:01 | [home, cart] | 9");
    assert_eq!(updated.origins, [1, 2]);
    let ended = [
        "south | 1970-01-01T00:00:00.000010 | 1970-01-01T00:00:01 | 2 | 4",
        "west | 1970-01-01T00:00:00.000020 | 1970-01-01T00:00:01 | 3 | ",
    ];
    assert_eq!(lines(&updated.output), ended);
}

#[tokio::test]
async fn a_refusal_names_the_key() {
    let plugin = load("keyed").await;
    let function = plugin.update_state(index(&plugin, "sessions")).unwrap();
    let rejected = function.update(context(), visits(&plugin, &["home", "cart", ""])).await.unwrap_err();
    let FunctionError::Rejected { function, reason } = rejected else { panic!("{rejected:?}") };
    assert_eq!(function, "keyed.sessions");
    assert_eq!(reason, "key 1: user 2 visits a page without a name");
}

#[tokio::test]
async fn setting_a_state_that_times_out_says_what_is_wrong() {
    let plugin = load("keyed").await;
    let function = plugin.update_state(index(&plugin, "careless")).unwrap();
    let states = || {
        rows(&function.description().state, vec![Arc::new(arrow::array::BooleanArray::from(vec![true; 4]))])
    };
    let wanted = || Update { keys: bare_rows(4), states: states(), rows: bare_rows(3), ..update() };
    let broken = function.update(context(), wanted()).await.unwrap_err();
    let FunctionError::Broken { reason, .. } = &broken else { panic!("{broken:?}") };
    assert!(reason.contains("the state is timing out and cannot be set"), "{reason}");
    let well = Update { timed_out: bits(&[false; 4]), ..wanted() };
    let updated = function.update(context(), well).await.unwrap();
    assert_eq!(lines(&updated.states), ["true", "true", "false", "false"]);
    assert_eq!((updated.output.num_rows(), updated.output.num_columns()), (0, 0));
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_by_the_function() {
    let plugin = load("keyed").await;
    let reduce = plugin.reduce(index(&plugin, "largest")).unwrap();
    let rejected = reduce.fold(context(), texts("amount", &["a"]), groups(&[0], 1)).await.unwrap_err();
    assert!(rejected.to_string().contains("should be float64 but is utf8"), "{rejected}");
}

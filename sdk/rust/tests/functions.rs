//! Functions with attributes, described and called as the host does it.

use millstream_sdk::prelude::*;
use millstream_sdk::{Answer, DataType, Error, Function, Kind, Table, WriteRow, function, testing};

/// Splits a line into words at white space.
///
/// This line is not for the description.
#[flat_map(output = "word")]
fn split_words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Order<'a> {
    user: &'a str,
    amount: f64,
    #[column(name = "foot-note")]
    note: Option<&'a str>,
    tags: List<'a, &'a str>,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Scored {
    label: String,
    score: f64,
    tags: Vec<Option<String>>,
}

#[map]
fn score(order: Order<'_>) -> Scored {
    let tags = order.tags.iter().map(|tag| (!tag.is_empty()).then(|| tag.to_owned())).collect();
    Scored { label: format!("{}:{}", order.user, order.note.unwrap_or("-")), score: order.amount * 2.0, tags }
}

#[map(output = "total")]
fn total(price: f64, count: i64) -> f64 {
    price * count as f64
}

#[map]
fn parse(#[column(name = "raw-text")] text: &str) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

#[map]
fn longer<'a>(left: &'a str, right: Option<&'a str>) -> Option<&'a str> {
    right.filter(|right| right.len() > left.len())
}

#[filter]
fn large(amount: f64) -> bool {
    amount > 10.0
}

#[transform]
fn ranked(rows: Rows<'_, Order<'_>>, context: Context) -> Vec<Ranked> {
    let mut orders: Vec<_> = rows.iter().collect();
    orders.sort_by(|left, right| right.amount.total_cmp(&left.amount));
    let rank = |(rank, order): (usize, Order<'_>)| Ranked {
        user: order.user.to_owned(),
        rank: rank as i64,
        at: Timestamp(context.batch_time_ms * 1000),
        kind: "order",
    };
    orders.into_iter().enumerate().map(rank).collect()
}

#[derive(Debug, PartialEq, Row)]
struct Ranked {
    user: String,
    rank: i64,
    at: Timestamp,
    kind: &'static str,
}

#[transform(output = "number")]
fn count(value: Rows<'_, &[u8]>) -> Result<Option<i64>, String> {
    log(Level::Info, "counting");
    let unit = config("unit").ok_or("no unit")?.integer().map_err(|error| error.to_string())?;
    Ok(Some(value.len() as i64 * unit))
}

#[flat_map]
fn halves(pair: List<'_, List<'_, bool>>) -> Vec<Vec<bool>> {
    pair.iter().map(|half| half.iter().collect()).collect()
}

millstream_sdk::export!(split_words, score, total, parse, longer, large, ranked, count, halves);

fn call<T: WriteRow>(function: Function, rows: impl IntoIterator<Item = T>) -> Result<Answer, Error> {
    function.call(&Table::of(rows), Context { batch_time_ms: 7, partition: 0 })
}

fn order<'a>(user: &'a str, amount: f64, note: Option<&'a str>, tags: &'a [&'a str]) -> Order<'a> {
    Order { user, amount, note, tags: List::from(tags) }
}

#[test]
fn functions_describe_themselves() {
    let check = |function: Function,
                 name,
                 kind,
                 input: &[(&str, DataType, bool)],
                 output: &[(&str, DataType, bool)]| {
        assert_eq!((function.name, function.kind), (name, kind));
        let fields = |schema: millstream_sdk::Schema| -> Vec<_> {
            schema.fields.into_iter().map(|field| (field.name, field.data_type, field.nullable)).collect()
        };
        let owned = |fields: &[(&str, DataType, bool)]| -> Vec<_> {
            fields
                .iter()
                .map(|(name, data_type, nullable)| (name.to_string(), *data_type, *nullable))
                .collect()
        };
        assert_eq!(fields(function.input()), owned(input), "{name}");
        assert_eq!(fields(function.output()), owned(output), "{name}");
    };
    use DataType::*;
    let order = [
        ("user", Utf8, false),
        ("amount", Float64, false),
        ("foot-note", Utf8, true),
        ("tags", List(0), false),
    ];
    let scored = [("label", Utf8, false), ("score", Float64, false), ("tags", List(0), false)];
    check(
        function!(split_words),
        "split-words",
        Kind::FlatMap,
        &[("line", Utf8, false)],
        &[("word", Utf8, false)],
    );
    check(function!(score), "score", Kind::Map, &order, &scored);
    check(
        function!(total),
        "total",
        Kind::Map,
        &[("price", Float64, false), ("count", Int64, false)],
        &[("total", Float64, false)],
    );
    check(function!(parse), "parse", Kind::Map, &[("raw-text", Utf8, false)], &[("value", Int64, false)]);
    check(
        function!(longer),
        "longer",
        Kind::Map,
        &[("left", Utf8, false), ("right", Utf8, true)],
        &[("value", Utf8, true)],
    );
    check(function!(large), "large", Kind::Filter, &[("amount", Float64, false)], &[]);
    check(
        function!(ranked),
        "ranked",
        Kind::Transform,
        &order,
        &[("user", Utf8, false), ("rank", Int64, false), ("at", Timestamp, false), ("kind", Utf8, false)],
    );
    check(
        function!(count),
        "count",
        Kind::Transform,
        &[("value", Binary, false)],
        &[("number", Int64, false)],
    );
    assert_eq!(function!(split_words).documentation, "Splits a line into words at white space.");
}

#[test]
fn nested_lists_refer_to_later_items() {
    let schema = function!(halves).input();
    assert_eq!(schema.fields[0].data_type, DataType::List(0));
    let items: Vec<_> = schema.items.iter().map(|item| item.data_type).collect();
    assert_eq!(items, [DataType::List(1), DataType::Boolean]);
    assert!(schema.items.iter().all(|item| !item.nullable));
    assert!(function!(score).output().items[0].nullable);
}

#[test]
fn the_plugin_lists_its_functions_in_order() {
    let names: Vec<_> = MILLSTREAM_PLUGIN.functions.iter().map(|function| function.name).collect();
    assert_eq!(
        names,
        ["split-words", "score", "total", "parse", "longer", "large", "ranked", "count", "halves"]
    );
    assert_eq!(MILLSTREAM_PLUGIN.name, "millstream-sdk");
    let unknown = MILLSTREAM_PLUGIN.function(9).map(|function| function.name);
    assert_eq!(unknown, Err(Error::UnknownFunction { function: 9, functions: 9 }));
}

#[test]
fn a_flat_map_says_where_its_rows_come_from() {
    let check = |lines: &[&str], expected: &[&str], from: &[u32]| {
        let Ok(Answer::Expansion { rows, origins }) = call(function!(split_words), lines.iter().copied())
        else {
            panic!("a flat-map answers with an expansion");
        };
        let words: Vec<_> = rows.read::<&str>("word").expect("the columns fit").iter().collect();
        assert_eq!((words.as_slice(), origins.as_slice()), (expected, from));
    };
    check(&["a b", "", " c "], &["a", "b", "c"], &[0, 0, 2]);
    check(&[], &[], &[]);
    // Every length around the border between short and long copies.
    let words: Vec<String> = (1..40).map(|length| "é".repeat(length)).collect();
    let line = words.join(" ");
    check(&[&line], &words.iter().map(String::as_str).collect::<Vec<_>>(), &[0; 39]);
    let words: Vec<String> = (1..40).map(|length| "xyz".repeat(length)[..length].to_owned()).collect();
    check(&[&words.join("\t")], &words.iter().map(String::as_str).collect::<Vec<_>>(), &[0; 39]);
}

#[test]
fn a_map_takes_rows_and_returns_rows() {
    let orders = [order("ann", 1.5, Some("hi"), &["x", ""]), order("bob", 2.0, None, &[])];
    let Ok(Answer::Rows(table)) = call(function!(score), orders) else { panic!("a map answers with rows") };
    let scored: Vec<_> = table.read::<Scored>("").expect("the columns fit").iter().collect();
    let expected = [
        Scored { label: "ann:hi".into(), score: 3.0, tags: vec![Some("x".into()), None] },
        Scored { label: "bob:-".into(), score: 4.0, tags: vec![] },
    ];
    assert_eq!(scored, expected);
}

#[test]
fn an_error_names_the_row() {
    let Err(Error::Row { row, message }) = call(function!(parse), ["1", "two"]) else {
        panic!("`two` is no number")
    };
    assert_eq!(row, 1);
    assert!(message.contains("invalid digit"), "{message}");
}

/// Asks somebody who is not there for every other row.
#[map]
fn ask(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| Fault::unavailable("nobody answers"))
}

#[test]
fn what_may_pass_is_told_apart_from_what_never_will() {
    let away = Error::Unavailable("nobody answers".to_owned());
    assert_eq!(call(function!(ask), ["1", "two"]), Err(away));
    assert!(call(function!(ask), ["1", "2"]).is_ok());
}

#[test]
fn a_filter_answers_with_a_bitmap() {
    let amounts = (0..20).map(|amount| f64::from(amount) + 0.5);
    let selection = vec![0, 0b1111_1100, 0b0000_1111];
    assert_eq!(call(function!(large), amounts), Ok(Answer::Selection(selection)));
}

#[test]
fn a_transform_sees_the_partition_and_the_batch() {
    let orders = [order("ann", 1.0, None, &[]), order("bob", 2.0, None, &[])];
    let ranked =
        |user: &str, rank| Ranked { user: user.to_owned(), rank, at: Timestamp(7000), kind: "order" };
    let expected = Table::of([ranked("bob", 0), ranked("ann", 1)]);
    assert_eq!(call(function!(ranked), orders), Ok(Answer::Rows(expected)));
}

#[test]
fn the_host_is_played_in_tests() {
    let rows = || [&b"a"[..], b""];
    assert_eq!(call(function!(count), rows()), Err(Error::Partition("no unit".to_owned())));
    testing::set_config("unit", "3");
    assert_eq!(call(function!(count), rows()), Ok(Answer::Rows(Table::of([6_i64]))));
    assert_eq!(testing::logged(), vec![(Level::Info, "counting".to_owned()); 2]);
}

/// Whether an event is of the last minute.
#[filter]
fn recent(at: Timestamp, context: Context) -> bool {
    context.batch_time_ms - at.0 / 1000 < 60_000
}

#[test]
fn the_time_of_the_batch_is_no_column() {
    assert_eq!(function!(recent).input().fields.len(), 1);
    let batch = Context { batch_time_ms: 100_000, partition: 0 };
    let kept = function!(recent).call(&Table::of([39_999_000, 40_001_000].map(Timestamp)), batch);
    assert_eq!(kept, Ok(Answer::Selection(vec![0b10])));
}

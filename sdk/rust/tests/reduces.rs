//! Reduces and inverses, described and called as the host does it.

use millstream_sdk::prelude::*;
use millstream_sdk::{
    Error, Function, Groups, Kind, ReadRow, Row, Schema, Table, WriteRow, function, testing,
};

#[reduce]
fn add(left: i64, right: i64) -> i64 {
    left + right
}

#[inverse]
fn subtract(total: i64, leaving: i64) -> i64 {
    total - leaving
}

/// Joins texts without a new one for each row.
#[reduce(column = "text")]
fn join(mut left: String, right: &str) -> String {
    left.push_str(right);
    left
}

#[reduce]
fn bracket(left: &str, right: &str) -> String {
    format!("({left} {right})")
}

#[reduce]
fn longest<'a>(left: &'a str, right: &'a str) -> &'a str {
    if right.len() > left.len() { right } else { left }
}

#[reduce]
fn all(left: bool, right: bool) -> bool {
    left && right
}

#[reduce]
fn last_known(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    right.or(left)
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Bid<'a> {
    user: &'a str,
    #[column(name = "price")]
    amount: f64,
}

/// The reduce's context stands where its author wants it.
#[reduce]
fn best<'a>(context: Context, left: Bid<'a>, right: Bid<'a>) -> Result<Bid<'a>, String> {
    accumulators::add("bids", 1);
    if right.amount < 0.0 {
        return Err(format!("{} bids less than nothing at {}", right.user, context.batch_time_ms));
    }
    Ok(if right.amount > left.amount { right } else { left })
}

fn fold(function: Function, rows: &Table, of: &[u32], count: usize) -> Result<Table, Error> {
    function.fold(rows, Groups { of, count }, Context { batch_time_ms: 7, partition: 0 })
}

/// Folding `rows` by the groups `of` gives `expected`.
#[track_caller]
fn check<T: WriteRow>(
    function: Function,
    rows: impl IntoIterator<Item = T>,
    of: &[u32],
    expected: impl IntoIterator<Item = T>,
) {
    let expected = Table::of(expected);
    assert_eq!(fold(function, &Table::of(rows), of, expected.rows), Ok(expected));
}

#[test]
fn rows_of_a_group_are_folded_in_order() {
    check(function!(add), [1, 10, 2, 20, 4], &[0, 1, 0, 1, 0], [7, 30]);
    check(function!(add), [5], &[0], [5]);
    check(function!(add), [0_i64; 0], &[], []);
    check(function!(join), ["a", "b", "c", "d"], &[1, 0, 1, 0], ["bd", "ac"]);
    check(function!(bracket), ["a", "b", "c"], &[0, 0, 0], ["((a b) c)"]);
    check(function!(longest), ["a", "bb", "cc"], &[0, 0, 0], ["bb"]);
    check(function!(all), [true, true, false], &[0, 1, 1], [true, false]);
    check(function!(last_known), [Some(1.0), None, None], &[0, 0, 1], [Some(1.0), None]);
    let bid = |user, amount| Bid { user, amount };
    check(function!(best), [bid("ann", 1.0), bid("bob", 2.0)], &[0, 0], [bid("bob", 2.0)]);
}

#[test]
fn what_is_read_and_what_is_answered_are_described_alike() {
    fn check<T: Row>(function: Function, name: &str) {
        let mut schema = Schema::default();
        T::fields(name, &mut schema);
        assert_eq!((function.input(), function.output()), (schema.clone(), schema), "{}", function.name);
        let none = Schema::default();
        assert_eq!((function.keys(), function.state(), function.state_version), (none.clone(), none, 0));
    }
    check::<i64>(function!(add), "value");
    check::<i64>(function!(subtract), "value");
    check::<String>(function!(join), "text");
    check::<&str>(function!(longest), "value");
    check::<Option<f64>>(function!(last_known), "value");
    check::<Bid<'_>>(function!(best), "");
    assert_eq!((function!(add).kind, function!(subtract).kind), (Kind::Reduce, Kind::Inverse));
    assert_eq!(function!(join).documentation, "Joins texts without a new one for each row.");
}

#[test]
fn groups_that_do_not_fit_their_rows_are_refused() {
    let rows = Table::of([1, 2, 3]);
    let cases: [(&[u32], usize); 6] =
        [(&[0, 0], 1), (&[0, 0, 0, 0], 1), (&[0, 1, 0], 1), (&[0, 0, 0], 2), (&[0, 2, 0], 3), (&[0; 3], 4)];
    for (of, count) in cases {
        let refused = fold(function!(add), &rows, of, count);
        assert_eq!(refused, Err(Error::Groups { groups: count, rows: 3 }), "{of:?} of {count}");
    }
}

#[test]
fn an_error_names_the_row_and_counts_nothing() {
    let bids = |amount| Table::of([Bid { user: "ann", amount: 1.0 }, Bid { user: "bob", amount }]);
    assert!(fold(function!(best), &bids(3.0), &[0, 0], 1).is_ok());
    let message = "bob bids less than nothing at 7".to_owned();
    assert_eq!(fold(function!(best), &bids(-1.0), &[0, 0], 1), Err(Error::Row { row: 1, message }));
    assert_eq!(testing::added("bids"), 1);
}

#[test]
fn an_inverse_takes_row_by_row() {
    let take_out = |totals: &[i64], taken: &[i64]| {
        let table = |numbers: &[i64]| Table::of(numbers.iter().copied());
        function!(subtract).take_out(&table(totals), &table(taken), Context::default())
    };
    assert_eq!(take_out(&[7, 30], &[1, 20]), Ok(Table::of([6_i64, 10])));
    assert_eq!(take_out(&[], &[]), Ok(Table::of([0_i64; 0])));
    assert_eq!(take_out(&[1], &[]), Err(Error::Pairs { totals: 1, taken: 0 }));
}

#[test]
fn functions_are_called_as_their_kind_alone() {
    let rows = Table::of([1]);
    let check = |error: Option<Error>, function, kind| {
        assert_eq!(error, Some(Error::WrongKind { function, kind }));
    };
    check(function!(add).call(&rows, Context::default()).err(), "add", "reduce");
    check(function!(add).take_out(&rows, &rows, Context::default()).err(), "add", "reduce");
    check(fold(function!(subtract), &rows, &[0], 1).err(), "subtract", "inverse");
}

#[test]
fn columns_of_another_type_are_refused() {
    fn refused<T: ReadRow>(rows: &Table) -> bool {
        rows.read::<T>("value").is_err()
    }
    let texts = Table::of(["a"]);
    assert!(refused::<i64>(&texts));
    let error = fold(function!(add), &texts, &[0], 1).expect_err("text is no number").to_string();
    assert!(error.contains("`value`") && error.contains("int64"), "{error}");
}

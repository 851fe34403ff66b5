//! Tables: what is written is read again, and what is not as described is refused.

use std::fmt::Debug;

use millstream_sdk::{
    Column, Error, List, ReadRow, Setting, Table, Timestamp, Values, Varying, WriteRow, config, testing,
};

#[test]
fn what_is_written_is_read_again() {
    fn check<T>(rows: Vec<T>)
    where
        T: for<'a> ReadRow<At<'a> = T> + WriteRow + Clone + PartialEq + Debug + 'static,
    {
        let table = Table::of(rows.clone());
        assert_eq!(table.rows, rows.len());
        let read: Vec<T> = table.read::<T>("value").expect("the columns fit").iter().collect();
        assert_eq!(read, rows);
    }
    check(vec![true, false, true]);
    check((0..100).map(|row| (row % 3 != 0).then_some(row % 2 == 0)).collect());
    check(vec![i64::MIN, 0, i64::MAX]);
    check(vec![0.5, f64::INFINITY]);
    check(vec![Timestamp(-1), Timestamp(1)]);
    check(vec![String::new(), "größer als sechzehn Bytes".to_owned()]);
    check(vec![vec![0_u8, 255], vec![]]);
    check(vec![None, Some("a".to_owned()), None]);
    check(vec![vec![1_i64, 2], vec![], vec![3]]);
    check(vec![Some(vec![None, Some(vec![String::from("a")])]), None, Some(vec![])]);
    check(Vec::<i64>::new());
}

#[test]
fn a_bitmap_appears_with_the_first_null() {
    let validity = |rows: Vec<Option<i64>>| Table::of(rows).columns.remove(0).validity;
    assert_eq!(validity(vec![Some(1); 20]), None);
    let mut rows = vec![Some(1); 9];
    rows.push(None);
    assert_eq!(validity(rows), Some(vec![0xFF, 0b01]));
}

#[test]
fn what_is_not_as_described_is_refused() {
    fn check<T: ReadRow>(table: &Table, expected: &str) {
        let error =
            table.read::<T>("size").map(|rows| rows.len()).expect_err("the call is refused").to_string();
        assert!(error.contains(expected) && error.contains("`size`"), "{error}");
    }
    let text = |offsets: Vec<u32>| {
        let values = Values::Utf8(Varying { offsets, data: "ab".to_owned() });
        Table { rows: 2, columns: vec![Column { validity: None, values }], items: vec![] }
    };
    check::<i64>(&Table::default(), "no such column");
    check::<i64>(&Table::of(["a"]), "should be int64 but is utf8");
    check::<&str>(&text(vec![0, 1]), "too short for 2 rows");
    check::<i64>(&Table::of([Some(1_i64), None]), "row 1 is null");
    check::<Vec<&str>>(&Table { items: vec![], ..Table::of([vec!["a"]]) }, "item 0");
    let mut cycle = Table::of([vec![vec![1_i64]]]);
    cycle.items[0] = cycle.columns[0].clone();
    check::<Vec<Vec<i64>>>(&cycle, "item 0");
}

#[test]
fn lists_for_tests_come_from_slices() {
    let words = ["a", "b"];
    let list = List::from(&words[..]);
    assert_eq!((list.len(), list.get(1), list.get(2), list.is_empty()), (2, Some("b"), None, false));
    let table = Table::of([list.clone()]);
    let lists = table.read::<List<'_, &str>>("value").expect("the columns fit");
    assert_eq!(lists.get(0), Some(list));
}

#[test]
fn settings_are_read_from_json() {
    let setting = |json: &str| -> Setting {
        testing::set_config("key", json);
        config("key").expect("the key was set")
    };
    let check =
        |json: &str, text: Option<&str>| assert_eq!(setting(json).text().ok().as_deref(), text, "{json}");
    check(r#""plain""#, Some("plain"));
    check(r#" "a\"\\\/\n\u00e9\ud83d\ude00" "#, Some("a\"\\/\né😀"));
    check(r#""\ud83d""#, None);
    check(r#""\x""#, None);
    check(r#"""""#, None);
    check(r#"""#, None);
    check("3", None);
    assert_eq!(setting("3").integer(), Ok(3));
    assert_eq!(setting("2.5").number(), Ok(2.5));
    assert_eq!(setting("true").boolean(), Ok(true));
    assert_eq!(setting("[1]").json(), "[1]");
    assert!(matches!(setting("[1]").integer(), Err(Error::Setting { .. })));
    assert_eq!(config("other"), None);
}

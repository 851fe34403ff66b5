//! What is said of rows and columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, Int64Builder, ListArray, MapBuilder, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, TimestampMicrosecondArray, UnionArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UnionFields};

use super::{compared, counts};
use crate::{ShadowReport, Side};

fn one(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
}

/// The side and the text of the rows that are shown.
fn shown(report: &ShadowReport) -> Vec<(Side, &str)> {
    report.sinks["out"].samples.iter().map(|sample| (sample.side, &*sample.row)).collect()
}

#[test]
fn a_row_that_changed_is_shown_as_it_was_and_as_it_is() {
    let before = counts(&[("c", 1), ("a", 3), ("b", 2)]);
    let after = counts(&[("b", 2), ("c", 1), ("a", 4)]);
    let report = compared(&[before], &[after]);
    let expected = [(Side::Before, r#"{"word":"a","count":3}"#), (Side::After, r#"{"word":"a","count":4}"#)];
    assert_eq!(shown(&report), expected);
    assert_eq!(report.differing_rows(), 1);
}

#[test]
fn how_often_a_row_comes_counts() {
    let once = counts(&[("a", 1), ("b", 1)]);
    let report = compared(&[once.clone(), once.clone(), once.clone()], &[once]);
    assert_eq!((report.sinks["out"].only_before, report.sinks["out"].only_after), (4, 0));
    assert_eq!(report.sinks["out"].samples.len(), 2, "each row is shown once");
}

#[test]
fn of_many_rows_some_of_both_sides_are_shown() {
    let rows = |from: i64| {
        let rows: Vec<_> = (from..from + 10_000).map(|count| ("word", count)).collect();
        counts(&rows)
    };
    let cases = [(rows(0), rows(10_000), 5, 5), (rows(0), counts(&[("z", 0)]), 9, 1)];
    for (before, after, of_before, of_after) in cases {
        let report = compared(&[before], &[after]);
        let of = |side| shown(&report).iter().filter(|(of, _)| *of == side).count();
        assert_eq!((of(Side::Before), of(Side::After)), (of_before, of_after));
        assert_eq!(report.differing_rows(), 10_000);
    }
}

#[test]
fn columns_are_compared_by_name_type_and_place() {
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    let floats = || -> ArrayRef { Arc::new(Float64Array::from(vec![1.0, 2.0])) };
    let texts = || -> ArrayRef { Arc::new(StringArray::from(vec!["1", "2"])) };
    let of = |columns: [(&str, ArrayRef); 2]| RecordBatch::try_from_iter(columns).unwrap();
    let before = of([("a", numbers()), ("b", texts())]);
    let others = [
        (of([("a", numbers()), ("c", texts())]), "c: utf8"),
        (of([("a", floats()), ("b", texts())]), "a: float64"),
        (of([("b", texts()), ("a", numbers())]), "{ b: utf8, a: int64 }"),
        (one("a", numbers()), "{ a: int64 }"),
    ];
    for (after, told) in others {
        let report = compared(std::slice::from_ref(&before), &[after]);
        let sink = &report.sinks["out"];
        let columns = sink.columns.as_deref().unwrap();
        assert!(columns.contains("{ a: int64, b: utf8 } before") && columns.contains(told), "{columns}");
        assert_eq!((sink.only_before, sink.only_after, sink.differing), (2, 2, 2), "{columns}");
        assert!(!report.is_within(2), "columns that differ are no matter of how many rows do");
    }
}

#[test]
fn columns_of_no_rows_are_compared_as_well() {
    let none = counts(&[]);
    assert!(compared(std::slice::from_ref(&none), &[]).is_equal());
    let report = compared(&[none], &[one("other", Arc::new(Int64Array::from(vec![0; 0])))]);
    assert!(!report.is_equal());
}

#[test]
fn rows_without_columns_are_counted() {
    let rows = |count| {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
    };
    assert!(compared(&[rows(2), rows(1)], &[rows(3)]).is_equal());
    assert_eq!(shown(&compared(&[rows(2)], &[rows(3)])), [(Side::After, "{}")]);
}

#[test]
fn null_differs_from_every_value_and_nan_is_one() {
    let floats = |values: Vec<Option<f64>>| one("x", Arc::new(Float64Array::from(values)));
    let before = floats(vec![None, Some(f64::NAN), Some(0.0), Some(1.0)]);
    let same = floats(vec![Some(1.0), Some(-f64::NAN), None, Some(0.0)]);
    assert!(compared(std::slice::from_ref(&before), &[same]).is_equal());
    // The second is the number that has the bits of what digests take for null.
    for other in [0.0, f64::from_bits(0x5899_65cc_7537_4cc3), f64::NAN, -0.0] {
        let after = floats(vec![Some(other), Some(f64::NAN), Some(0.0), Some(1.0)]);
        let report = compared(std::slice::from_ref(&before), &[after]);
        assert_eq!(report.differing_rows(), 1, "{other}");
        assert!(shown(&report).contains(&(Side::Before, r#"{"x":null}"#)), "{other}");
    }
}

/// A column of each unusual type, with two rows that differ.
fn unusual() -> Vec<ArrayRef> {
    let members =
        UnionFields::try_new([0, 1], ["a", "b"].map(|name| Field::new(name, DataType::Int64, true)));
    let child: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
    let children = vec![child.clone(), child];
    let union = UnionArray::try_new(members.unwrap(), ScalarBuffer::from(vec![0_i8, 1]), None, children);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for value in [1, 2] {
        maps.keys().append_value("key");
        maps.values().append_value(value);
        maps.append(true).unwrap();
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let in_runs = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Utf8, true)),
    );
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)]), Some(vec![None])]);
    let lists: ArrayRef = Arc::new(lists);
    let views = DataType::ListView(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let fixed = DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Int64, true)), 1);
    vec![
        Arc::new(union.unwrap()),
        Arc::new(maps.finish()),
        cast(&texts, &in_runs).unwrap(),
        cast(&lists, &views).unwrap(),
        cast(&lists, &fixed).unwrap(),
        lists,
    ]
}

#[test]
fn rows_of_every_type_are_compared() {
    for column in unusual() {
        let whole = one("x", column);
        let [first, second] = [0, 1].map(|row| whole.slice(row, 1));
        let name = whole.column(0).data_type().clone();
        assert!(
            compared(&[first.clone(), second.clone()], &[second.clone(), first.clone()]).is_equal(),
            "{name}"
        );
        let report = compared(&[first.clone(), second], &[first.clone(), first]);
        assert_eq!((report.differing_rows(), shown(&report).len()), (1, 2), "{name}");
    }
}

#[test]
fn a_row_is_shown_much_as_json() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
    let cases: [(ArrayRef, &str); 6] = [
        (Arc::new(StringArray::from(vec!["\"\\\n\u{1b}\u{9b}é"])), r#""\"\\\n\u001b\u009bé""#),
        (Arc::new(Int64Array::from(vec![-7])), "-7"),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "NaN"),
        (Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])), r#""00ff""#),
        (Arc::new(TimestampMicrosecondArray::from(vec![0])), r#""1970-01-01T00:00:00""#),
        (Arc::new(lists), "[1,null]"),
    ];
    for (column, text) in cases {
        let report = compared(&[one("x", column)], &[]);
        assert_eq!(shown(&report), [(Side::Before, &*format!("{{\"x\":{text}}}"))]);
    }
}

#[test]
fn a_long_row_is_cut() {
    let long = one("x", Arc::new(StringArray::from(vec!["é".repeat(1 << 20)])));
    let wide = (0..2_000).map(|i| (format!("column-{i}"), Arc::new(Int64Array::from(vec![i])) as ArrayRef));
    for table in [long, RecordBatch::try_from_iter(wide).unwrap()] {
        let report = compared(&[table], &[]);
        let text = shown(&report)[0].1;
        assert!(text.ends_with('…') && (1_000..1_100).contains(&text.len()), "{text}");
    }
}

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use serde_json::{Value, json};

use super::{PoisonRow, row_as_json};

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

#[test]
fn a_row_is_an_object_with_a_value_of_json_for_each_type() {
    let rows = table(vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("n", Arc::new(Int64Array::from(vec![i64::MIN, 7]))),
        ("x", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 0]))),
        ("text", Arc::new(StringViewArray::from(vec!["ä\n", ""]))),
        ("bytes", Arc::new(BinaryViewArray::from(vec![&b"\x00\xff"[..], b""]))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]))),
    ]);
    let first = json!({
        "flag": true, "n": i64::MIN, "x": 0.5, "at": "1970-01-01T00:00:01.500Z", "text": "ä\n", "bytes": "00ff",
        "list": [1, null]
    });
    assert_eq!(Value::from(row_as_json(&rows, 0)), first);
    let second = json!({
        "flag": null, "n": 7, "x": null, "at": "1970-01-01T00:00:00Z", "text": "", "bytes": "", "list": null
    });
    assert_eq!(Value::from(row_as_json(&rows, 1)), second);
}

#[test]
fn large_values_are_cut_to_what_a_letter_may_have() {
    let long = "ä".repeat(PoisonRow::ROW_BYTES_MAX);
    let nulls = vec![None; 1_000_000];
    let rows = table(vec![
        ("nulls", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(nulls)]))),
        ("text", Arc::new(StringViewArray::from(vec![long.as_str()]))),
        ("bytes", Arc::new(BinaryViewArray::from(vec![long.as_bytes()]))),
    ]);
    let row = row_as_json(&rows, 0);
    let text = serde_json::to_string(&row).unwrap();
    assert!(text.len() < PoisonRow::ROW_BYTES_MAX + 100, "{}", text.len());
    assert!(!row["nulls"].as_array().unwrap().is_empty());
}

//! Rows that no encoder has written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, StringViewArray};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use crate::decode_rows;

#[test]
fn rows_with_any_byte_changed_or_cut_anywhere_are_read_or_refused() {
    let fields = [DataType::Utf8View, DataType::Int64].map(SortField::new);
    let converter = RowConverter::new(fields.to_vec()).unwrap();
    let words: ArrayRef =
        Arc::new(StringViewArray::from(vec!["grün, and longer than what a view holds in itself"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let rows = converter.convert_columns(&[words, numbers]).unwrap();
    let row = rows.row(0).data().to_vec();
    assert_eq!(decode_rows(&converter, [row.as_slice()].into_iter()).unwrap()[1].len(), 1);
    let mut refused = 0;
    let mut read = |row: &[u8]| refused += usize::from(decode_rows(&converter, [row].into_iter()).is_err());
    for at in 0..row.len() {
        read(&row[..at]);
        for bit in 0..8 {
            let mut other = row.clone();
            other[at] ^= 1 << bit;
            read(&other);
        }
    }
    assert!(refused > row.len(), "{refused} of {} rows were refused", 9 * row.len());
}

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListBuilder, RecordBatch, StringViewBuilder, new_null_array};
use arrow::datatypes::{DataType, Field};

use super::super::compact::compact;
use super::texts;

const LONG: usize = 10_000;

/// A hundred lists of three long texts, of which some are null, and so are some lists.
fn lists() -> ArrayRef {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for list in 0..100_usize {
        for element in 0..3 {
            lists
                .values()
                .append_option((element != list % 4).then(|| format!("{list} {element}").repeat(LONG)));
        }
        lists.append(list % 5 != 0);
    }
    Arc::new(lists.finish())
}

fn rows(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("column", column, true)]).unwrap()
}

#[test]
fn a_slice_is_the_same_rows_and_no_more() {
    let long: Vec<String> = (0..100).map(|row| format!("{row}").repeat(LONG)).collect();
    let nested = Arc::new(Field::new_list_field(DataType::new_list(DataType::Utf8View, true), true));
    let columns = [
        texts(long.iter().map(String::as_str)),
        rows(lists()),
        rows(new_null_array(&DataType::List(nested), 100)),
    ];
    for whole in columns {
        for (start, length) in [(0, 100), (7, 3), (99, 1), (5, 1), (50, 0)] {
            let slice = whole.slice(start, length);
            let compacted = compact(&slice);
            assert_eq!(compacted, slice);
            compacted.column(0).to_data().validate_full().unwrap();
            // Texts of three rows at most, with what buffers are rounded up by.
            let most = if length > 3 { usize::MAX } else { 4 * (3 * 4 * LONG) + 4_096 };
            let bytes = compacted.get_array_memory_size();
            assert!(bytes <= most, "{bytes} bytes for {length} rows");
        }
    }
}

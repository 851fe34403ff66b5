//! Rows in Arrow's row format that were kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::RowConverter;

/// The columns of rows that were kept. Whatever their bytes are, reading them is safe:
/// Arrow's converter panics over rows that no encoder has written, for it is made for rows that were not out of its hands.
///
/// # Errors
/// Where they are no rows of the converter's columns, as far as that can be told.
pub fn decode_rows<'r>(
    converter: &RowConverter,
    rows: impl Iterator<Item = &'r [u8]>,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let parser = converter.parser();
    let convert = AssertUnwindSafe(|| converter.convert_rows(rows.map(|row| parser.parse(row))));
    catch_unwind(convert).unwrap_or_else(|_| {
        Err(ArrowError::ParseError("they are no rows that an encoder has written".to_owned()))
    })
}

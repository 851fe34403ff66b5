//! A guest's columns on their way into Arrow: nothing is believed.
//!
//! Checked are the number and the types of columns, every length and offset, UTF-8 and the character boundaries in it,
//! bitmaps, nulls against the schema, and the order of list items. What passes is a valid Arrow array by construction.

#![allow(unsafe_code, reason = "view arrays are made of offsets and text that were checked just before")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatchOptions,
    StringViewArray, TimestampMicrosecondArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Field as ArrowField;
use arrow::record_batch::RecordBatch;
use millstream_model::{DataType, Schema};

use crate::contract::{Column, Lists, Table, Values, Varying};

/// Values that are short enough to lie in their view.
const INLINE_BYTES_MAX: usize = 12;
/// Rows of one answer. Columns of bits, or none, would let a small answer stand for rows beyond number.
const ROWS_MAX: usize = 1 << 24;

/// The rows of `table`, if they are what `schema` says. The error says what is wrong, of which column.
pub(crate) fn lift(table: Table, schema: &Schema) -> Result<RecordBatch, String> {
    let rows = table.rows as usize;
    if rows > ROWS_MAX {
        return Err(format!("answered with {rows} rows; {ROWS_MAX} are the most"));
    }
    if table.columns.len() != schema.fields.len() {
        let (given, described) = (table.columns.len(), schema.fields.len());
        return Err(format!("answered with {given} columns where it describes {described}"));
    }
    let mut items: Vec<Option<Column>> = table.items.into_iter().map(Some).collect();
    let mut arrays = Vec::with_capacity(schema.fields.len());
    for (column, field) in table.columns.into_iter().zip(&schema.fields) {
        let nullable = field.nullable;
        let lifted = lift_column(column, &field.data_type, nullable, rows, 0, &mut items);
        arrays.push(lifted.map_err(|wrong| format!("column \"{}\": {wrong}", field.name))?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(schema.to_arrow()), arrays, &options);
    batch.map_err(|error| error.to_string())
}

/// A bitmap of `bits` bits.
pub(crate) fn lift_bits(bytes: Vec<u8>, bits: usize) -> Result<BooleanBuffer, String> {
    let expected = bits.div_ceil(8);
    if bytes.len() != expected {
        return Err(format!("a bitmap of {} bytes for {bits} values; {expected} are right", bytes.len()));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, bits))
}

/// The origins of `rows` output rows among `count` of what `sources` names.
pub(crate) fn check_origins(origins: &[u32], rows: usize, count: usize, sources: &str) -> Result<(), String> {
    if origins.len() != rows {
        return Err(format!("answered with {} origins for {rows} rows", origins.len()));
    }
    if !origins.is_sorted() {
        return Err("the origins of its rows fall".to_owned());
    }
    match origins.last() {
        Some(&last) if last as usize >= count => {
            Err(format!("a row has the origin {last} where there are {count} {sources}"))
        }
        _ => Ok(()),
    }
}

/// `first_item`: the first of `items` that this column may refer to.
fn lift_column(
    column: Column,
    data_type: &DataType,
    nullable: bool,
    rows: usize,
    first_item: usize,
    items: &mut [Option<Column>],
) -> Result<ArrayRef, String> {
    let nulls = column.validity.map(|bytes| lift_bits(bytes, rows)).transpose()?.map(NullBuffer::new);
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    if nulls.is_some() && !nullable {
        return Err("has nulls, which its description rules out".to_owned());
    }
    let array: ArrayRef = match (column.values, data_type) {
        (Values::Boolean(bits), DataType::Boolean) => {
            Arc::new(BooleanArray::new(lift_bits(bits, rows)?, nulls))
        }
        (Values::Int64(values), DataType::Int64) => Arc::new(Int64Array::new(numbers(values, rows)?, nulls)),
        (Values::Float64(values), DataType::Float64) => {
            Arc::new(Float64Array::new(numbers(values, rows)?, nulls))
        }
        (Values::Timestamp(values), DataType::Timestamp) => {
            Arc::new(TimestampMicrosecondArray::new(numbers(values, rows)?, nulls))
        }
        (Values::Utf8(varying), DataType::Utf8) => {
            check_text(&varying, rows)?;
            let (views, data) = views(varying);
            // SAFETY: each view is of a checked range of the one buffer, and `check_text` found valid UTF-8
            // with every range on character boundaries.
            Arc::new(unsafe { StringViewArray::new_unchecked(views, data, nulls) })
        }
        (Values::Binary(varying), DataType::Binary) => {
            check_offsets(&varying.offsets, rows, varying.data.len())?;
            let (views, data) = views(varying);
            // SAFETY: each view is of a checked range of the one buffer.
            Arc::new(unsafe { BinaryViewArray::new_unchecked(views, data, nulls) })
        }
        (Values::List(lists), DataType::List(item)) => {
            return lift_lists(lists, item, nulls, rows, first_item, items);
        }
        (given, described) => {
            return Err(format!("is {} where its description says {described}", kind(&given)));
        }
    };
    Ok(array)
}

fn lift_lists(
    lists: Lists,
    item_type: &DataType,
    nulls: Option<NullBuffer>,
    rows: usize,
    first_item: usize,
    items: &mut [Option<Column>],
) -> Result<ArrayRef, String> {
    let index = lists.item as usize;
    let item = match items.get_mut(index) {
        Some(item) if index >= first_item => item.take(),
        _ => None,
    };
    let item = item.ok_or_else(|| format!("refers to item {index}, which is not there or not its own"))?;
    let elements = lists.offsets.last().map_or(0, |&last| last as usize);
    check_offsets(&lists.offsets, rows, elements)?;
    let elements = lift_column(item, item_type, true, elements, index + 1, items)?;
    let offsets = lists.offsets.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>();
    let offsets = offsets.map_err(|_| "has more than 2^31 elements in its lists".to_owned())?;
    let field = Arc::new(ArrowField::new_list_field(item_type.to_arrow(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = ListArray::try_new(field, offsets, elements, nulls);
    Ok(Arc::new(array.map_err(|error| error.to_string())?))
}

fn numbers<T: arrow::datatypes::ArrowNativeType>(
    values: Vec<T>,
    rows: usize,
) -> Result<ScalarBuffer<T>, String> {
    match values.len() == rows {
        true => Ok(ScalarBuffer::from(values)),
        false => Err(format!("has {} values in {rows} rows", values.len())),
    }
}

fn check_offsets(offsets: &[u32], rows: usize, length: usize) -> Result<(), String> {
    if offsets.len() != rows + 1 {
        return Err(format!("has {} offsets for {rows} values; {} are right", offsets.len(), rows + 1));
    }
    if offsets[0] != 0 || offsets[rows] as usize != length {
        return Err(format!("has offsets from {} to {} over {length} values", offsets[0], offsets[rows]));
    }
    match offsets.is_sorted() {
        true => Ok(()),
        false => Err("has offsets that fall".to_owned()),
    }
}

fn check_text(varying: &Varying, rows: usize) -> Result<(), String> {
    check_offsets(&varying.offsets, rows, varying.data.len())?;
    if varying.data.is_ascii() {
        return Ok(());
    }
    let text = std::str::from_utf8(&varying.data).map_err(|error| format!("is not UTF-8: {error}"))?;
    match varying.offsets.iter().all(|&offset| text.is_char_boundary(offset as usize)) {
        true => Ok(()),
        false => Err("has an offset inside a character".to_owned()),
    }
}

/// Views of the values; the buffer only where a value is too long for its view.
fn views(varying: Varying) -> (ScalarBuffer<u128>, Vec<Buffer>) {
    let Varying { offsets, data } = varying;
    let mut all_inline = true;
    let view = |range: &[u32]| {
        let (start, end) = (range[0] as usize, range[1] as usize);
        let length = end - start;
        if length > INLINE_BYTES_MAX {
            all_inline = false;
            return make_view(&data[start..end], 0, range[0]);
        }
        inline_view(&data, start, length)
    };
    let views: Vec<u128> = offsets.windows(2).map(view).collect();
    let buffers = if all_inline { Vec::new() } else { vec![Buffer::from_vec(data)] };
    (ScalarBuffer::from(views), buffers)
}

/// The view of a short value: its length in the low four bytes, then its bytes. Sixteen bytes are read at once and the
/// ones that are not the value's masked off, which is several times faster than a copy of few bytes.
fn inline_view(data: &[u8], start: usize, length: usize) -> u128 {
    let value = match data.get(start..start + 16) {
        Some(bytes) => {
            let bytes = u128::from_le_bytes(bytes.try_into().expect("the slice is of sixteen bytes"));
            bytes & ((1 << (8 * length)) - 1)
        }
        None => {
            let mut bytes = [0; 16];
            bytes[..length].copy_from_slice(&data[start..start + length]);
            u128::from_le_bytes(bytes)
        }
    };
    (value << 32) | length as u128
}

fn kind(values: &Values) -> &'static str {
    match values {
        Values::Boolean(_) => "boolean",
        Values::Int64(_) => "int64",
        Values::Float64(_) => "float64",
        Values::Timestamp(_) => "timestamp",
        Values::Utf8(_) => "utf8",
        Values::Binary(_) => "binary",
        Values::List(_) => "a list",
    }
}

//! Schemas and rows by chance.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Field as ArrowField;
use millstream_model::{DataType, Field, Schema};
use millstream_platform::{Randomness, Seeded};

/// No column to three of them, of which some may have nulls.
pub(super) fn schema(random: &Seeded) -> Schema {
    let field = |number| Field {
        nullable: random.chance(3, 4),
        ..Field::new(format!("c{number}"), data_type(random, 0))
    };
    Schema::new((0..random.below(4)).map(field).collect::<Vec<_>>())
}

/// Fewer than `rows_max` rows of the schema.
pub(super) fn rows(random: &Seeded, schema: &Schema, rows_max: u64) -> RecordBatch {
    let rows = random.below(rows_max) as usize;
    let column = |field: &Field| array(random, &field.data_type, field.nullable, rows);
    let columns = schema.fields.iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema.to_arrow()), columns, &options).unwrap()
}

pub(super) fn data_type(random: &Seeded, depth: u32) -> DataType {
    match random.below(if depth > 2 { 6 } else { 7 }) {
        0 => DataType::Boolean,
        1 => DataType::Int64,
        2 => DataType::Float64,
        3 => DataType::Timestamp,
        4 => DataType::Utf8,
        5 => DataType::Binary,
        _ => DataType::List(Box::new(data_type(random, depth + 1))),
    }
}

fn text(random: &Seeded) -> String {
    (0..random.below(20)).map(|_| ['a', 'ß', '語', '🦀'][random.below(4) as usize]).collect()
}

fn array(random: &Seeded, data_type: &DataType, nullable: bool, rows: usize) -> ArrayRef {
    let density = if nullable { random.below(3) } else { 0 };
    let valid = || BooleanBuffer::from_iter((0..rows).map(|_| !random.chance(density, 4)));
    let nulls = (density > 0).then(|| NullBuffer::new(valid()));
    let present = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    match data_type {
        DataType::Boolean => {
            let bits = BooleanBuffer::from_iter((0..rows).map(|_| random.chance(1, 2)));
            Arc::new(BooleanArray::new(bits, nulls))
        }
        DataType::Int64 => Arc::new(Int64Array::new(numbers(random, rows).into(), nulls)),
        DataType::Float64 => {
            let values: Vec<f64> = (0..rows).map(|_| random.below(1_000) as f64 / 8.0).collect();
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        DataType::Timestamp => Arc::new(TimestampMicrosecondArray::new(numbers(random, rows).into(), nulls)),
        DataType::Utf8 => {
            Arc::new(StringViewArray::from_iter((0..rows).map(|row| present(row).then(|| text(random)))))
        }
        DataType::Binary => {
            let bytes = (0..rows).map(|row| present(row).then(|| text(random).into_bytes()));
            Arc::new(BinaryViewArray::from_iter(bytes))
        }
        DataType::List(item) => lists(random, item, rows, nulls),
    }
}

fn numbers(random: &Seeded, rows: usize) -> Vec<i64> {
    (0..rows).map(|_| random.next_u64() as i64).collect()
}

fn lists(random: &Seeded, item: &DataType, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let ends = (0..rows).scan(0, |end, _| {
        *end += random.below(4) as i32;
        Some(*end)
    });
    let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
    let elements = array(random, item, true, offsets[rows] as usize);
    let field = Arc::new(ArrowField::new_list_field(item.to_arrow(), true));
    Arc::new(ListArray::new(field, OffsetBuffer::new(ScalarBuffer::from(offsets)), elements, nulls))
}

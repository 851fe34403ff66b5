//! Columns with anything in them: what is believed is whole, and says what the guest said.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use millstream_model::DataType;
use millstream_platform::{Randomness, Seeded};

use super::{echo, random};
use crate::contract::{Column, Lists, Table, Values, Varying};
use crate::lift::lift;
use crate::lower::Lowered;

/// A value, as a reader of the contract's text takes it.
#[derive(Debug, PartialEq)]
enum Plain {
    Null,
    Boolean(bool),
    Number(i64),
    Float(u64),
    Bytes(Vec<u8>),
    List(Vec<Plain>),
}

/// What the guest said.
fn said(column: &Column, items: &[Column], row: usize) -> Plain {
    let bit = |bits: &[u8], at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
    if column.validity.as_ref().is_some_and(|valid| !bit(valid, row)) {
        return Plain::Null;
    }
    let range = |offsets: &[u32]| offsets[row] as usize..offsets[row + 1] as usize;
    match &column.values {
        Values::Boolean(bits) => Plain::Boolean(bit(bits, row)),
        Values::Int64(values) | Values::Timestamp(values) => Plain::Number(values[row]),
        Values::Float64(values) => Plain::Float(values[row].to_bits()),
        Values::Utf8(Varying { offsets, data }) | Values::Binary(Varying { offsets, data }) => {
            Plain::Bytes(data[range(offsets)].to_vec())
        }
        Values::List(Lists { offsets, item }) => {
            let elements = &items[*item as usize];
            Plain::List(range(offsets).map(|row| said(elements, items, row)).collect())
        }
    }
}

/// What the host makes of it.
fn believed(array: &ArrayRef, data_type: &DataType, row: usize) -> Plain {
    if array.is_null(row) {
        return Plain::Null;
    }
    match data_type {
        DataType::Boolean => Plain::Boolean(array.as_boolean().value(row)),
        DataType::Int64 => Plain::Number(array.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp => Plain::Number(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Float64 => Plain::Float(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Utf8 => Plain::Bytes(array.as_string_view().value(row).as_bytes().to_vec()),
        DataType::Binary => Plain::Bytes(array.as_binary_view().value(row).to_vec()),
        DataType::List(item) => {
            let elements = array.as_list::<i32>().value(row);
            Plain::List((0..elements.len()).map(|row| believed(&elements, item, row)).collect())
        }
    }
}

fn copy(table: &Table) -> Table {
    let copy = |columns: &[Column]| columns.iter().map(copy_column).collect();
    Table { rows: table.rows, columns: copy(&table.columns), items: copy(&table.items) }
}

fn copy_column(column: &Column) -> Column {
    let varying = |v: &Varying| Varying { offsets: v.offsets.clone(), data: v.data.clone() };
    let values = match &column.values {
        Values::Boolean(bits) => Values::Boolean(bits.clone()),
        Values::Int64(values) => Values::Int64(values.clone()),
        Values::Float64(values) => Values::Float64(values.clone()),
        Values::Timestamp(values) => Values::Timestamp(values.clone()),
        Values::Utf8(text) => Values::Utf8(varying(text)),
        Values::Binary(bytes) => Values::Binary(varying(bytes)),
        Values::List(lists) => Values::List(Lists { offsets: lists.offsets.clone(), item: lists.item }),
    };
    Column { validity: column.validity.clone(), values }
}

fn bytes_of(table: &Table) -> usize {
    let of = |column: &Column| {
        let values = match &column.values {
            Values::Boolean(bits) => bits.len(),
            Values::Int64(values) | Values::Timestamp(values) => 8 * values.len(),
            Values::Float64(values) => 8 * values.len(),
            Values::Utf8(Varying { offsets, data }) | Values::Binary(Varying { offsets, data }) => {
                4 * offsets.len() + data.len()
            }
            Values::List(lists) => 4 * lists.offsets.len(),
        };
        values + column.validity.as_ref().map_or(0, Vec::len)
    };
    table.columns.iter().chain(&table.items).map(of).sum()
}

/// Breaks one thing of a table, whatever it is.
fn spoil(table: &mut Table, random: &Seeded) {
    let columns = table.columns.len() + table.items.len();
    match random.below(12) {
        0 => table.rows = odd(random, table.rows),
        1 => reorder(&mut table.columns, random),
        2 => reorder(&mut table.items, random),
        _ if columns == 0 => table.items.push(invented(random, table.rows)),
        _ => {
            let rows = table.rows;
            let chosen = random.below(columns as u64) as usize;
            let mut all = table.columns.iter_mut().chain(&mut table.items);
            spoil_column(all.nth(chosen).expect("it is one of them"), random, rows);
        }
    }
}

fn reorder(columns: &mut Vec<Column>, random: &Seeded) {
    let at = |length: usize| random.below(length as u64) as usize;
    match (random.below(3), columns.len()) {
        (_, 0) => {}
        (0, length) => drop(columns.remove(at(length))),
        (1, length) => columns.swap(at(length), at(length)),
        (_, length) => columns.push(copy_column(&columns[at(length)])),
    }
}

fn spoil_column(column: &mut Column, random: &Seeded, rows: u32) {
    match random.below(8) {
        0 => column.validity = None,
        1 => column.validity = Some(bytes(random, 6)),
        2 => column.validity = Some(vec![0xFF; rows.min(100).div_ceil(8) as usize]),
        3 => *column = invented(random, rows),
        _ => spoil_values(&mut column.values, random),
    }
}

fn spoil_values(values: &mut Values, random: &Seeded) {
    match values {
        Values::Boolean(bits) => random.spoil(bits),
        Values::Int64(values) | Values::Timestamp(values) => resize(values, random),
        Values::Float64(values) => resize(values, random),
        Values::Utf8(Varying { offsets, data }) | Values::Binary(Varying { offsets, data }) => {
            match random.chance(1, 2) {
                true => spoil_offsets(offsets, random),
                false => random.spoil(data),
            }
        }
        Values::List(Lists { offsets, item }) => match random.chance(1, 3) {
            true => *item = odd(random, *item),
            false => spoil_offsets(offsets, random),
        },
    }
}

fn resize<T: Clone + Default>(values: &mut Vec<T>, random: &Seeded) {
    values.resize(random.below(values.len() as u64 + 2) as usize, T::default());
}

fn spoil_offsets(offsets: &mut Vec<u32>, random: &Seeded) {
    if offsets.is_empty() || random.chance(1, 4) {
        return resize(offsets, random);
    }
    let at = random.below(offsets.len() as u64) as usize;
    offsets[at] = odd(random, offsets[at]);
}

/// A number that is near another, or far from all.
fn odd(random: &Seeded, number: u32) -> u32 {
    match random.below(6) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => random.below(40) as u32,
        3 => u32::MAX - random.below(3) as u32,
        4 => (1 << 31) - 1 + random.below(3) as u32,
        _ => 0,
    }
}

fn bytes(random: &Seeded, count_max: u64) -> Vec<u8> {
    (0..random.below(count_max)).map(|_| random.next_u64() as u8).collect()
}

/// A column of any type, right or nearly so.
fn invented(random: &Seeded, rows: u32) -> Column {
    let rows = rows.min(100) as usize;
    let varying = || Varying { offsets: vec![0; rows + 1], data: bytes(random, 3) };
    let values = match random.below(7) {
        0 => Values::Boolean(vec![0xA5; rows.div_ceil(8)]),
        1 => Values::Int64(vec![-1; rows]),
        2 => Values::Float64(vec![f64::NAN; rows]),
        3 => Values::Timestamp(vec![i64::MIN; rows]),
        4 => Values::Utf8(varying()),
        5 => Values::Binary(varying()),
        _ => Values::List(Lists { offsets: vec![0; rows + 1], item: random.below(3) as u32 }),
    };
    Column { validity: None, values }
}

#[test]
fn columns_that_are_spoilt_in_any_way_are_refused_or_say_what_the_guest_said() {
    let (mut accepted, mut refused) = (0, 0);
    let seeds = Seeded::seeds(0..20_000);
    let replayed = seeds.end - seeds.start == 1;
    for seed in seeds {
        println!("MILLSTREAM_SEED={seed}");
        let random = Seeded::new(seed);
        let schema = random::schema(&random);
        let rows = random::rows(&random, &schema, 24);
        let mut table = echo(&Lowered::new(&rows).unwrap().table());
        (0..1 + random.below(3)).for_each(|_| spoil(&mut table, &random));
        let Ok(lifted) = lift(copy(&table), &schema) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        assert_eq!(lifted.num_rows(), table.rows as usize);
        for (number, (field, array)) in schema.fields.iter().zip(lifted.columns()).enumerate() {
            array.to_data().validate_full().unwrap();
            assert!(field.nullable || array.null_count() == 0, "nulls are against {schema}");
            for row in 0..array.len() {
                let said = said(&table.columns[number], &table.items, row);
                assert_eq!(believed(array, &field.data_type, row), said, "row {row} of {schema}");
            }
        }
        let (given, made) = (bytes_of(&table), lifted.get_array_memory_size());
        assert!(
            made <= 8 * given + 1_024 * (1 + table.columns.len() + table.items.len()),
            "{made} of {given}"
        );
    }
    assert!(replayed || (accepted > 1_000 && refused > 1_000), "{accepted} accepted, {refused} refused");
}

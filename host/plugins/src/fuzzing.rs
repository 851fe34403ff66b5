//! What fuzzing reaches of the checks of columns, which nothing else does from outside.

use millstream_model::{DataType, Field, Schema};

use crate::contract::{Column, Lists, Table, Values, Varying};
use crate::lift;

/// Takes bytes for a schema and a table of a guest, and lifts it.
///
/// # Panics
/// Where what was believed is not whole.
pub fn lift(bytes: &[u8]) {
    let mut source = Source(bytes);
    let fields = (0..source.byte() % 4).map(|number| source.field(number)).collect::<Vec<_>>();
    let schema = Schema::new(fields);
    let rows = u32::from(source.byte());
    let columns = schema.fields.iter().map(|field| Some(&field.data_type));
    let columns = columns.map(|data_type| source.column(data_type, rows)).collect();
    let items = (0..source.byte() % 4).map(|_| source.column(None, rows)).collect();
    let table = Table { rows: source.number(rows), columns, items };
    let Ok(lifted) = lift::lift(table, &schema) else { return };
    for (column, field) in lifted.columns().iter().zip(&schema.fields) {
        column.to_data().validate_full().expect("what is believed is whole");
        assert!(field.nullable || column.null_count() == 0, "no nulls where the description rules them out");
    }
}

/// Bytes that are read as whatever is asked for; zeros behind their end.
struct Source<'b>(&'b [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A small number as a rule, near `likely`, and any other at times.
    fn number(&mut self, likely: u32) -> u32 {
        match self.byte() {
            0xFF => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
            0xF0.. => u32::from(self.byte()),
            _ => likely,
        }
    }

    fn bytes(&mut self, likely: u32) -> Vec<u8> {
        let count = self.number(likely).min(4_096) as usize;
        (0..count).map(|_| self.byte()).collect()
    }

    fn field(&mut self, number: u8) -> Field {
        let nullable = self.byte() % 2 == 0;
        Field { nullable, ..Field::new(format!("c{number}"), self.data_type(0)) }
    }

    fn data_type(&mut self, depth: u32) -> DataType {
        match self.byte() % if depth > 3 { 6 } else { 7 } {
            0 => DataType::Boolean,
            1 => DataType::Int64,
            2 => DataType::Float64,
            3 => DataType::Timestamp,
            4 => DataType::Utf8,
            5 => DataType::Binary,
            _ => DataType::List(Box::new(self.data_type(depth + 1))),
        }
    }

    /// A column of the type, as a rule; of any, where none is given.
    fn column(&mut self, data_type: Option<&DataType>, rows: u32) -> Column {
        let any = self.data_type(4);
        let data_type = data_type.filter(|_| self.byte() < 0xF8).unwrap_or(&any);
        let rows = self.number(rows).min(4_096);
        let validity = (self.byte() % 2 == 0).then(|| self.bytes(rows.div_ceil(8)));
        let values = match data_type {
            DataType::Boolean => Values::Boolean(self.bytes(rows.div_ceil(8))),
            DataType::Int64 => Values::Int64(self.longs(rows)),
            DataType::Float64 => Values::Float64(
                self.longs(rows).into_iter().map(|bits| f64::from_bits(bits as u64)).collect(),
            ),
            DataType::Timestamp => Values::Timestamp(self.longs(rows)),
            DataType::Utf8 => Values::Utf8(self.varying(rows)),
            DataType::Binary => Values::Binary(self.varying(rows)),
            DataType::List(_) => Values::List(Lists { offsets: self.offsets(rows), item: self.number(0) }),
        };
        Column { validity, values }
    }

    fn longs(&mut self, rows: u32) -> Vec<i64> {
        (0..rows).map(|_| i64::from(self.byte())).collect()
    }

    fn offsets(&mut self, rows: u32) -> Vec<u32> {
        let mut end = 0_u32;
        let mut offsets = vec![self.number(0)];
        for _ in 0..rows {
            end = end.wrapping_add(u32::from(self.byte() % 8));
            offsets.push(self.number(end));
        }
        offsets
    }

    fn varying(&mut self, rows: u32) -> Varying {
        let offsets = self.offsets(rows);
        let likely = offsets.last().copied().unwrap_or_default();
        Varying { data: self.bytes(likely), offsets }
    }
}

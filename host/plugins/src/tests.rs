use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Field as ArrowField;
use millstream_model::{DataType, Field, Schema};

use crate::contract::{Column, ColumnIn, Lists, Table, TableIn, Values, ValuesIn, Varying, VaryingIn};
use crate::http::Destination;
use crate::lift::{check_origins, lift, lift_bits};
use crate::lower::Lowered;
use crate::output::{LogRate, Printed};

/// What a guest holds that was handed a table and hands it back.
fn echo(table: &TableIn<'_>) -> Table {
    let columns = |columns: &[ColumnIn<'_>]| columns.iter().map(column).collect();
    Table { rows: table.rows, columns: columns(&table.columns), items: columns(&table.items) }
}

fn column(column: &ColumnIn<'_>) -> Column {
    let varying = |v: &VaryingIn<'_>| Varying { offsets: v.offsets.to_vec(), data: v.data.to_vec() };
    let values = match &column.values {
        ValuesIn::Boolean(bits) => Values::Boolean(bits.to_vec()),
        ValuesIn::Int64(values) => Values::Int64(values.to_vec()),
        ValuesIn::Float64(values) => Values::Float64(values.to_vec()),
        ValuesIn::Timestamp(values) => Values::Timestamp(values.to_vec()),
        ValuesIn::Utf8(text) => Values::Utf8(varying(text)),
        ValuesIn::Binary(bytes) => Values::Binary(varying(bytes)),
        ValuesIn::List(lists) => Values::List(Lists { offsets: lists.offsets.to_vec(), item: lists.item }),
    };
    Column { validity: column.validity.map(<[u8]>::to_vec), values }
}

/// A generator with the seed that a failure names.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        let density = self.below(3);
        (density > 0).then(|| NullBuffer::from_iter((0..rows).map(|_| self.below(4) >= density)))
    }

    fn data_type(&mut self, depth: usize) -> DataType {
        match self.below(if depth > 2 { 6 } else { 7 }) {
            0 => DataType::Boolean,
            1 => DataType::Int64,
            2 => DataType::Float64,
            3 => DataType::Timestamp,
            4 => DataType::Utf8,
            5 => DataType::Binary,
            _ => DataType::List(Box::new(self.data_type(depth + 1))),
        }
    }

    fn text(&mut self) -> String {
        (0..self.below(20)).map(|_| ['a', 'ß', '語', '🦀'][self.below(4)]).collect()
    }

    fn array(&mut self, data_type: &DataType, rows: usize) -> ArrayRef {
        let nulls = self.nulls(rows);
        let present = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        match data_type {
            DataType::Boolean => {
                let bits = BooleanBuffer::from_iter((0..rows).map(|_| self.below(2) == 0));
                Arc::new(BooleanArray::new(bits, nulls))
            }
            DataType::Int64 => {
                let values: Vec<i64> = (0..rows).map(|_| self.below(1 << 30) as i64 - (1 << 29)).collect();
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            DataType::Float64 => {
                let values: Vec<f64> = (0..rows).map(|_| self.below(1_000) as f64 / 8.0).collect();
                Arc::new(Float64Array::new(values.into(), nulls))
            }
            DataType::Timestamp => {
                let values: Vec<i64> = (0..rows).map(|_| self.below(1 << 30) as i64).collect();
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls))
            }
            DataType::Utf8 => {
                Arc::new(StringViewArray::from_iter((0..rows).map(|row| present(row).then(|| self.text()))))
            }
            DataType::Binary => {
                let bytes = (0..rows).map(|row| present(row).then(|| self.text().into_bytes()));
                Arc::new(BinaryViewArray::from_iter(bytes))
            }
            DataType::List(item) => self.lists(item, rows, nulls),
        }
    }

    fn lists(&mut self, item: &DataType, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets: Vec<i32> = std::iter::once(0)
            .chain((0..rows).scan(0, |end, _| {
                *end += self.below(4) as i32;
                Some(*end)
            }))
            .collect();
        let elements = self.array(item, *offsets.last().unwrap() as usize);
        let field = Arc::new(ArrowField::new_list_field(item.to_arrow(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(arrow::array::ListArray::new(field, offsets, elements, nulls))
    }
}

#[test]
fn what_crosses_the_boundary_comes_back_as_it_was() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let rows = random.below(40);
        let fields = (0..random.below(4))
            .map(|i| Field { nullable: true, ..Field::new(format!("c{i}"), random.data_type(0)) });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let arrays = schema.fields.iter().map(|field| random.array(&field.data_type, rows)).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema.to_arrow()), arrays, &options).unwrap();
        // A part of it, so that bitmaps begin inside a byte and lists inside their elements.
        let start = random.below(rows + 1);
        let part = batch.slice(start, random.below(rows - start + 1));
        let lowered = Lowered::new(&part).unwrap();
        let lifted = lift(echo(&lowered.table()), &schema);
        assert_eq!(lifted.as_ref(), Ok(&part), "seed {seed}, {schema}");
    }
}

#[test]
fn a_random_change_is_refused_or_harmless() {
    let schema = Schema::new([
        Field { nullable: true, ..Field::new("text", DataType::Utf8) },
        Field::new("lists", DataType::List(Box::new(DataType::Utf8))),
    ]);
    for seed in 0..5_000 {
        let mut random = Random(seed);
        let rows = 1 + random.below(10);
        let texts = random.array(&DataType::Utf8, rows);
        let lists = random.lists(&DataType::Utf8, rows, None);
        let batch = RecordBatch::try_new(Arc::new(schema.to_arrow()), vec![texts, lists]).unwrap();
        let mut table = echo(&Lowered::new(&batch).unwrap().table());
        spoil(&mut table, &mut random);
        // What passes must hold together: reading every value of it does not panic.
        if let Ok(lifted) = lift(table, &schema) {
            assert!(arrow::util::pretty::pretty_format_batches(&[lifted]).is_ok(), "seed {seed}");
        }
    }
}

/// Breaks one thing of a table.
fn spoil(table: &mut Table, random: &mut Random) {
    let any = random.below(1 << 20) as u32;
    let columns = [&mut table.columns, &mut table.items];
    let mut columns: Vec<&mut Column> = columns.into_iter().flatten().collect();
    let chosen = random.below(columns.len());
    let column = &mut columns[chosen];
    match (random.below(5), &mut column.values) {
        (0, _) => column.validity = Some(vec![any as u8; random.below(4)]),
        (1, Values::Utf8(text)) if !text.data.is_empty() => {
            let at = random.below(text.data.len());
            text.data[at] = any as u8;
        }
        (2, Values::Utf8(Varying { offsets, .. }) | Values::List(Lists { offsets, .. })) => {
            let at = random.below(offsets.len());
            offsets[at] = any % 64;
        }
        (3, Values::Utf8(Varying { offsets, .. }) | Values::List(Lists { offsets, .. })) => {
            offsets.truncate(random.below(offsets.len()));
        }
        (_, Values::List(lists)) => lists.item = any % 3,
        _ => table.rows = any % 12,
    }
}

#[test]
fn bitmaps_and_origins_are_held_to_their_rows() {
    assert_eq!(lift_bits(vec![0b101], 3).unwrap().iter().collect::<Vec<_>>(), [true, false, true]);
    assert!(lift_bits(vec![1], 9).is_err() && lift_bits(vec![1, 1], 8).is_err());
    assert!(check_origins(&[0, 0, 2], 3, 3, "rows").is_ok() && check_origins(&[], 0, 0, "rows").is_ok());
    for (origins, rows, input_rows) in [(&[0, 3][..], 2, 3), (&[1, 0], 2, 3), (&[0], 2, 3), (&[0], 1, 0)] {
        assert!(check_origins(origins, rows, input_rows, "rows").is_err(), "{origins:?}");
    }
}

#[test]
fn nulls_need_a_description_that_allows_them() {
    let strict = Schema::new([Field::new("n", DataType::Int64)]);
    let column = new_null_array(&DataType::Int64.to_arrow(), 2);
    let loose = Schema::new([Field { nullable: true, ..Field::new("n", DataType::Int64) }]);
    let batch = RecordBatch::try_new(Arc::new(loose.to_arrow()), vec![column]).unwrap();
    let lowered = Lowered::new(&batch).unwrap();
    assert!(lift(echo(&lowered.table()), &loose).is_ok());
    let refused = lift(echo(&lowered.table()), &strict).unwrap_err();
    assert!(refused.contains("column \"n\": has nulls"), "{refused}");
}

#[test]
fn a_log_takes_so_much_a_second_and_counts_the_rest() {
    let rate = LogRate::new(100, 50);
    let start = tokio::time::Instant::now();
    let at =
        |ms, lines: usize| rate.admit(vec!["123456789".to_owned(); lines], start + Duration::from_millis(ms));
    assert_eq!(at(0, 10).len(), 10, "what a second allows, at once");
    let told = at(10, 3);
    assert!(told.len() == 1 && told[0].starts_with("(30 bytes more"), "{told:?}");
    assert_eq!(at(20, 1_000), Vec::<String>::new(), "not told again within the second");
    assert_eq!(at(510, 5).len(), 5, "half a second fills it by half");
    let told = at(2_000, 11);
    assert_eq!(told.len(), 11, "it holds no more than a second's share");
    assert!(told[10].starts_with("(10010 bytes more"), "{told:?}");
    assert_eq!(at(60_000, 11).len(), 11);
}

#[test]
fn what_is_printed_is_kept_up_to_the_limit_of_a_call_without_control_characters() {
    let rate = Arc::new(LogRate::new(100, 50));
    let printed = Printed::new(10, &rate);
    printed.push(b"a \"b\"\n\x1b[2J");
    printed.push(b"and more");
    let lines = printed.take_lines();
    assert_eq!(lines[..2], ["a \"b\"".to_owned(), "\\u{1b}[2J".to_owned()]);
    assert!(lines[2].starts_with("(8 bytes more than limit.log = 10 B"), "{lines:?}");
    assert!(printed.take_lines().is_empty(), "they are taken once");
}

#[test]
fn a_host_is_granted_exactly_as_it_is_written() {
    let cases = [
        ("api.example.com", "https://API.example.com/rates", true),
        ("API.example.com", "http://api.example.com", true),
        ("api.example.com", "https://api.example.com:443/", true),
        ("api.example.com", "https://api.example.com:80/", false),
        ("api.example.com", "http://api.example.com:8080/", false),
        ("api.example.com:8080", "http://api.example.com:8080/", true),
        ("api.example.com:8080", "https://api.example.com:8080/", true),
        ("api.example.com:8080", "https://api.example.com/", false),
        ("api.example.com:443", "https://api.example.com/", true),
        ("example.com", "https://api.example.com/", false),
        ("api.example.com", "https://api.example.com.evil.org/", false),
        ("api.example.com", "https://api.example.com./", false),
        ("api.example.com", "https://evil@api.example.com/", false),
        ("api.example.com", "https://api.example.com:99999/", false),
        ("api.example.com", "https://api.example.com:/", false),
        ("[::1]:8080", "http://[::1]:8080/", true),
        ("[::1]", "http://[::1]/", true),
        ("::1", "http://[::1]/", false),
        ("a@b", "http://b/", false),
        ("a b", "http://b/", false),
        ("", "http://b/", false),
    ];
    for (granted, asked, expected) in cases {
        let destination = Destination::parse(granted);
        let admitted = asked.parse().is_ok_and(|uri| destination.is_some_and(|d| d.admits_uri(&uri)));
        assert_eq!(admitted, expected, "{granted:?} and {asked}");
    }
}

mod properties;
mod random;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use millstream_model::{DataType, Field, Schema};
use millstream_platform::Seeded;

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

#[test]
fn what_crosses_the_boundary_comes_back_as_it_was() {
    for seed in Seeded::seeds(0..2_000) {
        println!("MILLSTREAM_SEED={seed}");
        let random = Seeded::new(seed);
        let schema = random::schema(&random);
        let batch = random::rows(&random, &schema, 40);
        // A part of it, so that bitmaps begin inside a byte and lists inside their elements.
        let start = random.below(batch.num_rows() as u64 + 1) as usize;
        let part = batch.slice(start, random.below((batch.num_rows() - start) as u64 + 1) as usize);
        let lowered = Lowered::new(&part).unwrap();
        assert_eq!(lift(echo(&lowered.table()), &schema).as_ref(), Ok(&part), "{schema}");
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

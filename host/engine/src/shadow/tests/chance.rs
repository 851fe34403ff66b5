//! Tables by chance, beside a model that is as simple as it can be: a row is what is displayed of it.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_platform::Seeded;

use super::compared;
use crate::digest::tests::{Numbers, batch, columns, forms};

/// How often each row comes.
fn model(tables: &[RecordBatch]) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    let options = FormatOptions::new().with_null("∅");
    for table in tables {
        let columns = table.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap());
        let columns: Vec<_> = columns.collect();
        for row in 0..table.num_rows() {
            let shown = columns.iter().map(|column| column.value(row).to_string());
            *rows.entry(shown.collect::<Vec<_>>().join("|")).or_default() += 1;
        }
    }
    rows
}

/// How many rows one has that the other does not.
fn more(these: &BTreeMap<String, i64>, others: &BTreeMap<String, i64>) -> u64 {
    let surplus = these.iter().map(|(row, times)| times - others.get(row).unwrap_or(&0));
    surplus.filter(|surplus| *surplus > 0).sum::<i64>() as u64
}

/// Some of the columns of every kind.
fn table(numbers: &mut Numbers, rows: usize) -> RecordBatch {
    let mut all = columns(numbers, rows);
    let keep = numbers.below(4) + 1;
    while all.len() > keep {
        all.remove(numbers.below(all.len()));
    }
    batch(&all)
}

/// The same rows in another order, in pieces, of which some are gone and some come twice.
fn pieces(numbers: &mut Numbers, table: &RecordBatch, spare: usize) -> Vec<RecordBatch> {
    let rows = table.num_rows();
    let shuffled = take_record_batch(table, &UInt32Array::from(numbers.order(rows))).unwrap();
    let (mut pieces, mut start) = (Vec::new(), 0);
    while start < rows {
        let count = numbers.below(rows - start) + 1;
        let piece = shuffled.slice(start, count);
        let times = if spare > 0 && numbers.below(spare) == 0 { numbers.below(3) } else { 1 };
        pieces.extend(std::iter::repeat_n(piece, times));
        start += count;
    }
    pieces
}

/// The table with some columns in other physical forms.
fn transformed(numbers: &mut Numbers, table: &RecordBatch) -> RecordBatch {
    let column = |column: &ArrayRef| {
        let mut forms = forms(column.data_type());
        match numbers.below(2) == 0 && !forms.is_empty() {
            true => cast(column, &forms.swap_remove(numbers.below(forms.len()))).unwrap(),
            false => column.clone(),
        }
    };
    batch(&table.columns().iter().map(column).collect::<Vec<_>>())
}

#[test]
fn what_differs_is_what_differs_between_the_multisets_of_rows() {
    for seed in Seeded::seeds(1..400) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(40) + 1;
        let table = table(numbers, rows);
        let before = pieces(numbers, &table, 4);
        let after = pieces(numbers, &table, 4);
        let (was, is) = (model(&before), model(&after));
        let report = compared(&before, &after);
        let found = report.sinks.get("out").map_or((0, 0), |sink| (sink.only_before, sink.only_after));
        assert_eq!(found, (more(&was, &is), more(&is, &was)), "MILLSTREAM_SEED={seed}");
        assert_eq!(report.is_equal(), was == is, "MILLSTREAM_SEED={seed}");
        assert!(report.by_digest.is_empty(), "MILLSTREAM_SEED={seed}");
    }
}

#[test]
fn order_pieces_and_physical_forms_do_not_count() {
    for seed in Seeded::seeds(1..400) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(40) + 1;
        let table = table(numbers, rows);
        let before = pieces(numbers, &table, 0);
        let transformed = transformed(numbers, &table);
        let after = pieces(numbers, &transformed, 0);
        let report = compared(&before, &after);
        assert!(report.is_equal(), "MILLSTREAM_SEED={seed}: {report:?}");
    }
}

#[test]
fn the_rows_that_are_shown_do_not_depend_on_order_and_pieces() {
    for seed in Seeded::seeds(1..200) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(80) + 1;
        let table = table(numbers, rows);
        let [before, after] = [0, 0].map(|_| pieces(numbers, &table, 2));
        let [mixed_before, mixed_after] = [&before, &after].map(|side| {
            let whole = concat_batches(&table.schema(), side).unwrap();
            pieces(numbers, &whole, 0)
        });
        let report = compared(&before, &after);
        assert_eq!(compared(&mixed_before, &mixed_after), report, "MILLSTREAM_SEED={seed}");
    }
}

//! Rows that there is no room for.

use super::{ROOM, compare, counts, time};
use crate::{Captured, ShadowReport};

/// A table that takes some memory.
fn many(rows: i64) -> arrow::array::RecordBatch {
    counts(&(0..rows).map(|count| ("word", count)).collect::<Vec<_>>())
}

#[test]
fn of_more_rows_than_there_is_room_for_digests_are_compared() {
    let (same, other) = (many(10_000), counts(&[("other", 1)]));
    for (room_before, room_after) in [(0, 0), (0, ROOM), (ROOM, 0)] {
        let mut report = ShadowReport::default();
        let mut before = Captured::new(room_before);
        let mut after = Captured::new(room_after);
        before.add("out", &same.slice(0, 4_000));
        before.add("out", &same.slice(4_000, 6_000));
        after.add("out", &same);
        compare(time(1), &before, &after, &mut report);
        assert!(report.is_equal(), "{report:?}");
        after.add("out", &other);
        compare(time(2), &before, &after, &mut report);
        assert_eq!(report.by_digest["out"], 2);
        let sink = &report.sinks["out"];
        assert_eq!((sink.only_before, sink.only_after, sink.differing), (10_000, 10_001, 10_001));
        assert_eq!((report.rows, report.differing_rows()), (20_000, 10_001));
    }
}

#[test]
fn columns_are_compared_though_rows_are_not() {
    let mut before = Captured::new(0);
    before.add("out", &many(10));
    let mut after = Captured::new(0);
    let columns = many(10);
    after.add("out", &columns.project(&[0]).unwrap());
    let mut report = ShadowReport::default();
    compare(time(1), &before, &after, &mut report);
    assert!(report.sinks["out"].columns.is_some());
}

#[test]
fn the_sink_with_the_most_rows_gives_up_first() {
    let room = 300_000;
    let captured = |small: i64| {
        let mut captured = Captured::new(room);
        captured.add("large", &many(15_000));
        captured.add("small", &many(small));
        captured.add("last", &many(100));
        captured
    };
    let mut report = ShadowReport::default();
    compare(time(1), &captured(6_000), &captured(6_001), &mut report);
    assert_eq!(report.by_digest.keys().collect::<Vec<_>>(), ["large"]);
    assert_eq!(report.sinks["small"].only_after, 1);
    assert_eq!(report.sinks["small"].samples.len(), 1);
}

#[test]
fn pieces_of_a_table_take_no_more_room_than_the_table() {
    let table = many(10_000);
    let captured = || {
        let mut captured = Captured::new(2 * table.get_array_memory_size());
        for start in (0..10_000).step_by(100) {
            captured.add("out", &table.slice(start, 100));
            captured.add("the same rows", &table.slice(start, 100));
        }
        assert!(
            (table.get_array_memory_size() / 2..2 * table.get_array_memory_size())
                .contains(&captured.size_bytes())
        );
        captured
    };
    let mut report = ShadowReport::default();
    compare(time(1), &captured(), &captured(), &mut report);
    assert!(report.is_equal() && report.by_digest.is_empty(), "{report:?}");
    assert_eq!(report.rows, 20_000);
}

#[test]
fn rows_without_values_take_room_as_well() {
    let empty = many(0);
    let mut captured = Captured::new(100_000);
    (0..10_000).for_each(|_| captured.add("out", &empty));
    assert!(captured.size_bytes() <= 100_000);
    let mut report = ShadowReport::default();
    compare(time(1), &captured, &captured, &mut report);
    assert_eq!(report.by_digest["out"], 1);
}

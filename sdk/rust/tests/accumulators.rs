//! What functions count, in an ordinary test.

use millstream_sdk::prelude::*;
use millstream_sdk::{Function, Table, function, testing};

/// Counts its rows, and refuses those that are empty.
#[map]
fn length(text: &str) -> Result<i64, String> {
    accumulators::add("rows", 1);
    accumulators::add("characters", text.len() as i64);
    if text.is_empty() { Err("the text is empty".to_owned()) } else { Ok(text.len() as i64) }
}

fn call(function: Function, rows: &[&str]) -> bool {
    function.call(&Table::of(rows.iter().copied()), Context::default()).is_ok()
}

#[test]
fn what_calls_add_is_summed_until_it_is_asked_for() {
    assert_eq!(testing::added("rows"), 0);
    assert!(call(function!(length), &["a", "bc"]) && call(function!(length), &["def"]));
    accumulators::add("rows", -1);
    assert_eq!((testing::added("rows"), testing::added("characters")), (2, 6));
    assert_eq!((testing::added("rows"), testing::added("characters")), (0, 0));
}

#[test]
fn a_call_that_fails_counts_nothing_and_leaves_what_was_there() {
    assert!(call(function!(length), &["a"]));
    assert!(!call(function!(length), &["b", ""]));
    assert_eq!((testing::added("rows"), testing::added("characters")), (1, 1));
}

#[test]
fn what_the_host_would_refuse_is_refused_at_the_place_where_it_is_added() {
    let longest = "x".repeat(64);
    for name in ["rows", "Rows.read-0_k", longest.as_str()] {
        accumulators::add(name, 5);
        assert_eq!(testing::added(name), 5, "{name:?}");
    }
    let too_long = "x".repeat(65);
    for name in ["", "two words", "größe", "a/b", too_long.as_str()] {
        assert!(std::panic::catch_unwind(|| accumulators::add(name, 1)).is_err(), "{name:?}");
    }
    for (most, more) in [(i64::MAX, 1), (i64::MIN, -1)] {
        accumulators::add("most", most);
        assert!(std::panic::catch_unwind(|| accumulators::add("most", more)).is_err(), "{most}");
        assert_eq!(testing::added("most"), most, "what was there stays");
    }
}

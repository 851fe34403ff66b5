//! States that another version left, taken over through the host: the component `running-2` does it for those of `running-1`, and
//! `hostile` does it wrongly.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use millstream_model::pipeline::Limit;
use millstream_model::{DataType, Field, FunctionError, Groups, Metered, Migrated, Migration, Schema};
use millstream_plugins::{Plugin, Sandbox};

use crate::support::{context, description, index, lines, load, rows, spec, texts};

fn migration(plugin: &Plugin, name: &str) -> Arc<dyn Migration> {
    let migration = plugin.migration(index(plugin, name), 1);
    migration.unwrap_or_else(|| panic!("{name} takes over the states of version 1"))
}

/// The states that version 1 left of some words.
fn counted(counts: &[(&str, i64)]) -> (RecordBatch, RecordBatch) {
    let (keys, counts): (Vec<_>, Vec<_>) = counts.iter().copied().unzip();
    let schema = Schema::new([Field::new("count", DataType::Int64)]);
    (texts("word", &keys), rows(&schema, vec![Arc::new(Int64Array::from(counts))]))
}

fn running(plugin: &Plugin, states: &[(i64, i64)]) -> RecordBatch {
    let (counts, longest): (Vec<i64>, Vec<i64>) = states.iter().copied().unzip();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(counts)), Arc::new(Int64Array::from(longest))];
    rows(&description(plugin, "running").state, columns)
}

#[tokio::test]
async fn states_of_an_older_version_become_those_of_the_newer() {
    let (older, newer) = (load("running-1").await, load("running-2").await);
    let running = migration(&newer, "running");
    let (old, new) = (description(&older, "running"), description(&newer, "running"));
    assert_eq!((old.state_version, new.state_version), (1, 2));
    assert_eq!(running.description().check(&old.keys, &old.state, &new.keys), Ok(()));
    assert!(newer.migration(index(&newer, "running"), 2).is_none(), "of its own version");
    assert!(newer.migration(index(&newer, "words"), 1).is_none(), "of what has no states");
    assert!(older.migration(index(&older, "running"), 1).is_none(), "it takes over none");
    let (keys, states) = counted(&[("Apple", 3), ("#tag", 8), ("apple", 4), ("ÄPFEL", 1)]);
    let migrated = running.migrate(keys, states).await.unwrap();
    assert_eq!(migrated.origins, [0, 2, 3]);
    assert_eq!(lines(&migrated.keys), ["apple", "apple", "äpfel"]);
    assert_eq!(lines(&migrated.states), ["3 | 3", "4 | 4", "1 | 1"]);
    assert_eq!(*migrated.states.schema(), new.state.to_arrow());
    let groups = Groups { of: vec![0, 0, 1], count: 2 };
    assert_eq!(lines(&running.merge(migrated.states, groups).await.unwrap()), ["7 | 4", "1 | 1"]);
}

#[tokio::test]
async fn pieces_in_any_order_come_to_the_same() {
    let plugin = load("running-2").await;
    let running_2 = migration(&plugin, "running");
    let (keys, states) = counted(&[("a", 1), ("A", 20), ("#", 5), ("a", 300)]);
    let whole = running_2.migrate(keys.clone(), states.clone()).await.unwrap();
    for row in [3, 0, 2, 1] {
        let piece = running_2.migrate(keys.slice(row, 1), states.slice(row, 1)).await.unwrap();
        let place = whole.origins.iter().position(|origin| *origin as usize == row);
        let expected = place.map(|place| (whole.keys.slice(place, 1), whole.states.slice(place, 1)));
        assert_eq!((piece.origins.len() == 1).then_some((piece.keys, piece.states)), expected, "row {row}");
    }
    let merged = |states: RecordBatch, of: Vec<u32>, count| running_2.merge(states, Groups { of, count });
    let at_once = merged(running(&plugin, &[(1, 1), (20, 20), (300, 300)]), vec![0; 3], 1).await.unwrap();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let states = order.map(|place| [(1, 1), (20, 20), (300, 300)][place]);
        let first = merged(running(&plugin, &states[..2]), vec![0, 0], 1).await.unwrap();
        let both = [first, running(&plugin, &states[2..])];
        let both = arrow::compute::concat_batches(&at_once.schema(), &both).unwrap();
        assert_eq!(merged(both, vec![0, 0], 1).await.unwrap(), at_once, "{order:?}");
    }
}

#[tokio::test]
async fn as_many_rows_as_a_call_may_have_are_migrated() {
    let plugin = load("running-2").await;
    let words: Vec<String> = (0..Migrated::ROWS_MAX).map(|n| format!("Word-of-some-length-{n}")).collect();
    let counts: Vec<_> = words.iter().map(String::as_str).zip(0..).collect();
    let (keys, states) = counted(&counts);
    let migrated = migration(&plugin, "running").migrate(keys, states).await.unwrap();
    assert_eq!(migrated.origins.len(), words.len());
    let keys = migrated.keys.column(0).as_any().downcast_ref::<StringViewArray>().unwrap();
    assert!(keys.iter().zip(&words).all(|(key, word)| key == Some(word.to_lowercase().as_str())));
}

#[tokio::test]
async fn states_that_are_not_the_described_ones_are_refused_by_the_function() {
    let plugin = load("running-2").await;
    let (keys, _) = counted(&[("a", 1)]);
    let rejected = migration(&plugin, "running").migrate(keys, texts("count", &["1"])).await.unwrap_err();
    let FunctionError::Rejected { function, reason } = rejected else { panic!("{rejected:?}") };
    assert_eq!(function, "running-2.running");
    assert!(reason.contains("column `count`: it should be int64 but is utf8"), "{reason}");
}

async fn migrate(plugin: &Plugin, name: &str) -> Result<Migrated, FunctionError> {
    let (keys, states) = (texts("value", &["a", "#", "b"]), texts("state", &["1", "2", "3"]));
    migration(plugin, name).migrate(keys, states).await
}

async fn merge(plugin: &Plugin, name: &str) -> Result<RecordBatch, FunctionError> {
    let groups = Groups { of: vec![1, 0, 1], count: 2 };
    migration(plugin, name).merge(texts("state", &["x", "y", "z"]), groups).await
}

async fn check_well(plugin: &Plugin, after: &str) {
    // The clock stands still.
    let migrated = migrate(plugin, "migrate-well").await.unwrap();
    assert_eq!(migrated.origins, [0, 2], "{after}");
    assert_eq!((lines(&migrated.keys), lines(&migrated.states)), both(["A", "B"]), "{after}");
    let kept = migrate(plugin, "keep-well").await.unwrap();
    assert_eq!((lines(&kept.keys), lines(&kept.states)), both(["a", "b"]), "{after}");
    assert_eq!(lines(&merge(plugin, "merge-well").await.unwrap()), ["y", "xz"], "{after}");
}

/// Two keys and what becomes of their states.
fn both(keys: [&str; 2]) -> (Vec<String>, Vec<String>) {
    (keys.map(str::to_owned).to_vec(), ["1+0", "3+0"].map(str::to_owned).to_vec())
}

/// The failure is told by these words, and blamed on the function.
fn check_broken(name: &str, error: &FunctionError, fragment: &str) {
    let FunctionError::Broken { function, reason } = error else { panic!("{name}: {error:?}") };
    assert_eq!(*function, format!("hostile.{name}"));
    assert!(reason.contains(fragment), "{name}: {reason}");
}

#[tokio::test]
async fn migrations_that_lie_are_not_believed() {
    let plugin = load("hostile").await;
    let cases = [
        ("migrate-trap", "trapped"),
        ("migrate-origins-beyond", "the origin 3 where there are 3 keys"),
        ("migrate-origins-fall", "the origins of its rows fall"),
        ("migrate-origins-twice", "makes two states of key 1"),
        ("migrate-origins-short", "answered with 1 origins for 2 rows"),
        ("migrate-origins-long", "answered with 3 origins for 2 rows"),
        ("migrate-keys-short", "answered with 1 keys for 2 states"),
        ("migrate-keys-missing", "its keys: answered with 0 columns where it describes 1"),
        ("migrate-keys-wrong-type", "its keys: column \"value\": is int64 where its description says utf8"),
        ("migrate-keys-buffer-short", "answered with 3 keys for 2 states"),
        ("migrate-keys-null", "its keys: column \"value\": has nulls"),
        ("migrate-states-short", "answered with 2 origins for 1 rows"),
        ("migrate-states-missing", "its states: answered with 0 columns where it describes 1"),
        ("migrate-states-wrong-type", "its states: column \"state\": is int64"),
        ("migrate-states-null", "its states: column \"state\": has nulls"),
        ("keep-and-make", "its keys: answered with 1 columns where it describes 0"),
    ];
    for (name, fragment) in cases {
        check_broken(name, &migrate(&plugin, name).await.expect_err(name), fragment);
        check_well(&plugin, name).await;
    }
}

#[tokio::test]
async fn migrations_have_the_limits_of_all_calls() {
    let cases: [(_, fn(&mut Limit), _); 2] = [
        (
            "migrate-spin",
            |limit| limit.time = Duration::from_millis(200),
            "ran longer than its limit of 200ms",
        ),
        ("migrate-grow", |limit| limit.memory_bytes = 32 << 20, "needs more memory than its limit of 32 MiB"),
    ];
    for (name, set, fragment) in cases {
        let mut spec = spec("hostile", None);
        set(&mut spec.limit);
        let plugin = Plugin::load(&Sandbox::new().unwrap(), &spec).await.unwrap();
        check_broken(name, &migrate(&plugin, name).await.expect_err(name), fragment);
    }
}

#[tokio::test]
async fn merges_that_lie_are_not_believed() {
    let plugin = load("hostile").await;
    let cases = [
        ("merge-trap", "trapped"),
        ("merge-short", "answered with 1 rows for 2 groups"),
        ("merge-wrong-type", "is int64 where its description says utf8"),
        ("merge-missing-column", "answered with 0 columns where it describes 1"),
    ];
    for (name, fragment) in cases {
        check_broken(name, &merge(&plugin, name).await.expect_err(name), fragment);
        check_well(&plugin, name).await;
    }
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    let plugin = load("hostile").await;
    let rejected = migrate(&plugin, "migrate-reject").await.unwrap_err();
    assert!(matches!(rejected, FunctionError::Rejected { .. }), "{rejected:?}");
    let unavailable = migrate(&plugin, "migrate-unavailable").await.unwrap_err();
    assert!(matches!(unavailable, FunctionError::Unavailable { .. }), "{unavailable:?}");
    let none = merge(&plugin, "migrate-well").await.unwrap_err();
    assert!(matches!(&none, FunctionError::Rejected { reason, .. } if reason.contains("merge")), "{none:?}");
}

#[tokio::test]
async fn migrations_are_metered() {
    let plugin = load("hostile").await;
    migrate(&plugin, "migrate-well").await.unwrap();
    migrate(&plugin, "migrate-trap").await.unwrap_err();
    merge(&plugin, "merge-well").await.unwrap();
    let usages = plugin.take_usage(context().batch_time);
    let counted = |name| {
        let usage = usages[&format!("hostile.{name}")];
        assert!(usage.cpu_ns > 0 && usage.bytes_in > 0 && usage.memory_bytes_max > 0, "{name}: {usage:?}");
        (usage.calls, usage.failed_calls, usage.rows_in, usage.rows_out)
    };
    assert_eq!(counted("migrate-well"), (1, 0, 3, 2));
    assert_eq!(counted("migrate-trap"), (1, 1, 3, 0));
    assert_eq!(counted("merge-well"), (1, 0, 3, 2));
}

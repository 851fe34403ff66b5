use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use millstream_journal::Operations;
use millstream_model::{DataType, Field, Schema};
use millstream_platform::{Randomness, Seeded};

use super::shard::Shard;
use super::{KeySet, Keyed, SHARDS, Thaws};
use crate::cold::ColdFile;
use crate::tests::{all, at, key_of, listed, put, words};
use crate::{Change, KeyedSpec, Limits, Store};

type Known = BTreeMap<Vec<u8>, (Vec<u8>, i64, u64)>;

fn content(shard: &Shard) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    shard.iter().map(|known| (known.key.to_vec(), known.state.to_vec(), known.time.as_ms())).collect()
}

/// In the order in which the keys were seen.
fn expected(known: &Known) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let mut all: Vec<_> = known.iter().map(|(key, (state, time, seen))| (*seen, key, state, *time)).collect();
    all.sort();
    all.into_iter().map(|(_, key, state, time)| (key.clone(), state.clone(), time)).collect()
}

#[test]
fn a_shard_is_what_its_operations_come_to() {
    for seed in Seeded::seeds(0..150) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let (mut shard, mut known, mut seen) = (Shard::new(), Known::new(), 0);
        let (keys, length_max) = (1 + seeded.below(400), seeded.below(120));
        // Now and then there is more of one kind than of the others, so that the shard grows and shrinks.
        for time in 0..40 {
            let mut operations = Operations::default();
            let removes = [0, 2, 9][seeded.below(3) as usize];
            for _ in 0..seeded.below(60) {
                let key = format!("key {}", seeded.below(keys)).into_bytes();
                seen += 1;
                match seeded.below(10) {
                    chosen if chosen < removes => {
                        operations.remove(&key);
                        known.remove(&key);
                    }
                    9 => {
                        operations.touch(&key);
                        known.entry(key).and_modify(|(_, of, at)| (*of, *at) = (time, seen));
                    }
                    _ => {
                        let state: Vec<u8> =
                            (0..=seeded.below(1 + length_max)).map(|_| seeded.next_u64() as u8).collect();
                        operations.put(&key, &state);
                        known.insert(key, (state, time, seen));
                    }
                }
            }
            shard.apply(at(time), operations.iter()).unwrap();
            assert_eq!(content(&shard), expected(&known));
            assert_eq!(shard.len(), known.len());
            let bytes: usize = known.iter().map(|(key, (state, ..))| key.len() + state.len()).sum();
            assert_eq!(shard.content_bytes(), bytes as u64);
        }
        let (since, entries) = shard.snapshot();
        let read = Shard::from_snapshot(since, shard.len() as u64, entries.iter()).unwrap();
        assert_eq!(content(&read), content(&shard));
        assert!(Shard::from_snapshot(since, shard.len() as u64 + 1, entries.iter()).is_err());
    }
}

#[test]
fn a_shard_that_is_rewritten_again_and_again_does_not_grow() {
    let mut shard = Shard::new();
    let mut largest = 0;
    for time in 0..2_000_i64 {
        let mut operations = Operations::default();
        for key in 0..50 {
            // Longer and shorter in turn.
            operations.put(format!("key {key}").as_bytes(), &vec![7; 10 + (time as usize + key) % 90]);
        }
        // And many keys that are there for one batch.
        for key in 0..50 {
            operations.remove(format!("{} {key}", time - 1).as_bytes());
            operations.put(format!("{time} {key}").as_bytes(), b"short");
        }
        shard.apply(at(time), operations.iter()).unwrap();
        largest = largest.max(shard.allocated_bytes());
    }
    assert!(largest < 100_000, "{largest} bytes for 100 keys");
}

#[test]
fn a_key_takes_little_more_than_its_bytes() {
    let table = Keyed::new("t", words(), &ColdFile::in_memory()).unwrap();
    let mut change = Change::new(at(1));
    let column = |from: i64| -> (ArrayRef, ArrayRef) {
        let words: Vec<String> = (from..from + 1_000).map(|at| format!("{at:08}")).collect();
        (Arc::new(StringViewArray::from(words)), Arc::new(Int64Array::from_iter_values(from..from + 1_000)))
    };
    for from in (0..100_000).step_by(1_000) {
        let (keys, states) = column(from);
        let (keys, states) = (table.encode_keys(&[keys]).unwrap(), table.encode_states(&[states]).unwrap());
        for row in 0..1_000 {
            change.keyed("t").put(keys.row(row).data(), states.row(row).data());
        }
    }
    table.apply(at(1), change.keyed("t"), &Thaws::default());
    let size = table.size();
    assert_eq!(size.keys, 100_000);
    assert!(size.bytes < 120 * size.keys, "{} bytes for each", size.bytes / size.keys);
}

#[test]
fn states_are_found_by_their_keys_and_absent_ones_are_null() {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(1));
    for count in 0..500 {
        put(&mut change, &table, &format!("word {count}"), count);
    }
    store.apply(change);
    let asked: Vec<String> = (0..1_000).rev().map(|count| format!("word {count}")).collect();
    let keys = table.encode_keys(&[Arc::new(StringViewArray::from(asked))]).unwrap();
    let found = table.lookup(&keys.iter().map(|key| key.data()).collect::<Vec<_>>());
    let columns = table.decode_states(found.iter()).unwrap();
    let counts = columns[0].as_primitive::<Int64Type>();
    for (row, count) in (0..1_000).rev().enumerate() {
        assert_eq!(counts.is_valid(row).then(|| counts.value(row)), (count < 500).then_some(count));
        assert_eq!(found.get(row).is_some(), count < 500);
    }
    assert_eq!(table.lookup(&[]).len(), 0);
}

#[test]
fn keys_time_out_that_were_not_seen_unless_they_are_excepted() {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    for time in 1..=10 {
        let mut change = Change::new(at(time));
        for word in 0..10 {
            put(&mut change, &table, &format!("{time} {word}"), time);
        }
        // Those of the first batch are seen again and again.
        for word in 0..10 {
            change.keyed("running").touch(&key_of(&table, &format!("1 {word}")));
        }
        store.apply(change);
    }
    let excepted = key_of(&table, "2 3");
    let except: KeySet<'_> = [excepted.as_slice()].into_iter().collect();
    let found = listed(&table, &table.timed_out(0..SHARDS, at(4), &except, usize::MAX));
    let mut expected: Vec<_> =
        (2..4).flat_map(|time| (0..10).map(move |word| (format!("{time} {word}"), time, time))).collect();
    expected.retain(|(word, ..)| word != "2 3");
    assert_eq!(found, expected);
    assert_eq!(table.timed_out(0..SHARDS, at(4), &except, 7).len(), 7);
    assert_eq!(table.timed_out(0..SHARDS, at(2), &except, 7).len(), 0);
}

#[test]
fn a_scan_gives_every_key_once_in_columns() {
    let store = Store::in_memory(Limits::default());
    let spec = KeyedSpec {
        key: Schema::new([Field::new("a", DataType::Int64), Field::new("b", DataType::Utf8)]),
        state: Schema::new([
            Field::new("list", DataType::List(Box::new(DataType::Utf8))),
            Field::new("x", DataType::Float64),
        ]),
        version: 3,
    };
    let table = store.keyed("t", spec).unwrap();
    let keys: [ArrayRef; 2] = [
        Arc::new(Int64Array::from(vec![Some(1), None, Some(1)])),
        Arc::new(StringViewArray::from(vec![Some("a long text that is no inline view"), Some("b"), None])),
    ];
    let lists = arrow::array::new_null_array(&DataType::List(Box::new(DataType::Utf8)).to_arrow(), 3);
    let states: [ArrayRef; 2] = [lists, Arc::new(arrow::array::Float64Array::from(vec![0.5, 1.5, 2.5]))];
    let (keys, states) = (table.encode_keys(&keys).unwrap(), table.encode_states(&states).unwrap());
    let mut change = Change::new(at(1));
    for row in 0..3 {
        change.keyed("t").put(keys.row(row).data(), states.row(row).data());
    }
    store.apply(change);
    let batches: Vec<_> = table.scan().map(Result::unwrap).collect();
    assert!(batches.iter().all(|batch| batch.schema() == *table.schema()));
    let mut sums: Vec<f64> = batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column(3).as_primitive::<arrow::datatypes::Float64Type>();
            column.values().iter().copied().collect::<Vec<_>>()
        })
        .collect();
    sums.sort_by(f64::total_cmp);
    assert_eq!(sums, [0.5, 1.5, 2.5]);
}

#[test]
fn keys_are_spread_over_all_shards() {
    let store = Store::in_memory(Limits::default());
    let table = store.keyed("running", words()).unwrap();
    let mut change = Change::new(at(1));
    for word in 0..4_000 {
        put(&mut change, &table, &word.to_string(), 1);
    }
    store.apply(change);
    assert_eq!(all(&table).len(), 4_000);
    for shard in 0..SHARDS {
        let keys = table.entries(shard).len();
        assert!((20..120).contains(&keys), "{keys} of 4,000 keys are in shard {shard}");
    }
}

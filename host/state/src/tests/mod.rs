mod cold;
mod damage;
mod difference;
mod fixture;
mod fork;
mod generation;
mod loss;
mod rows;
mod simulation;
mod store;
mod target;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int64Type, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use millstream_model::{BatchTime, DataType, Field, Schema};
use millstream_platform::{Disk, MemoryDisk};

use crate::{
    Change, Entries, Keyed, KeyedSpec, Limits, PaneSpec, Panes, StateEnd, StateError, Store, Target,
};

pub(crate) const FOLDER: &str = "checkpoint";

/// Words, and how often each was seen.
pub(crate) fn words() -> KeyedSpec {
    KeyedSpec {
        key: Schema::new([Field::new("word", DataType::Utf8)]),
        state: Schema::new([Field::new("count", DataType::Int64)]),
        version: 1,
    }
}

/// Rows with one number.
pub(crate) fn numbers() -> PaneSpec {
    let field = ArrowField::new("number", ArrowType::Int64, true);
    PaneSpec { columns: Arc::new(ArrowSchema::new(vec![field])) }
}

pub(crate) fn at(ms: i64) -> BatchTime {
    BatchTime::from_ms(ms)
}

pub(crate) fn rows(numbers: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    RecordBatch::try_new(self::numbers().columns, vec![column]).unwrap()
}

pub(crate) fn key_of(table: &Keyed, word: &str) -> Vec<u8> {
    let column: ArrayRef = Arc::new(StringViewArray::from(vec![word]));
    table.encode_keys(&[column]).unwrap().row(0).data().to_vec()
}

pub(crate) fn put(change: &mut Change, table: &Keyed, word: &str, count: i64) {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![count]));
    let state = table.encode_states(&[column]).unwrap();
    change.keyed(table.name()).put(&key_of(table, word), state.row(0).data());
}

/// The keys of entries with their states and times, sorted.
pub(crate) fn listed(table: &Keyed, entries: &Entries) -> Vec<(String, i64, i64)> {
    if entries.is_empty() {
        return Vec::new();
    }
    let batch = table.decode(entries).unwrap();
    let (words, counts) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<Int64Type>());
    let entry = |row: usize| (words.value(row).to_owned(), counts.value(row), entries.times[row].as_ms());
    let mut all: Vec<_> = (0..batch.num_rows()).map(entry).collect();
    all.sort();
    all
}

pub(crate) fn all(table: &Keyed) -> Vec<(String, i64, i64)> {
    let mut all: Vec<_> = (0..crate::SHARDS).flat_map(|shard| listed(table, &table.entries(shard))).collect();
    all.sort();
    all
}

pub(crate) fn all_panes(panes: &Panes) -> Vec<(i64, Vec<i64>)> {
    let numbers =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().iter().copied().collect();
    let rows = |rows: &[RecordBatch]| rows.iter().flat_map(|batch| -> Vec<i64> { numbers(batch) }).collect();
    panes.range(..).iter().map(|pane| (pane.time.as_ms(), rows(&pane.rows))).collect()
}

pub(crate) async fn open(
    disk: &MemoryDisk,
    limits: Limits,
    end: Option<StateEnd>,
) -> Result<Store, StateError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::open(disk, Path::new(FOLDER), limits, end).await
}

/// Writes a change and applies it, as if its commit record was written between.
pub(crate) async fn commit(store: &Store, change: Change) -> Option<StateEnd> {
    let end = store.write(&change).await.unwrap();
    store.apply(change);
    end
}

/// The engine awaits these from tasks on several threads.
#[test]
fn what_the_store_does_can_be_awaited_on_any_thread() {
    fn check<T: Send>(_: impl FnOnce() -> T) {}
    let disk = || -> Arc<dyn Disk> { Arc::new(MemoryDisk::new()) };
    check(|| Store::open(disk(), Path::new(FOLDER), Limits::default(), None));
    let uses = |store: Arc<Store>| async move {
        let change = Change::new(at(1));
        store.write(&change).await?;
        store.apply(change);
        store.maintain().await
    };
    check(|| uses(Arc::new(Store::in_memory(Limits::default()))));
    let copies = |store: Arc<Store>, other: Arc<Store>| async move {
        let copies = store.fork(None).copy().await?;
        copies.fill("table", &other).await?;
        let target = Target::new(&other, "another", words())?;
        let mut reader = copies.read("table")?.expect("it is there");
        while let Some(rows) = reader.next(1)? {
            target.put(&rows).await?;
        }
        other.retire_others().await?;
        other.discard().await
    };
    let store = || Arc::new(Store::in_memory(Limits::default()));
    check(|| copies(store(), store()));
    check(|| Store::begin(disk(), Path::new(FOLDER), Limits::default()));
}

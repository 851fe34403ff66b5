//! Plans and what comes of them, with a migration in place of a plugin's: what stands before a key's colon is left out, and states
//! are doubled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use millstream_model::{
    BatchTime, DataType, Field, FunctionError, Groups, Migrated, Migration, MigrationDescription, Schema,
};
use millstream_platform::{MemoryDisk, Seeded};
use millstream_state::{Change, Keyed, KeyedSpec, Limits, States, Store, Tables};

use super::{MigrateError, MigratedTable, plan};
use crate::losses;

const TABLE: &str = "counts";

fn spec(version: u32) -> KeyedSpec {
    KeyedSpec {
        key: Schema::new([Field::new("word", DataType::Utf8)]),
        state: Schema::new([Field::new(if version == 1 { "count" } else { "twice" }, DataType::Int64)]),
        version,
    }
}

/// Keys that begin with `#` are dropped, of such with `!` it traps, and those with `?` are refused.
#[derive(Debug)]
struct Halve {
    description: MigrationDescription,
    /// Rows that a call may have.
    rows_max: usize,
}

impl Halve {
    fn new(merges: bool) -> Self {
        let description = MigrationDescription {
            version: 1,
            keys: spec(1).key,
            state: spec(1).state,
            new_keys: spec(2).key,
            merges,
        };
        Self { description, rows_max: Migrated::ROWS_MAX }
    }

    fn fate(&self, key: &str, rows: usize) -> Result<(), FunctionError> {
        let function = "plugin.halve".to_owned();
        let broken =
            |reason: &str| FunctionError::Broken { function: function.clone(), reason: reason.into() };
        match key.as_bytes().first() {
            _ if rows > self.rows_max => Err(broken("out of memory")),
            Some(b'!') => Err(broken("trapped")),
            Some(b'?') => Err(FunctionError::Rejected { function, reason: "no word".into() }),
            _ => Ok(()),
        }
    }
}

fn numbers(column: &RecordBatch) -> &[i64] {
    column.column(0).as_primitive::<Int64Type>().values()
}

#[async_trait]
impl Migration for Halve {
    fn description(&self) -> &MigrationDescription {
        &self.description
    }

    async fn migrate(&self, keys: RecordBatch, states: RecordBatch) -> Result<Migrated, FunctionError> {
        assert!(keys.num_rows() <= Migrated::ROWS_MAX);
        assert_eq!(*states.schema(), spec(1).state.to_arrow());
        let words = keys.column(0).as_string_view();
        words.iter().flatten().try_for_each(|word| self.fate(word, keys.num_rows()))?;
        let rows = (0..).zip(words.iter().flatten().zip(numbers(&states)));
        let kept: Vec<(u32, (&str, &i64))> = rows.filter(|(_, (word, _))| !word.starts_with('#')).collect();
        let new = |word: &str| word.rsplit(':').next().unwrap().to_owned();
        let keys: ArrayRef =
            Arc::new(StringViewArray::from_iter_values(kept.iter().map(|(_, (word, _))| new(word))));
        let states: ArrayRef =
            Arc::new(Int64Array::from_iter_values(kept.iter().map(|(_, (_, count))| *count * 2)));
        Ok(Migrated {
            origins: kept.iter().map(|(row, _)| *row).collect(),
            keys: RecordBatch::try_new(Arc::new(spec(2).key.to_arrow()), vec![keys]).unwrap(),
            states: RecordBatch::try_new(Arc::new(spec(2).state.to_arrow()), vec![states]).unwrap(),
        })
    }

    async fn merge(&self, states: RecordBatch, groups: Groups) -> Result<RecordBatch, FunctionError> {
        assert!(self.description.merges && states.num_rows() <= Migrated::ROWS_MAX);
        assert_eq!(*states.schema(), spec(2).state.to_arrow());
        let mut sums = vec![0; groups.count as usize];
        for (group, state) in groups.of.iter().zip(numbers(&states)) {
            sums[*group as usize] += state;
        }
        let function = "plugin.halve".to_owned();
        if sums.iter().any(|sum| *sum < 0) {
            return Err(FunctionError::Broken { function, reason: "overflows".into() });
        }
        Ok(RecordBatch::try_new(states.schema(), vec![Arc::new(Int64Array::from(sums))]).unwrap())
    }
}

/// States that ask for a version, with these migrations.
fn asking(version: u32, migrations: Vec<Halve>) -> States {
    let states = States::default();
    let migrations = migrations.into_iter().map(|migration| Arc::new(migration) as Arc<dyn Migration>);
    states.migrating(TABLE, spec(version), migrations.collect());
    states
}

/// Words with their counts from up to ten batches, and another table of the same.
async fn filled(words: &[(&str, i64)]) -> Tables {
    let store = Store::in_memory(Limits::default());
    for name in [TABLE, "others"] {
        let table = store.keyed(name, spec(1)).unwrap();
        for (time, words) in (1..).zip(words.chunks(words.len().div_ceil(10))) {
            let mut change = Change::new(BatchTime::from_ms(time));
            words.iter().for_each(|(word, count)| put(&mut change, &table, word, *count));
            store.write(&change).await.unwrap();
            store.apply(change);
        }
    }
    Tables::new(store)
}

fn put(change: &mut Change, table: &Keyed, word: &str, count: i64) {
    let word: ArrayRef = Arc::new(StringViewArray::from_iter_values([word]));
    let count: ArrayRef = Arc::new(Int64Array::from(vec![count]));
    let (key, state) = (table.encode_keys(&[word]).unwrap(), table.encode_states(&[count]).unwrap());
    change.keyed(table.name()).put(key.row(0).data(), state.row(0).data());
}

/// Words with their counts.
type Counts = BTreeMap<String, i64>;

fn found(store: &Store, table: &str) -> Counts {
    let rows = store.find_keyed(table).unwrap().scan().map(Result::unwrap).collect::<Vec<_>>();
    let of = |rows: &RecordBatch| {
        let words = rows.column(0).as_string_view().iter().map(|word| word.unwrap().to_owned());
        words.zip(rows.column(1).as_primitive::<Int64Type>().values().to_vec()).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of).collect()
}

/// When each word was seen.
async fn times(tables: &Tables) -> Counts {
    let copies = tables.fork().copy().await.unwrap();
    let rows = copies.read(TABLE).unwrap().unwrap().next(usize::MAX).unwrap().unwrap();
    let words = rows.keys.column(0).as_string_view().iter().map(|word| word.unwrap().to_owned());
    words.zip(rows.times.iter().map(|time| time.as_ms())).collect()
}

/// Carries out the plan of a version 2 with this migration.
async fn migrated(tables: &Tables, migration: Halve) -> Result<(Vec<MigratedTable>, Store), MigrateError> {
    let plan = plan(&asking(2, vec![migration]), tables);
    assert!(!plan.is_nothing(), "the versions differ");
    let (copies, store) = (tables.fork().copy().await.unwrap(), Store::in_memory(Limits::default()));
    let migrated = plan.carry_out(&copies, &store, |_, _| {}).await?;
    Ok((migrated, store))
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_told_beforehand() {
    let tables = filled(&[("a", 1)]).await;
    let other = |change: fn(&mut MigrationDescription)| {
        let mut migration = Halve::new(true);
        change(&mut migration.description);
        asking(2, vec![migration])
    };
    let window = States::default();
    window.panes(TABLE, millstream_state::PaneSpec { columns: Arc::new(spec(1).state.to_arrow()) });
    let hosts_own = States::default();
    hosts_own.keyed(TABLE, KeyedSpec { version: 0, ..spec(2) });
    let cases: [(States, &[&str]); 5] = [
        (asking(2, vec![]), &["version 1", "version 2", "#[migrate(from = 1)]"]),
        (other(|of| of.version = 3), &["version 1", "version 2", "#[migrate(from = 1)]"]),
        (other(|of| of.state = Schema::new([Field::new("sum", DataType::Int64)])), &["{ count", "{ sum"]),
        (window, &["window"]),
        (hosts_own, &["{ count", "{ twice"]),
    ];
    for (states, told) in cases {
        assert!(plan(&states, &tables).is_nothing());
        let difference = states.differences(&tables).remove(0);
        let text = states.taking_over(&difference).unwrap_err();
        let is_lost = losses::refusal(&states, &tables).is_some_and(|refusal| refusal.contains(&text));
        assert!(is_lost && told.iter().all(|told| text.contains(told)), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_to_be_done_where_states_are_as_they_are_asked_for() {
    let tables = filled(&[("a", 1)]).await;
    assert!(plan(&asking(1, vec![]), &tables).is_nothing());
    assert!(plan(&States::default(), &tables).is_nothing());
}

#[tokio::test]
async fn states_are_migrated_merged_and_dropped_and_other_tables_stay() {
    let words = [("x:a", 1), ("#b", 2), ("y:a", 4), ("c", 8), ("z:c", 16), ("a", 32)];
    let tables = filled(&words).await;
    let (migrated, store) = migrated(&tables, Halve::new(true)).await.unwrap();
    let expected =
        MigratedTable { table: TABLE.into(), from: 1, to: 2, keys: 6, kept: 2, merged: 3, dropped: 1 };
    assert_eq!(migrated, [expected]);
    assert_eq!(found(&store, TABLE), [("a", 74), ("c", 48)].map(|(word, count)| (word.into(), count)).into());
    assert_eq!(found(&store, "others"), found(tables.store(), "others"));
    assert_eq!(store.orphans(), ["others"]);
    assert_eq!(
        times(&Tables::new(store)).await,
        [("a", 6), ("c", 5)].map(|(word, ms)| (word.into(), ms)).into()
    );
}

#[tokio::test]
async fn keys_that_become_the_same_and_cannot_be_merged_are_counted_and_one_is_named() {
    let tables = filled(&[("x:a", 1), ("b", 2), ("y:a", 4), ("z:a", 8)]).await;
    let refused = migrated(&tables, Halve::new(false)).await.unwrap_err();
    let MigrateError::Clash { table, from: 1, keys: 2, key } = &refused else { panic!("{refused}") };
    assert_eq!((table.as_str(), key.as_str()), (TABLE, "word = \"a\""));
    let tables = filled(&[("x:a", 1), ("b", 2)]).await;
    assert_eq!(migrated(&tables, Halve::new(false)).await.unwrap().0[0].kept, 2);
}

#[tokio::test]
async fn a_failure_names_the_one_key_that_it_is_of() {
    let many: Vec<String> = (0..9_000).map(|number| format!("word-{number}")).collect();
    let cases: [(&str, i64, &str); 3] =
        [("!trap", 1, "trapped"), ("?", 1, "no word"), ("x:word-7", -99, "overflows")];
    for (word, count, reason) in cases {
        let mut words: Vec<(&str, i64)> = many.iter().map(|word| (word.as_str(), 1)).collect();
        words.insert(8_700, (word, count));
        let refused = migrated(&filled(&words).await, Halve::new(true)).await.unwrap_err();
        let MigrateError::Function { table, from: 1, key, error } = &refused else { panic!("{refused}") };
        let new = word.rsplit(':').next().unwrap();
        assert_eq!((table.as_str(), key), (TABLE, &format!("word = {new:?}")));
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_call_that_is_too_much_is_made_in_pieces() {
    let words: Vec<String> = (0..5_000).map(|number| format!("{}:{}", number % 2, number / 2)).collect();
    let words: Vec<(&str, i64)> = words.iter().map(|word| (word.as_str(), 1)).collect();
    let migration = Halve { rows_max: 100, ..Halve::new(true) };
    let (migrated, store) = migrated(&filled(&words).await, migration).await.unwrap();
    assert_eq!((migrated[0].keys, migrated[0].kept, migrated[0].merged), (5_000, 2_500, 2_500));
    assert!(found(&store, TABLE).values().all(|count| *count == 4));
}

#[test]
fn what_was_done_is_told_in_numbers_that_can_be_read() {
    let table = MigratedTable {
        table: TABLE.into(),
        from: 1,
        to: 2,
        keys: 1_000_000,
        kept: 999_000,
        merged: 999,
        dropped: 1,
    };
    let told = table.to_string();
    for part in ["\"counts\"", "version 1 to 2", "1,000,000 keys to 999,000", "(999 merged, 1 dropped)"] {
        assert!(told.contains(part), "{told}");
    }
}

/// Random words in batches, most of them on disk, and all of it migrated beside more batches.
#[tokio::test]
async fn random_states_come_to_what_a_model_says() {
    let given = std::env::var("MILLSTREAM_SEED").ok().map(|seed| seed.parse().unwrap());
    for seed in given.map_or(0..4, |seed: u64| seed..seed + 1) {
        println!("MILLSTREAM_SEED={seed}");
        check_random(&Seeded::new(seed)).await;
    }
}

async fn check_random(seeded: &Seeded) {
    let limits = Limits { memory_bytes: 200_000, log_segment_bytes: 40_000, ..Limits::default() };
    let disk: Arc<dyn millstream_platform::Disk> = Arc::new(MemoryDisk::new());
    let folder = Path::new("checkpoint");
    let tables = Tables::new(Store::open(Arc::clone(&disk), folder, limits, None).await.unwrap());
    let table = tables.store().keyed(TABLE, spec(1)).unwrap();
    let mut model = Counts::new();
    for time in 1..=10 {
        let mut change = Change::new(BatchTime::from_ms(time));
        for _ in 0..seeded.below(1_500) {
            let (prefix, word) = (seeded.below(4), seeded.below(1_000));
            let word = if prefix == 0 { format!("#{word}") } else { format!("{prefix}:{word}") };
            let count = seeded.below(1_000) as i64;
            put(&mut change, &table, &word, count);
            model.insert(word, count);
        }
        tables.write(&change).await.unwrap();
        tables.apply(change);
    }
    let plan = plan(&asking(2, vec![Halve::new(true)]), &tables);
    let copies = tables.fork().copy().await.unwrap();
    let new = Store::begin(disk, folder, limits).await.unwrap();
    let migrated = plan.carry_out(&copies, &new, |_, _| {}).await.unwrap();
    let mut expected = Counts::new();
    for (word, count) in model.iter().filter(|(word, _)| !word.starts_with('#')) {
        *expected.entry(word[2..].to_owned()).or_default() += count * 2;
    }
    assert_eq!(found(&new, TABLE), expected);
    let MigratedTable { keys, kept, merged, dropped, .. } = migrated[0];
    assert_eq!((keys, kept), (model.len() as u64, expected.len() as u64));
    assert_eq!(keys - kept, merged + dropped);
}

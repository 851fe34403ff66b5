//! Windows of a sum whose bits tell the order in which it was made, and versions that take each other's place.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Float64Type, Schema as ArrowSchema};
use async_trait::async_trait;
use millstream_model::{
    BatchTime, CallContext, DataType, Field, Folded, FunctionDescription, FunctionError, FunctionKind,
    Groups, Reduce, Schema,
};
use millstream_platform::Seeded;
use millstream_query::{Chunks, OperatorInput, Program, Relations, Rows, Warming};
use millstream_state::{Limits, PaneSpec, States, Store, Tables};

use crate::testing::Written;
use crate::{Folding, Reducing, Sliding, Span};

/// Adds up, and counts how often it is asked to.
#[derive(Debug)]
struct Sum {
    description: FunctionDescription,
    calls: Arc<AtomicUsize>,
}

impl Sum {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        let amount = || Schema::new([Field::new("amount", DataType::Float64)]);
        let description = FunctionDescription {
            name: "sum".to_owned(),
            kind: FunctionKind::Reduce,
            input: amount(),
            output: amount(),
            keys: Schema::default(),
            state: Schema::default(),
            state_version: 0,
            migrations: Vec::new(),
            documentation: String::new(),
        };
        Self { description, calls: Arc::clone(calls) }
    }
}

#[async_trait]
impl Reduce for Sum {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn fold(&self, _: CallContext, rows: RecordBatch, groups: Groups) -> Result<Folded, FunctionError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let amounts = rows.column(0).as_primitive::<Float64Type>().values();
        let mut sums = vec![0.0; groups.count as usize];
        groups.of.iter().zip(amounts).for_each(|(group, amount)| sums[*group as usize] += amount);
        let sums: ArrayRef = Arc::new(Float64Array::from(sums));
        Ok(Folded { rows: RecordBatch::try_new(rows.schema(), vec![sums]).unwrap(), added: BTreeMap::new() })
    }
}

/// A batch: its time in seconds, and its keys and amounts.
type Batch = (i64, Vec<(i64, f64)>);

/// The lengths of a window and of its slide, in seconds.
type Lengths = (i64, i64);

/// A version of a pipeline with the window.
struct Version {
    states: Arc<States>,
    program: Program,
    warming: Warming,
    calls: Arc<AtomicUsize>,
}

/// The tables, and the version that runs on them.
struct Lab {
    lengths: Lengths,
    tables: Arc<Tables>,
    version: Version,
}

impl Version {
    async fn new((length, slide): Lengths) -> Self {
        let number = |name, data_type| ArrowField::new(name, data_type, false);
        let input =
            ArrowSchema::new(vec![number("key", ArrowType::Int64), number("amount", ArrowType::Float64)]);
        let (states, calls) = (Arc::new(States::default()), Arc::default());
        let folding = Folding::new(Arc::new(Sum::new(&calls)), &input, vec![0], vec![1]);
        let panes = states.panes("window", PaneSpec { columns: folding.schema() });
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let span = Span::new(seconds(length), seconds(slide));
        let window = Sliding::new(span, Arc::new(Reducing(folding)), panes, Arc::clone(&states));
        let mut relations = Relations::new().unwrap();
        relations.add_input("rows", Arc::new(input)).unwrap();
        let rows = OperatorInput::Rows("rows".to_owned());
        relations.add_operator("window", rows, Arc::new(window)).await.unwrap();
        let program = Program::compile(&relations, &["window"], 1).await.unwrap();
        Self { warming: program.warming(), states, program, calls }
    }

    /// Makes it ready for the next batch.
    async fn warm(&self, tables: &Arc<Tables>) {
        self.states.show(tables);
        if let Some(time) = self.states.applied() {
            self.warming.warm(time).await.unwrap();
        }
    }
}

impl Lab {
    async fn new(lengths: Lengths) -> Self {
        let tables = Arc::new(Tables::new(Store::in_memory(Limits::default())));
        let version = Version::new(lengths).await;
        version.states.bind(&tables).unwrap();
        Self { lengths, tables, version }
    }

    /// Goes on with another version.
    fn swap(&mut self, version: Version) {
        version.states.bind(&self.tables).unwrap();
        self.version = version;
    }

    /// Runs a batch, which comes to nothing. Gives the window, and how often the function was called.
    async fn attempt(&mut self, (second, rows): &Batch) -> (Vec<String>, usize) {
        let Version { states, program, calls, .. } = &mut self.version;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let amounts: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.1)));
        let columns = [("key", keys), ("amount", amounts)];
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, false)),
        );
        let inputs: Vec<(String, Arc<dyn Chunks>)> =
            vec![("rows".to_owned(), Arc::new(Rows(vec![rows.unwrap()])))];
        let (written, time) = (Arc::new(Written::default()), BatchTime::from_ms(second * 1_000));
        states.begin(time);
        let before = calls.load(Ordering::Relaxed);
        program.run(time, inputs, Arc::clone(&written) as _).await.unwrap();
        (written.of("window"), calls.load(Ordering::Relaxed) - before)
    }

    /// Runs a batch and commits it.
    async fn batch(&mut self, batch: &Batch) -> (Vec<String>, usize) {
        let given = self.attempt(batch).await;
        let change = self.version.states.take().unwrap();
        self.tables.write(&change).await.unwrap();
        self.tables.apply(change);
        given
    }
}

/// Amounts of which no two orders have the same sum, or few.
fn amount(chance: &Seeded) -> f64 {
    let digits = 1.0 + chance.below(1 << 20) as f64 / 1e6;
    digits * 10_f64.powi(chance.below(12) as i32 - 6)
}

/// Batches one after the other, some without rows; ticks without a batch are between some.
fn batches(chance: &Seeded, count: usize) -> Vec<Batch> {
    let mut second = chance.below(40) as i64;
    let mut batch = || {
        second += 1 + if chance.chance(1, 8) { chance.below(6) as i64 } else { 0 };
        let rows = (0..chance.below(6)).map(|_| (chance.below(4) as i64, amount(chance)));
        (second, rows.collect())
    };
    (0..count).map(|_| batch()).collect()
}

/// The window at a batch, by key: what is added up in the order of the batches, so nearly.
fn expected(batches: &[Batch], (length, slide): Lengths) -> Option<BTreeMap<i64, f64>> {
    let (time, _) = batches.last()?;
    let within = batches.iter().filter(|(second, _)| *second > time - length);
    let mut sums = BTreeMap::new();
    for (key, amount) in within.flat_map(|(_, rows)| rows) {
        *sums.entry(*key).or_default() += amount;
    }
    (time % slide == 0).then_some(sums)
}

fn assert_near(lines: &[String], sums: &BTreeMap<i64, f64>, what: &str) {
    let mut found = BTreeMap::new();
    for line in lines {
        let (key, sum) = line.split_once(' ').unwrap();
        found.insert(key.parse::<i64>().unwrap(), sum.parse::<f64>().unwrap());
    }
    assert!(found.keys().eq(sums.keys()), "{what}: {found:?} instead of {sums:?}");
    let is_near = |key: &i64, sum: &f64| (found[key] - sum).abs() <= sum * 1e-9;
    assert!(sums.iter().all(|(key, sum)| is_near(key, sum)), "{what}: {found:?} instead of {sums:?}");
}

#[tokio::test]
async fn a_window_is_the_same_to_the_last_bit_whichever_version_takes_over_when() {
    let seeds = match env::var("MILLSTREAM_SEED") {
        Ok(seed) => vec![seed.parse::<u64>().unwrap()],
        Err(_) => (0..25).collect(),
    };
    for seed in seeds {
        let chance = Seeded::new(seed);
        let slide = 1 + chance.below(4) as i64;
        let lengths = (slide * (1 + chance.below(9) as i64) + chance.below(2) as i64 * (slide / 2), slide);
        let (mut plain, mut lab) = (Lab::new(lengths).await, Lab::new(lengths).await);
        let batches = batches(&chance, 60);
        // The version that is made ready, if one is.
        let mut next: Option<Version> = None;
        for (at, batch) in batches.iter().enumerate() {
            let what = format!("MILLSTREAM_SEED={seed}, {lengths:?}, batch {at} at {}", batch.0);
            if chance.chance(1, 6) {
                let noise = (batch.0, vec![(chance.below(4) as i64, amount(&chance))]);
                lab.attempt(&noise).await;
            }
            let (window, _) = plain.batch(batch).await;
            assert_eq!(lab.batch(batch).await.0, window, "{what}");
            match expected(&batches[..=at], lengths) {
                Some(sums) => assert_near(&window, &sums, &what),
                None => assert!(window.is_empty(), "{what}"),
            }
            match (chance.below(8), &next) {
                (0, _) => lab.swap(Version::new(lengths).await),
                (1, None) => next = Some(Version::new(lengths).await),
                (2..=4, Some(version)) => version.warm(&lab.tables).await,
                (5, Some(_)) => lab.swap(next.take().unwrap()),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_batch_makes_as_much_as_any_other_also_the_first_of_a_version_that_is_ready() {
    for length in [1, 2, 3, 10, 31] {
        let mut lab = Lab::new((length, 1)).await;
        for second in 1..200 {
            let (window, calls) = lab.batch(&(second, vec![(1, 1.0), (2, 1.0)])).await;
            let sum = second.min(length);
            assert_eq!(window, [format!("1 {sum}.0"), format!("2 {sum}.0")]);
            // Its rows, its block, an end of the one before, and what comes of the window.
            assert!(calls <= 4, "{calls} calls for the batch {second} of windows of {length}");
            if second % 7 == 0 {
                let version = Version::new(lab.lengths).await;
                version.warm(&lab.tables).await;
                lab.swap(version);
            }
        }
    }
}

#[tokio::test]
async fn what_is_made_ready_leaves_nothing_where_there_is_nothing() {
    let tables = Arc::new(Tables::new(Store::in_memory(Limits::default())));
    let version = Version::new((3, 1)).await;
    version.warm(&tables).await;
    assert!(tables.store().statistics().tables.is_empty());
}

//! Programs with a stream of states, batch by batch, over tables in memory.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use millstream_model::pipeline::OnError;
use millstream_model::{Accumulated, BatchTime, DataType, Field, Schema, UpdateState};
use millstream_query::{Caller, Chunks, OperatorInput, Program, QueryError, Relations, Rows};
use millstream_state::{Change, KeyedSpec, Limits, States, Store, Tables};

use super::tally::{Poison, Tally};
use crate::testing::Written;
use crate::{Initial, Repartition, Snapshot, StateUpdate, UpdateColumns, UpdateSettings};

/// A key and an amount.
pub(super) type Row = (String, i64);

/// How states are updated.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    pub(super) timeout_ms: Option<u64>,
    pub(super) every_key: bool,
    /// Whether a visit without rows changes the state.
    pub(super) ages: bool,
    /// Keys and their totals.
    pub(super) initial: Option<Vec<Row>>,
    /// What happens to keys that the function fails on; without it, the batch fails.
    pub(super) on_error: Option<OnError>,
}

/// A pipeline's tables, and the version of it that runs.
pub(super) struct Lab {
    setup: Setup,
    parts: usize,
    tables: Arc<Tables>,
    states: Arc<States>,
    program: Program,
    tally: Arc<Tally>,
}

/// What a batch gives: a line for each row and each state, sorted, and the accumulators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) rows: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) added: Accumulated,
    /// The rows that were put aside, as JSON.
    pub(super) poison: Vec<String>,
}

fn schema(names: &[&str]) -> SchemaRef {
    let number = |name: &&str| ArrowField::new(*name, DataType::Int64.to_arrow(), false);
    let key = ArrowField::new("key", DataType::Utf8.to_arrow(), false);
    Arc::new(ArrowSchema::new(std::iter::once(key).chain(names.iter().map(number)).collect::<Vec<_>>()))
}

/// Rows, whose amount is in each of the columns behind the key's.
fn table(schema: SchemaRef, rows: &[Row]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row.0)));
    let amounts: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let columns = std::iter::once(keys).chain(std::iter::repeat(amounts)).take(schema.fields().len());
    RecordBatch::try_new(schema, columns.collect()).unwrap()
}

impl Lab {
    /// With the keys in so many parts.
    pub(super) async fn new(setup: &Setup, parts: usize) -> Self {
        let tables = Arc::new(Tables::new(Store::in_memory(Limits::default())));
        Self::over(setup.clone(), parts, tables).await
    }

    /// As after a restart: all that is left are the tables.
    pub(super) async fn restarted(self) -> Self {
        Self::over(self.setup, self.parts, self.tables).await
    }

    async fn over(setup: Setup, parts: usize, tables: Arc<Tables>) -> Self {
        let (states, tally) = (Arc::new(States::default()), Arc::new(Tally::new(setup.ages)));
        let relations = relations(&setup, parts, &tally, &states).await;
        let program = Program::compile(&relations, &["tallies", "snapshot"], 1).await.unwrap();
        states.bind(&tables).unwrap();
        Self { setup, parts, tables, states, program, tally }
    }

    /// Runs a batch and commits it.
    pub(super) async fn batch(&mut self, time_ms: i64, rows: &[Row]) -> Given {
        let given = self.attempt(time_ms, rows).await.unwrap();
        let change = self.staged();
        self.tables.write(&change).await.unwrap();
        self.tables.apply(change);
        given
    }

    /// Runs a batch, which comes to nothing.
    pub(super) async fn attempt(&mut self, time_ms: i64, rows: &[Row]) -> Result<Given, QueryError> {
        let written = Arc::new(Written::default());
        // Several chunks, of which partitions have some each.
        let chunks = rows.chunks(rows.len().div_ceil(4).max(1)).map(|rows| table(schema(&["amount"]), rows));
        let mut inputs: Vec<(String, Arc<dyn Chunks>)> =
            vec![("rows".to_owned(), Arc::new(Rows(chunks.collect())))];
        if let Some(initial) = &self.setup.initial {
            let begin = Rows(vec![table(schema(&["total", "last"]), initial)]);
            inputs.push(("begin".to_owned(), Arc::new(begin)));
        }
        let time = BatchTime::from_ms(time_ms);
        self.states.begin(time);
        let computed = self.program.run(time, inputs, Arc::clone(&written) as _).await?;
        let poison = computed.poison.into_iter().map(|poisoned| format!("{:?}", poisoned.row.row));
        let (mut rows, mut states) = (written.of("tallies"), written.of("snapshot"));
        rows.sort();
        states.sort();
        Ok(Given { rows, states, added: computed.accumulated, poison: poison.collect() })
    }

    /// Runs a batch whose function fails, and gives what is staged nevertheless.
    pub(super) async fn failure(&mut self, time_ms: i64, rows: &[Row], poison: Poison) -> Change {
        self.tally.poison(Some(poison.clone()));
        let error = self.attempt(time_ms, rows).await.unwrap_err().to_string();
        assert!(error.contains(&format!("ate {}", poison.key)), "{error}");
        self.tally.poison(None);
        self.staged()
    }

    /// From now on the function fails on a key, or on none.
    pub(super) fn poison(&self, key: Option<&str>) {
        self.tally.poison(key.map(|key| Poison { key: key.to_owned(), after: 0 }));
    }

    fn staged(&self) -> Change {
        self.states.take().unwrap()
    }

    /// In how many parts the function was called since the start.
    pub(super) fn parts_called(&self) -> usize {
        self.tally.partitions().len()
    }
}

async fn relations(setup: &Setup, parts: usize, tally: &Arc<Tally>, states: &Arc<States>) -> Relations {
    let mut relations = Relations::new().unwrap();
    let input = schema(&["amount"]);
    relations.add_input("rows", Arc::clone(&input)).unwrap();
    relations.add_input("begin", schema(&["total", "last"])).unwrap();
    let over = |name: &str| OperatorInput::Rows(name.to_owned());
    let spread = Repartition::new(Arc::clone(&input), vec![0], parts);
    relations.add_operator("spread", over("rows"), Arc::new(spread)).await.unwrap();
    let key = Schema::new([Field::new("key", DataType::Utf8)]);
    let spec = KeyedSpec { key, state: tally.description().state.clone(), version: 0 };
    let initial = setup.initial.as_ref().map(|_| Initial::new("tallies", "begin", vec![0, 1, 2], states));
    let nobody = Caller::default();
    let caller = Caller { on_error: setup.on_error.unwrap_or(nobody.on_error), ..nobody };
    let settings = UpdateSettings {
        initial,
        timeout: setup.timeout_ms.map(Duration::from_millis),
        every_key: setup.every_key,
        caller: Arc::new(caller),
    };
    let columns = UpdateColumns { input, keys: vec![0], values: vec![1] };
    let keyed = states.keyed("tallies", spec);
    let update =
        Arc::new(StateUpdate::new(Arc::clone(tally) as _, columns, keyed, Arc::clone(states), settings));
    relations.add_operator("tallies", over("spread"), Arc::clone(&update) as _).await.unwrap();
    relations.add_operator("snapshot", over("tallies"), Arc::new(Snapshot::new(update))).await.unwrap();
    relations
}

//! Programs with windows over event time, batch by batch, over tables in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use millstream_model::{
    BatchTime, CallContext, DataType, Field, Folded, FunctionDescription, FunctionError, FunctionKind,
    Groups, Reduce, Schema,
};
use millstream_query::{Operator, OperatorInput, Program, Relations, Rows};
use millstream_state::{Limits, States, Store, Tables};

use crate::testing::Written;
use crate::{Assignment, EventSpan, EventWindow, Folding, Gathering, Reducing, Watermark, Watermarks};

/// A row: when it happened in milliseconds, if it says so, its key and its amount.
pub(super) type Event = (Option<i64>, &'static str, i64);

/// What windows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sum,
    Reduce,
    Rows,
}

/// What runs: a stream of windows over all rows of the sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) kind: Kind,
    pub(super) length_ms: u64,
    pub(super) slide_ms: u64,
    /// By source, in milliseconds.
    pub(super) delays: &'static [u64],
}

/// A pipeline's tables, and the version of it that runs.
pub(super) struct Lab {
    setup: Setup,
    tables: Arc<Tables>,
    states: Arc<States>,
    program: Program,
}

/// What a batch gives, a line for each row, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) windows: Vec<String>,
    pub(super) late: Vec<String>,
}

fn schema() -> SchemaRef {
    Arc::new(ArrowSchema::new(vec![
        ArrowField::new("at", DataType::Timestamp.to_arrow(), true),
        ArrowField::new("key", DataType::Utf8.to_arrow(), false),
        ArrowField::new("amount", DataType::Int64.to_arrow(), false),
    ]))
}

fn rows(events: &[Event]) -> RecordBatch {
    let at = events.iter().map(|event| event.0.map(|ms| ms * 1_000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(at.collect::<TimestampMicrosecondArray>()),
        Arc::new(StringViewArray::from_iter_values(events.iter().map(|event| event.1))),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|event| event.2))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn source(number: usize) -> String {
    format!("source-{number}")
}

impl Lab {
    pub(super) async fn new(setup: Setup) -> Self {
        let tables = Arc::new(Tables::new(Store::in_memory(Limits::default())));
        Self::over(setup, tables).await
    }

    /// As after a restart: all that is left are the tables.
    pub(super) async fn restarted(self) -> Self {
        Self::over(self.setup, self.tables).await
    }

    async fn over(setup: Setup, tables: Arc<Tables>) -> Self {
        let states = Arc::new(States::default());
        let relations = relations(setup, &states).await;
        let program = Program::compile(&relations, &["windows", "late"], 2).await.unwrap();
        states.bind(&tables).unwrap();
        Self { setup, tables, states, program }
    }

    /// Runs a batch and commits it.
    pub(super) async fn batch(&mut self, time_ms: i64, events: &[&[Event]]) -> Given {
        let given = self.attempt(time_ms, events).await;
        let change = self.states.take().unwrap();
        self.tables.write(&change).await.unwrap();
        self.tables.apply(change);
        given
    }

    /// Runs a batch, which comes to nothing.
    pub(super) async fn attempt(&mut self, time_ms: i64, events: &[&[Event]]) -> Given {
        let written = Arc::new(Written::default());
        let input = |(number, events): (usize, &&[Event])| {
            // Several chunks, of which partitions have some each.
            let chunks = events.chunks(events.len().div_ceil(4).max(1)).map(rows).collect();
            (source(number), Arc::new(Rows(chunks)) as _)
        };
        let inputs = events.iter().enumerate().map(input).collect();
        let time = BatchTime::from_ms(time_ms);
        self.states.begin(time);
        self.program.run(time, inputs, Arc::clone(&written) as _).await.unwrap();
        Given { windows: written.of("windows"), late: written.of("late") }
    }

    /// How many keys have something in the tables of windows.
    pub(super) fn kept(&self) -> u64 {
        let statistics = self.tables.store().statistics();
        statistics.tables.iter().filter(|table| table.name == "windows.panes").map(|table| table.keys).sum()
    }
}

async fn relations(setup: Setup, states: &Arc<States>) -> Relations {
    let mut relations = Relations::new().unwrap();
    let mut watermarks = Vec::new();
    let mut names = Vec::new();
    for (number, delay) in setup.delays.iter().enumerate() {
        let name = source(number);
        relations.add_input(&name, schema()).unwrap();
        let watermark = Arc::new(Watermark::new(&name, "at", 0, Duration::from_millis(*delay), states));
        let relation = format!("{name}.watermark");
        let input = OperatorInput::Rows(name.clone());
        relations.add_operator(&relation, input, Arc::clone(&watermark) as _).await.unwrap();
        watermarks.push((relation, watermark));
        names.push(name);
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    relations.add_union("all", &names).await.unwrap();
    let watermarks = Watermarks::new(watermarks, Duration::ZERO);
    let span = EventSpan::new(Duration::from_millis(setup.length_ms), Duration::from_millis(setup.slide_ms));
    let assignment = Assignment::new(&schema(), 0, "pane", span, watermarks.clone());
    relations.add_operator("panes", OperatorInput::Rows("all".into()), Arc::new(assignment)).await.unwrap();
    let timely = relations.add_sql("timely", "SELECT * FROM panes WHERE pane IS NOT NULL").await.unwrap();
    relations.add_sql("late", "SELECT at, key, amount FROM panes WHERE pane IS NULL").await.unwrap();
    let over_rows = OperatorInput::Rows("timely".to_owned());
    let (operator, input): (Arc<dyn Operator>, _) = match setup.kind {
        Kind::Sum => {
            let sql = "SELECT pane, key, sum(amount) AS total, count(*) AS n FROM timely GROUP BY pane, key";
            let sum = relations.aggregation(sql).await.unwrap();
            let window = EventWindow::new(("windows", "at"), span, sum, 2, watermarks, states).unwrap();
            (Arc::new(window), OperatorInput::Partial(sql.to_owned()))
        }
        Kind::Reduce => {
            let folding = Folding::new(Arc::new(Sum::new()), &timely, vec![3, 1], vec![2]);
            let window =
                EventWindow::new(("windows", "at"), span, Reducing(folding), 2, watermarks, states).unwrap();
            (Arc::new(window), over_rows)
        }
        Kind::Rows => {
            let rows = Gathering::new(&timely);
            let keys = rows.key_columns();
            let window = EventWindow::new(("windows", "at"), span, rows, keys, watermarks, states).unwrap();
            (Arc::new(window), over_rows)
        }
    };
    relations.add_operator("windows", input, operator).await.unwrap();
    relations
}

/// A reduce that adds.
#[derive(Debug)]
struct Sum(FunctionDescription);

impl Sum {
    fn new() -> Self {
        let amount = || Schema::new([Field::new("amount", DataType::Int64)]);
        Self(FunctionDescription {
            name: "sum".to_owned(),
            kind: FunctionKind::Reduce,
            input: amount(),
            output: amount(),
            keys: Schema::default(),
            state: Schema::default(),
            state_version: 0,
            migrations: Vec::new(),
            documentation: String::new(),
        })
    }
}

#[async_trait]
impl Reduce for Sum {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    async fn fold(&self, _: CallContext, rows: RecordBatch, groups: Groups) -> Result<Folded, FunctionError> {
        let mut sums = vec![0; groups.count as usize];
        let amounts = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        groups.of.iter().zip(amounts.values()).for_each(|(group, amount)| sums[*group as usize] += amount);
        let sums: ArrayRef = Arc::new(Int64Array::from(sums));
        Ok(Folded { rows: RecordBatch::try_new(rows.schema(), vec![sums]).unwrap(), added: BTreeMap::new() })
    }
}

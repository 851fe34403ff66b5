//! The function of the tests: it fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;
use millstream_model::{
    Accumulated, Answer, Answered, CallContext, DataType, Field as ModelField, Function, FunctionDescription,
    FunctionError, FunctionKind, Schema as ModelSchema,
};
use millstream_query::{Call, Caller, Program, Relations};
use millstream_state::{KeyedTable, States};
use tokio::sync::watch;

use super::lab::schema;

/// Keeps all rows and counts them. A row "wait" waits for the gate, a row "poison" fails as often as it is to, a row "trap"
/// always; and while it ails, rows "crash", "refused" and "away" do. While it is picky, it leaves rows "odd" out.
#[derive(Debug)]
pub(super) struct Counting {
    description: FunctionDescription,
    pub(super) gate: watch::Sender<bool>,
    pub(super) poisonous: AtomicUsize,
    pub(super) ails: AtomicBool,
    pub(super) picky: AtomicBool,
}

impl Counting {
    pub(super) fn new() -> Arc<Self> {
        let description = filter("counting");
        let (gate, poisonous) = (watch::Sender::new(false), AtomicUsize::new(0));
        Arc::new(Self {
            description,
            gate,
            poisonous,
            ails: AtomicBool::new(false),
            picky: AtomicBool::new(false),
        })
    }

    /// How it fails on a text, if it does.
    fn failure(&self, text: &str) -> Option<FunctionError> {
        let (function, reason) = ("test.counting".to_owned(), "poisoned".to_owned());
        let less = |left: usize| left.checked_sub(1);
        let ails = self.ails.load(Ordering::SeqCst);
        match text {
            "poison" => {
                let left = self.poisonous.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
                left.is_ok().then_some(FunctionError::Broken { function, reason })
            }
            "trap" => Some(FunctionError::Broken { function, reason }),
            "crash" => ails.then_some(FunctionError::Broken { function, reason }),
            "refused" => ails.then_some(FunctionError::Rejected { function, reason }),
            "away" => ails.then_some(FunctionError::Unavailable { function, reason }),
            _ => None,
        }
    }
}

/// The same, for a stream that keeps a state for each row, always the same.
#[derive(Debug)]
pub(super) struct Tallying {
    pub(super) counting: Arc<Counting>,
    pub(super) states: Arc<States>,
    /// Of texts, with integers.
    pub(super) table: Arc<KeyedTable>,
}

/// Calls a filter on the rows of all inputs together.
pub(super) async fn called(caller: &Arc<Caller>, function: Arc<dyn Function>, inputs: &[&str]) -> Program {
    let relations = called_by(caller, function, inputs).await;
    Program::compile(&relations, &["out"], 1).await.unwrap()
}

/// Calls a filter on the rows of all inputs together.
pub(super) async fn program(function: Arc<dyn Function>, inputs: &[&str]) -> Program {
    called(&Arc::default(), function, inputs).await
}

/// The relation "out": what a filter leaves of the rows of all inputs together.
pub(super) async fn relations(function: Arc<dyn Function>, inputs: &[&str]) -> Relations {
    called_by(&Arc::default(), function, inputs).await
}

async fn called_by(caller: &Arc<Caller>, function: Arc<dyn Function>, inputs: &[&str]) -> Relations {
    let mut relations = Relations::new().unwrap();
    for input in inputs {
        relations.add_input(input, schema()).unwrap();
    }
    let from = match inputs {
        [input] => input,
        _ => {
            relations.add_union("all", inputs).await.unwrap();
            "all"
        }
    };
    let call =
        Call { function, columns: vec!["value".into()], keep_columns: true, caller: Arc::clone(caller) };
    relations.add_call("out", from, call).await.unwrap();
    relations
}

/// A filter of the column "text", as a plugin describes it.
pub(super) fn filter(name: &str) -> FunctionDescription {
    FunctionDescription {
        name: name.into(),
        kind: FunctionKind::Filter,
        input: ModelSchema::new([ModelField::new("text", DataType::Utf8)]),
        output: ModelSchema::default(),
        keys: ModelSchema::default(),
        state: ModelSchema::default(),
        state_version: 0,
        migrations: Vec::new(),
        documentation: String::new(),
    }
}

#[async_trait]
impl Function for Counting {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn call(&self, _context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let texts = rows.column(0).as_string_view();
        if texts.iter().flatten().any(|text| text == "wait") {
            self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        }
        if let Some(failure) = texts.iter().flatten().find_map(|text| self.failure(text)) {
            return Err(failure);
        }
        let added = Accumulated::from([("test.rows".to_owned(), rows.num_rows() as i64)]);
        let picky = self.picky.load(Ordering::SeqCst);
        let kept = BooleanBuffer::from_iter(texts.iter().map(|text| !(picky && text == Some("odd"))));
        Ok(Answered { answer: Answer::Selection(kept), added })
    }
}

#[async_trait]
impl Function for Tallying {
    fn description(&self) -> &FunctionDescription {
        self.counting.description()
    }

    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let answered = self.counting.call(context, rows.clone()).await?;
        let table = self.table.table();
        let keys = table.encode_keys(rows.columns()).unwrap();
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1; rows.num_rows()]));
        let states = table.encode_states(&[counts]).unwrap();
        self.states.stage(|change| {
            let change = change.keyed(&self.table.name);
            keys.iter().zip(states.iter()).for_each(|(key, state)| change.put(key.data(), state.data()));
        });
        Ok(answered)
    }
}

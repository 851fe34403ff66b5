//! Components made by hand and by chance, of a kind that no toolchain makes: whatever bytes they answer with and wherever
//! they misbehave, the host lives, says which function it was, and goes on with a fresh instance.

mod answers;
mod component;
mod contract;
mod elsewhere;
mod files;
mod floods;
mod image;
mod places;
mod random_answers;
mod random_modules;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, RecordBatch};
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{Answer, BatchTime, CallContext, DataType, Field, FunctionError, Schema};
use millstream_plugins::{Plugin, PluginError, Sandbox};

use component::{ANSWER_AT, CALLS_AT, DESCRIPTION_AT, Deed, Guest};
use image::{Image, Span, Values, column};

/// Limits that are soon reached, but for that of time: a busy machine may take long for what is well.
fn limit() -> Limit {
    Limit { memory_bytes: 16 << 20, ..Limit::default() }
}

fn input() -> Schema {
    Schema::new([Field::new("image", DataType::Binary)])
}

/// A guest with one transform, `answer`, whose answers have these columns.
fn guest(output: &Schema) -> Guest {
    let mut image = Image::new(DESCRIPTION_AT);
    let place = image.description(&[("answer", TRANSFORM, &input(), output)]);
    Guest::new((image.into_bytes(), place))
}

/// The number of the kind in the contract.
const TRANSFORM: u8 = 3;

/// What a guest of [`counting`] answers with: how many calls its instance has had.
fn calls() -> Vec<u8> {
    let mut answer = Draft::new();
    let numbers = Values::Int64(Span { at: CALLS_AT, length: 1 });
    answer.result = answer.image.rows(1, &[column(None, numbers)], &[]);
    answer.bytes(Deed::Nothing)
}

/// A guest whose function can tell how many calls its instance has had.
fn counting() -> Guest {
    guest(&Schema::new([Field::new("calls", DataType::Int64)]))
}

/// What a call is handed to answer with, while it is made.
#[derive(Clone)]
struct Draft {
    image: Image,
    /// The place that the answer is at.
    result: u32,
}

impl Draft {
    fn new() -> Self {
        // Before the values stand the place of the result and the deed.
        Self { image: Image::new(ANSWER_AT + 8), result: 0 }
    }

    fn bytes(self, deed: Deed) -> Vec<u8> {
        let head = [self.result, deed as u32];
        head.iter().flat_map(|word| word.to_le_bytes()).chain(self.image.into_bytes()).collect()
    }
}

/// Loads a component's file as the plugin `handmade`.
async fn load(component: &[u8], limit: Limit) -> Result<Plugin, PluginError> {
    load_in(&Sandbox::new().unwrap(), component, limit).await
}

async fn load_in(sandbox: &Sandbox, component: &[u8], limit: Limit) -> Result<Plugin, PluginError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handmade.wasm");
    std::fs::write(&path, component).unwrap();
    let spec = PluginSpec {
        name: Located { value: "handmade".into(), place: Place::default() },
        component: Located { value: path, place: Place::default() },
        grant: Grant::default(),
        limit,
        config: BTreeMap::new(),
    };
    Plugin::load(sandbox, &spec).await
}

/// Calls the only function.
async fn call(plugin: &Plugin, image: &[u8]) -> Result<RecordBatch, FunctionError> {
    let column: ArrayRef = Arc::new(BinaryViewArray::from_iter_values([image]));
    let rows = RecordBatch::try_new(Arc::new(input().to_arrow()), vec![column]).unwrap();
    let context = CallContext { batch_time: BatchTime::from_ms(1_000), partition: 0, chunk: 0 };
    match plugin.function(0).call(context, rows).await?.answer {
        Answer::Rows(rows) => Ok(rows),
        other => panic!("a transform answers with rows, not with {other:?}"),
    }
}

/// Calls it, and expects the failure to be told by these words and blamed on the function.
async fn check_broken(plugin: &Plugin, what: &str, image: &[u8], fragment: &str) {
    let error = call(plugin, image).await.expect_err(what);
    let FunctionError::Broken { function, reason } = &error else { panic!("{what}: {error:?}") };
    assert_eq!(function, "handmade.answer");
    assert!(reason.contains(fragment) && reason.len() < 1_000, "{what}: {reason}");
}

/// What was believed is whole: every value of it can be read.
fn check_valid(rows: &RecordBatch) {
    for column in rows.columns() {
        column.to_data().validate_full().unwrap();
    }
}

/// How many calls the instance has had that the next call finds, with this one.
async fn calls_of_instance(plugin: &Plugin) -> i64 {
    use arrow::array::AsArray;
    let rows = call(plugin, &calls()).await.unwrap();
    rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
}

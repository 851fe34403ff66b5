//! Plugins that misbehave: the host lives, names plugin and function, and goes on with a fresh instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{Answer, BatchTime, CallContext, DataType, Field, Function, FunctionError, Schema};
use millstream_plugins::{Plugin, Sandbox};

use crate::support::component;

fn spec(limit: Limit) -> PluginSpec {
    PluginSpec {
        name: Located { value: "hostile".into(), place: Place::default() },
        component: Located { value: component("hostile"), place: Place::default() },
        grant: Grant::default(),
        limit,
        config: BTreeMap::new(),
    }
}

async fn load(limit: Limit) -> Plugin {
    Plugin::load(&Sandbox::new().unwrap(), &spec(limit)).await.unwrap()
}

fn function(plugin: &Plugin, name: &str) -> Arc<dyn Function> {
    let index = plugin.description().functions.iter().position(|function| function.name == name);
    plugin.function(index.unwrap_or_else(|| panic!("no function {name}")))
}

fn rows(values: &[&str]) -> RecordBatch {
    let schema = Schema::new([Field::new("value", DataType::Utf8)]);
    let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(values));
    RecordBatch::try_new(Arc::new(schema.to_arrow()), vec![column]).unwrap()
}

async fn call(plugin: &Plugin, name: &str, values: &[&str]) -> Result<Answer, FunctionError> {
    let context = CallContext { batch_time: BatchTime::from_ms(1_000), partition: 0, chunk: 0 };
    function(plugin, name).call(context, rows(values)).await.map(|answered| answered.answer)
}

/// The words of a map's answer.
async fn words(plugin: &Plugin, name: &str, values: &[&str]) -> Vec<String> {
    match call(plugin, name, values).await {
        Ok(Answer::Rows(rows)) => {
            rows.column(0).as_string_view().iter().flatten().map(str::to_owned).collect()
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Calls each function, expects its failure to be told by these words, and the plugin to be well afterwards.
async fn check(limit: Limit, cases: &[(&str, &str)]) {
    let plugin = load(limit).await;
    for (name, fragment) in cases {
        let error = call(&plugin, name, &["a", "ä b", "c"]).await.expect_err(name);
        let FunctionError::Broken { function, reason } = &error else { panic!("{name}: {error:?}") };
        assert_eq!(*function, format!("hostile.{name}"));
        assert!(reason.contains(fragment), "{name}: {reason}");
        assert_eq!(words(&plugin, "well", &["a"]).await, ["A"], "after {name}");
    }
}

#[tokio::test]
async fn traps_are_told_and_survived() {
    let cases = [("trap", "trapped: unreachable code"), ("panic", "panicked at"), ("recurse", "trapped: ")];
    check(Limit::default(), &cases).await;
}

#[tokio::test]
async fn endless_loops_and_sleeps_end_at_the_time_limit() {
    // Long enough for a call that is well, on a machine that is busy.
    let limit = Limit { time: Duration::from_secs(1), ..Limit::default() };
    let told = "ran longer than its limit of 1s";
    check(limit, &[("spin", told), ("sleep", told)]).await;
}

#[tokio::test]
async fn memory_beyond_the_limit_is_refused() {
    let limit = Limit { memory_bytes: 32 << 20, ..Limit::default() };
    check(limit, &[("grow", "needs more memory than its limit of 32 MiB")]).await;
}

#[tokio::test]
async fn answers_that_lie_are_not_believed() {
    let cases = [
        ("offsets-fall", "offsets that fall"),
        ("offsets-beyond", "offsets from 0 to"),
        ("offsets-short", "offsets for"),
        ("invalid-utf8", "is not UTF-8"),
        ("split-character", "an offset inside a character"),
        ("wrong-type", "is int64 where its description says utf8"),
        ("wrong-rows", "a map answers with as many"),
        ("missing-column", "answered with 0 columns where it describes 1"),
        ("origins-beyond", "where there are 3 input rows"),
        ("origins-fall", "the origins of its rows fall"),
        ("selection-short", "a bitmap of"),
        ("wrong-answer", "that is not a filter's"),
        ("list-cycle", "is a list where its description says utf8"),
    ];
    check(Limit::default(), &cases).await;
}

#[tokio::test]
async fn an_answer_beyond_the_size_limit_is_stopped() {
    let limit = Limit { memory_bytes: 1 << 30, ..Limit::default() };
    check(limit, &[("huge", "hands over more than its limit of 128 MiB")]).await;
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    let plugin = load(Limit::default()).await;
    let rejected = call(&plugin, "reject", &["a"]).await.unwrap_err();
    assert!(matches!(rejected, FunctionError::Rejected { .. }), "{rejected:?}");
    let unavailable = call(&plugin, "unavailable", &["a"]).await.unwrap_err();
    assert!(matches!(unavailable, FunctionError::Unavailable { .. }), "{unavailable:?}");
}

#[tokio::test]
async fn a_flood_of_output_is_capped_and_the_answer_counts() {
    let plugin = load(Limit::default()).await;
    assert_eq!(words(&plugin, "flood", &["a"]).await.len(), 1);
}

#[tokio::test]
async fn what_is_not_granted_is_not_reached() {
    let plugin = load(Limit::default()).await;
    for (name, refused) in
        [("connect", "ermission denied"), ("read", "No such file"), ("environment", "none")]
    {
        let said = words(&plugin, name, &["a"]).await.join(" ");
        assert!(said.contains(refused), "{name}: {said}");
    }
}

#[tokio::test]
async fn what_is_granted_is_reached() {
    let mut spec = spec(Limit::default());
    spec.grant = Grant {
        network: vec!["127.0.0.1:9".into()],
        read: vec!["/etc".into()],
        environment: vec!["PATH".into()],
        ..Grant::default()
    };
    let plugin = Plugin::load(&Sandbox::new().unwrap(), &spec).await.unwrap();
    let refused_by_the_peer = words(&plugin, "connect", &["a"]).await;
    assert!(refused_by_the_peer[0].contains("refused"), "{refused_by_the_peer:?}");
    assert_eq!(words(&plugin, "read", &["a"]).await, [std::fs::read_to_string("/etc/passwd").unwrap()]);
    assert_eq!(words(&plugin, "environment", &["a"]).await, [std::env::var("PATH").unwrap()]);
}

#[tokio::test]
async fn only_the_poisoned_call_fails() {
    let plugin = load(Limit::default()).await;
    assert_eq!(words(&plugin, "trap-on", &["a", "b"]).await, ["a", "b"]);
    call(&plugin, "trap-on", &["a", "poison"]).await.expect_err("it is poisoned");
    assert_eq!(words(&plugin, "trap-on", &["c"]).await, ["c"]);
}

#[tokio::test]
async fn files_that_are_no_plugins_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let module = b"\0asm\x01\0\0\0";
    let empty_component = b"\0asm\x0d\0\x01\0";
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        ("missing.wasm", None, "No such file"),
        ("garbage.wasm", Some(b"garbage"), "is not WebAssembly"),
        ("module.wasm", Some(module), "is a core WebAssembly module, not a component"),
        ("empty.wasm", Some(empty_component), "does not export millstream:plugin/description"),
        ("torn.wasm", Some(b"\0asm\x0d\0\x01\0\xff\xff"), "does not compile"),
    ];
    for (name, bytes, fragment) in cases {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let mut spec = spec(Limit::default());
        spec.component.value = path;
        let error = Plugin::load(&Sandbox::new().unwrap(), &spec).await.err().expect(name).to_string();
        assert!(error.contains(name) && error.contains(fragment), "{error}");
    }
}

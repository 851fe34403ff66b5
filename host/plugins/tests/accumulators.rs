//! What a component adds to accumulators: handed over with an answer that is believed, and only then.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{Answered, BatchTime, CallContext, DataType, Field, FunctionError, Schema};
use millstream_plugins::{Plugin, Sandbox};

/// The component that misbehaves. `cargo xtask` builds it first and says so; others build it here.
fn hostile() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if std::env::var_os("MILLSTREAM_PLUGINS_BUILT").is_none() {
        let status = Command::new(env!("CARGO")).args(["xtask", "plugins"]).current_dir(root).status();
        assert!(status.unwrap().success(), "cargo xtask plugins");
    }
    root.join("plugins/bin/hostile.wasm").canonicalize().unwrap()
}

async fn load() -> Plugin {
    let located = |value| Located { value, place: Place::default() };
    let spec = PluginSpec {
        name: located("counting".to_owned()),
        component: Located { value: hostile(), place: Place::default() },
        grant: Grant::default(),
        limit: Limit::default(),
        config: BTreeMap::new(),
    };
    Plugin::load(&Sandbox::new().unwrap(), &spec).await.unwrap()
}

/// Calls a function on three rows.
async fn call(plugin: &Plugin, name: &str) -> Result<Answered, FunctionError> {
    let index = plugin.description().functions.iter().position(|function| function.name == name);
    let context = CallContext { batch_time: BatchTime::from_ms(1_000), partition: 0, chunk: 0 };
    let schema = Schema::new([Field::new("value", DataType::Utf8)]);
    let values: ArrayRef = Arc::new(StringViewArray::from_iter_values(["a", "b", "c"]));
    let rows = RecordBatch::try_new(Arc::new(schema.to_arrow()), vec![values]).unwrap();
    plugin.function(index.unwrap_or_else(|| panic!("no function {name}"))).call(context, rows).await
}

async fn added(plugin: &Plugin, name: &str) -> Vec<(String, i64)> {
    call(plugin, name).await.unwrap().added.into_iter().collect()
}

#[tokio::test]
async fn an_answer_comes_with_what_its_call_added_and_no_other() {
    let plugin = load().await;
    for _ in 0..2 {
        assert_eq!(added(&plugin, "count").await, [("counting.rows".to_owned(), 3)]);
        assert_eq!(added(&plugin, "well").await, []);
    }
}

#[tokio::test]
async fn a_call_that_fails_in_any_way_counts_nothing_then_or_later() {
    let plugin = load().await;
    for name in ["count-and-trap", "count-and-lie", "count-and-reject"] {
        call(&plugin, name).await.expect_err(name);
        assert_eq!(added(&plugin, "well").await, [], "after {name}");
        assert_eq!(added(&plugin, "count").await, [("counting.rows".to_owned(), 3)], "after {name}");
    }
}

#[tokio::test]
async fn what_breaks_a_limit_ends_the_call_with_the_reason() {
    let plugin = load().await;
    let cases = [
        ("names-flood", "more than 1000 accumulators"),
        ("name-bad", "\"not a name\""),
        ("name-empty", "the name \"\""),
        ("name-long", "a name of 65 bytes"),
        ("name-huge", "a name of 16777216 bytes"),
        ("count-beyond", "\"most\" goes beyond 64 bits"),
        ("count-below", "\"least\" goes beyond 64 bits"),
    ];
    for (name, fragment) in cases {
        let error = call(&plugin, name).await.expect_err(name);
        let FunctionError::Broken { function, reason } = &error else { panic!("{name}: {error:?}") };
        assert_eq!(*function, format!("counting.{name}"));
        assert!(reason.contains(fragment) && reason.len() < 300, "{name}: {reason}");
        assert_eq!(added(&plugin, "well").await, [], "after {name}");
    }
}

#[tokio::test]
async fn as_many_names_as_are_allowed_are_counted() {
    let plugin = load().await;
    for _ in 0..2 {
        let added = added(&plugin, "names-many").await;
        assert!(added.len() == 1_000 && added.contains(&("counting.999".to_owned(), 1)), "{added:?}");
    }
}

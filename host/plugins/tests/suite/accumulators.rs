//! What a component adds to accumulators: handed over with an answer that is believed, and only then.

use millstream_model::{Answered, FunctionError};
use millstream_plugins::Plugin;

use crate::support::{context, index, load, texts};

/// Calls a function on three rows.
async fn call(plugin: &Plugin, name: &str) -> Result<Answered, FunctionError> {
    plugin.function(index(plugin, name)).call(context(), texts("value", &["a", "b", "c"])).await
}

async fn added(plugin: &Plugin, name: &str) -> Vec<(String, i64)> {
    call(plugin, name).await.unwrap().added.into_iter().collect()
}

#[tokio::test]
async fn an_answer_comes_with_what_its_call_added_and_no_other() {
    let plugin = load("hostile").await;
    for _ in 0..2 {
        assert_eq!(added(&plugin, "count").await, [("hostile.rows".to_owned(), 3)]);
        assert_eq!(added(&plugin, "well").await, []);
    }
}

#[tokio::test]
async fn a_call_that_fails_in_any_way_counts_nothing_then_or_later() {
    let plugin = load("hostile").await;
    for name in ["count-and-trap", "count-and-lie", "count-and-reject"] {
        call(&plugin, name).await.expect_err(name);
        assert_eq!(added(&plugin, "well").await, [], "after {name}");
        assert_eq!(added(&plugin, "count").await, [("hostile.rows".to_owned(), 3)], "after {name}");
    }
}

#[tokio::test]
async fn what_breaks_a_limit_ends_the_call_with_the_reason() {
    let plugin = load("hostile").await;
    let cases = [
        ("names-flood", "more than 1000 accumulators"),
        ("name-bad", "\"not a name\""),
        ("name-empty", "the name \"\""),
        ("name-of-the-host", "is the host's"),
        ("name-long", "a name of 65 bytes"),
        ("name-huge", "a name of 16777216 bytes"),
        ("count-beyond", "\"most\" goes beyond 64 bits"),
        ("count-below", "\"least\" goes beyond 64 bits"),
    ];
    for (name, fragment) in cases {
        let error = call(&plugin, name).await.expect_err(name);
        let FunctionError::Broken { function, reason } = &error else { panic!("{name}: {error:?}") };
        assert_eq!(*function, format!("hostile.{name}"));
        assert!(reason.contains(fragment) && reason.len() < 300, "{name}: {reason}");
        assert_eq!(added(&plugin, "well").await, [], "after {name}");
    }
}

#[tokio::test]
async fn as_many_names_as_are_allowed_are_counted() {
    let plugin = load("hostile").await;
    for _ in 0..2 {
        let added = added(&plugin, "names-many").await;
        assert!(added.len() == 1_000 && added.contains(&("hostile.999".to_owned(), 1)), "{added:?}");
    }
}

//! What calls are said to take: all of them, whatever comes of them, once.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use millstream_model::{BatchTime, CallContext, Function, Metered, SinkPart, Usage};
use millstream_plugins::Plugin;

use crate::support::{context, description, index, load, texts, update};

fn function(plugin: &Plugin, name: &str) -> Arc<dyn Function> {
    plugin.function(index(plugin, name))
}

fn three_rows() -> RecordBatch {
    texts("value", &["a", "ä b", "c"])
}

/// What was taken of a function that was called for the batch of [`context`].
fn taken(plugin: &Plugin, name: &str) -> Usage {
    let usages = plugin.take_usage(context().batch_time);
    let names: Vec<&String> = usages.keys().collect();
    assert_eq!(names, [&format!("hostile.{name}")]);
    usages[&format!("hostile.{name}")]
}

#[tokio::test]
async fn calls_are_counted_with_what_crosses_in_them() {
    let plugin = load("hostile").await;
    assert!(plugin.take_usage(context().batch_time).is_empty(), "to describe itself is no call");
    for _ in 0..2 {
        function(&plugin, "well").call(context(), three_rows()).await.unwrap();
    }
    let usage = taken(&plugin, "well");
    // Six bytes of text and four offsets, both ways.
    let crossed = 2 * (6 + 4 * size_of::<u32>() as u64);
    assert_eq!((usage.calls, usage.failed_calls), (2, 0));
    assert_eq!((usage.rows_in, usage.rows_out), (6, 6));
    assert_eq!((usage.bytes_in, usage.bytes_out), (crossed, crossed));
    assert!(usage.cpu_ns > 0 && usage.memory_bytes_max >= 1 << 16, "{usage:?}");
    assert!(plugin.take_usage(context().batch_time).is_empty(), "it is taken once");
}

#[tokio::test]
async fn functions_of_all_kinds_are_counted() {
    let plugin = load("hostile").await;
    let number = index(&plugin, "update-well");
    assert_eq!(description(&plugin, "update-well").keys.fields.len(), 1);
    plugin.update_state(number).unwrap().update(context(), update()).await.unwrap();
    let usage = taken(&plugin, "update-well");
    assert_eq!((usage.calls, usage.rows_in, usage.rows_out), (1, 3, 4));
    assert!(usage.bytes_in > 0 && usage.bytes_out > 0, "{usage:?}");
}

#[tokio::test]
async fn receivers_and_sinks_are_counted_too() {
    let plugin = load("outside").await;
    let mut numbers = plugin.receiver(index(&plugin, "numbers")).unwrap().start(None).await.unwrap();
    let delivered = numbers.poll(Duration::from_millis(1)).await.unwrap();
    numbers.stop().await.unwrap();
    let sink = plugin.sink(index(&plugin, "refuse")).unwrap();
    let part = SinkPart { batch_time: context().batch_time, part: 0, parts: 1 };
    sink.write(part, texts("value", &["a", "b"])).await.unwrap_err();
    let usages = plugin.take_usage(context().batch_time);
    let [numbers, refuse] = ["outside.numbers", "outside.refuse"].map(|name| usages[name]);
    assert_eq!((numbers.calls, numbers.failed_calls), (3, 0));
    assert_eq!((numbers.rows_in, numbers.rows_out), (0, delivered.rows.num_rows() as u64));
    assert_eq!((refuse.calls, refuse.failed_calls, refuse.rows_in), (1, 1, 2));
    for usage in [numbers, refuse] {
        assert!(usage.cpu_ns > 0 && usage.memory_bytes_max > 0, "{usage:?}");
    }
}

#[tokio::test]
async fn calls_that_fail_are_counted_with_what_they_took() {
    let plugin = load("hostile").await;
    for name in ["trap", "wrong-rows", "reject"] {
        function(&plugin, name).call(context(), three_rows()).await.unwrap_err();
        let usage = taken(&plugin, name);
        assert_eq!((usage.calls, usage.failed_calls, usage.rows_in, usage.rows_out), (1, 1, 3, 0), "{name}");
        assert!(usage.cpu_ns > 0 && usage.memory_bytes_max > 0, "{name}: {usage:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_counted() {
    let plugin = load("hostile").await;
    let sleeping = function(&plugin, "sleep");
    tokio::select! {
        biased;
        _ = sleeping.call(context(), three_rows()) => panic!("it sleeps"),
        () = std::future::ready(()) => {}
    }
    let usage = taken(&plugin, "sleep");
    assert_eq!((usage.calls, usage.failed_calls), (1, 1));
}

#[tokio::test]
async fn the_memory_that_a_broken_limit_left_is_the_largest() {
    let plugin = load("hostile").await;
    function(&plugin, "grow").call(context(), three_rows()).await.unwrap_err();
    let usage = taken(&plugin, "grow");
    assert!((200 << 20..=256 << 20).contains(&usage.memory_bytes_max), "{usage:?}");
}

#[tokio::test]
async fn what_is_taken_is_of_the_batch_and_of_those_before_it() {
    let plugin = load("hostile").await;
    let well = function(&plugin, "well");
    for time_ms in [1_000, 2_000, 2_000, 3_000] {
        let context = CallContext { batch_time: BatchTime::from_ms(time_ms), ..context() };
        well.call(context, three_rows()).await.unwrap();
    }
    let calls = |time_ms| {
        let usages = plugin.take_usage(BatchTime::from_ms(time_ms));
        usages.values().map(|usage| usage.calls).sum::<u64>()
    };
    assert_eq!([calls(500), calls(2_000), calls(2_000), calls(9_000)], [0, 3, 0, 1]);
}

#[tokio::test]
async fn where_nobody_takes_anything_nothing_is_lost_and_little_is_kept() {
    let plugin = load("hostile").await;
    let well = function(&plugin, "well");
    for time_ms in 0..200 {
        let context = CallContext { batch_time: BatchTime::from_ms(time_ms), ..context() };
        well.call(context, three_rows()).await.unwrap();
    }
    let of_oldest = plugin.take_usage(BatchTime::from_ms(0));
    assert_eq!(of_oldest["hostile.well"].calls, 200 - 63);
    let rest = plugin.take_usage(BatchTime::from_ms(200));
    assert_eq!(rest["hostile.well"].calls, 63);
}

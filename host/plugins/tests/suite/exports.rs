//! What a component exports is held against what it describes.

use millstream_model::Answer;

use crate::support::{context, index, lines, load, texts, try_load};

#[tokio::test]
async fn a_plugin_exports_no_more_than_its_kinds_need() {
    let plugin = load("bare").await;
    let function = plugin.function(index(&plugin, "same"));
    let answered = function.call(context(), texts("value", &["a", "b"])).await.unwrap();
    let Answer::Rows(rows) = answered.answer else { panic!("{answered:?}") };
    assert_eq!(lines(&rows), ["a", "b"]);
}

#[tokio::test]
async fn a_description_that_is_not_true_is_refused() {
    let cases = [
        ("reduce", "does not export millstream:plugin/reduce"),
        ("inverse", "does not export millstream:plugin/reduce"),
        ("update-state", "does not export millstream:plugin/update-state"),
        ("other-columns", "answers with the columns that it reads"),
        ("no-state", "has a state of one field at least"),
        ("no-version", "a version of it from 1"),
        ("map-with-state", "the kind map has no keys, no state"),
        ("map-with-keys", "the kind map has no keys, no state"),
        ("migrations", "does not export millstream:plugin/migrate-state"),
        ("migrates-its-own", "from version 2, which is its own"),
        ("migrates-twice", "from version 1 in two ways"),
        ("migrates-none", "from version 0 with 1 fields"),
        ("migrates-nothing", "from version 1 with 0 fields"),
        ("migrates-to-other-keys", "makes keys of { word: int64 }, and it has keys of { word: utf8 }"),
        ("migrates-two-fields-of-a-name", "its state of version 1 has two fields with the name"),
        ("map-that-migrates", "no version of it and no migrations"),
    ];
    for (what, fragment) in cases {
        let loaded = try_load("bare", Some(("describe", what))).await;
        let refused = loaded.err().unwrap_or_else(|| panic!("{what} is refused")).to_string();
        assert!(refused.contains(fragment) && refused.contains("\"more\""), "{what}: {refused}");
    }
}

#[tokio::test]
async fn a_function_is_callable_as_its_kind_alone() {
    let plugin = load("keyed").await;
    let kinds = |name| {
        let index = index(&plugin, name);
        let (reduce, inverse) = (plugin.reduce(index), plugin.inverse(index));
        (reduce.is_some(), inverse.is_some(), plugin.update_state(index).is_some())
    };
    let cases =
        [("join", (true, false, false)), ("part", (false, true, false)), ("remember", (false, false, true))];
    cases.iter().for_each(|(name, expected)| assert_eq!(kinds(name), *expected, "{name}"));
    let error = plugin.function(index(&plugin, "join")).call(context(), texts("value", &["a"])).await;
    assert!(error.is_err(), "a reduce is not called as a map is");
}

//! Reduces, inverses and updates of states that misbehave: nothing of their answers is believed, and the next call
//! finds a fresh instance.

use millstream_model::{Accumulated, Fate, Folded, FunctionError, Groups, Updated};
use millstream_plugins::Plugin;

use crate::support::{context, index, lines, load, texts, update};

/// Folds three rows into two groups.
async fn fold(plugin: &Plugin, name: &str) -> Result<Folded, FunctionError> {
    let groups = Groups { of: vec![1, 0, 1], count: 2 };
    let reduce = plugin.reduce(index(plugin, name)).unwrap_or_else(|| panic!("{name} is a reduce"));
    reduce.fold(context(), texts("value", &["a", "ä b", "c"]), groups).await
}

async fn take_out(plugin: &Plugin, name: &str) -> Result<Folded, FunctionError> {
    let inverse = plugin.inverse(index(plugin, name)).unwrap_or_else(|| panic!("{name} is an inverse"));
    inverse.take_out(context(), texts("value", &["abc", "de"]), texts("value", &["b", "e"])).await
}

async fn call_update(plugin: &Plugin, name: &str) -> Result<Updated, FunctionError> {
    let function = plugin.update_state(index(plugin, name));
    function.unwrap_or_else(|| panic!("{name} is an update-state")).update(context(), update()).await
}

/// The failure is told by these words, and blamed on the function.
fn check_broken(name: &str, error: &FunctionError, fragment: &str) {
    let FunctionError::Broken { function, reason } = error else { panic!("{name}: {error:?}") };
    assert_eq!(*function, format!("hostile.{name}"));
    assert!(reason.contains(fragment), "{name}: {reason}");
}

fn counted(rows: i64) -> Accumulated {
    Accumulated::from([("hostile.rows".to_owned(), rows)])
}

async fn check_well(plugin: &Plugin, after: &str) {
    let folded = fold(plugin, "fold-well").await.unwrap();
    assert_eq!((lines(&folded.rows), folded.added), (vec!["ä b".into(), "ac".into()], counted(3)), "{after}");
    let rest = take_out(plugin, "take-out-well").await.unwrap();
    assert_eq!((lines(&rest.rows), rest.added), (vec!["ac".into(), "d".into()], counted(2)), "{after}");
    let updated = call_update(plugin, "update-well").await.unwrap();
    assert_eq!(updated.fates, [Fate::Put, Fate::Put, Fate::Put, Fate::Keep], "{after}");
    assert_eq!(lines(&updated.states), ["ab", "oc", "i", "g"], "{after}");
    assert_eq!(lines(&updated.output), ["new=ab", "old=oc", "idle=i", "gone=g"], "{after}");
    assert_eq!((updated.origins, updated.added), (vec![0, 1, 2, 3], counted(3)), "{after}");
}

#[tokio::test]
async fn folds_that_lie_are_not_believed() {
    let plugin = load("hostile").await;
    let cases = [
        ("fold-trap", "trapped"),
        ("fold-short", "answered with 1 rows for 2 groups"),
        ("fold-long", "answered with 3 rows for 2 groups"),
        ("fold-wrong-type", "is int64 where its description says utf8"),
        ("fold-missing-column", "answered with 0 columns where it describes 1"),
        ("fold-buffer-short", "has 2 offsets for 2 values"),
        ("fold-count-and-lie", "answered with 0 rows for 2 groups"),
    ];
    for (name, fragment) in cases {
        check_broken(name, &fold(&plugin, name).await.expect_err(name), fragment);
        check_well(&plugin, name).await;
    }
}

#[tokio::test]
async fn inverses_that_lie_are_not_believed() {
    let plugin = load("hostile").await;
    let cases = [
        ("take-out-short", "answered with 1 rows for 2 totals"),
        ("take-out-wrong-type", "is boolean where its description says utf8"),
    ];
    for (name, fragment) in cases {
        check_broken(name, &take_out(&plugin, name).await.expect_err(name), fragment);
        check_well(&plugin, name).await;
    }
}

#[tokio::test]
async fn updates_that_lie_are_not_believed() {
    let plugin = load("hostile").await;
    let cases = [
        ("update-trap", "trapped"),
        ("fates-short", "answered with 3 fates for 4 keys"),
        ("fates-long", "answered with 5 fates for 4 keys"),
        ("fate-unknown", "the fate 3 for key 0"),
        ("put-timed-out", "sets the state of key 3, which timed out"),
        ("states-short", "answered with 3 states for 4 keys"),
        ("states-buffer-short", "its states: column \"state\": has 4 offsets for 4 values"),
        ("states-wrong-type", "is int64 where its description says utf8"),
        ("states-null", "is null for key 0"),
        ("output-wrong-type", "is float64 where its description says utf8"),
        ("output-missing-column", "answered with 0 columns where it describes 1"),
        ("update-origins-beyond", "the origin 4 where there are 4 keys"),
        ("update-origins-fall", "the origins of its rows fall"),
        ("update-origins-short", "answered with 1 origins for 4 rows"),
        ("update-count-and-lie", "answered with 0 fates for 4 keys"),
    ];
    for (name, fragment) in cases {
        check_broken(name, &call_update(&plugin, name).await.expect_err(name), fragment);
        check_well(&plugin, name).await;
    }
}

#[tokio::test]
async fn states_that_are_not_put_may_hold_anything() {
    let plugin = load("hostile").await;
    let updated = call_update(&plugin, "update-nulls-unread").await.unwrap();
    assert_eq!(updated.fates, [Fate::Keep; 4]);
    assert_eq!(updated.states.column(0).null_count(), 4);
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    let plugin = load("hostile").await;
    let rejected = fold(&plugin, "fold-reject").await.unwrap_err();
    assert!(matches!(rejected, FunctionError::Rejected { .. }), "{rejected:?}");
    let unavailable = call_update(&plugin, "update-unavailable").await.unwrap_err();
    assert!(matches!(unavailable, FunctionError::Unavailable { .. }), "{unavailable:?}");
}

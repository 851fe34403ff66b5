use std::sync::Arc;

use millstream_platform::MemoryDisk;

use super::difference::{asking, filled, texts};
use super::{all, at, commit, numbers, open, put, rows, words};
use crate::{Change, KeyedSpec, Limits, Spec, States, Tables, names};

/// What a version asks for, what it may drop; what it would lose all the same, the tables that go, and the names that
/// make no difference.
type Case<'c> = (&'c [(&'c str, Spec)], &'c [&'c str], &'c [&'c str], &'c [&'c str], &'c [&'c str]);

fn check(tables: &Tables, (asked, allowed, lost, gone, idle): &Case<'_>) {
    let states = asking(asked);
    states.allow_drops(allowed.iter().map(|&name| name.to_owned()));
    let losses = states.losses(tables).into_iter().map(|loss| loss.stream).collect::<Vec<_>>();
    assert_eq!(losses, *lost, "{asked:?} {allowed:?}");
    assert_eq!(states.drops(tables), *gone, "{asked:?} {allowed:?}");
    let told = states.undropped(tables);
    assert_eq!(told.len(), idle.len(), "{told:?}");
    assert!(told.iter().zip(*idle).all(|(told, name)| told.starts_with(&format!("--drop-state {name}: "))));
}

#[tokio::test]
async fn what_is_not_gone_on_with_is_lost_unless_it_may_be_dropped() {
    let (running, recent) = (("running", Spec::Keyed(words())), ("recent", Spec::Panes(numbers())));
    let other = ("running", Spec::Keyed(KeyedSpec { version: 2, ..words() }));
    let both = [running.clone(), recent.clone()];
    for tables in filled().await {
        tables.store().keyed("empty", words()).unwrap();
        let cases: [Case<'_>; 7] = [
            (&both, &[], &[], &["empty"], &[]),
            (&both, &["running", "none"], &[], &["empty"], &["none", "running"]),
            (&[], &[], &["recent", "running"], &["empty"], &[]),
            (&[], &["running"], &["recent"], &["empty", "running"], &[]),
            (&[running.clone(), ("new", Spec::Panes(texts()))], &["recent"], &[], &["empty", "recent"], &[]),
            (&[other.clone(), recent.clone()], &[], &["running"], &["empty"], &[]),
            (&[other.clone(), recent.clone()], &["running"], &[], &["empty", "running"], &[]),
        ];
        cases.iter().for_each(|case| check(&tables, case));
    }
}

#[tokio::test]
async fn all_that_is_kept_for_a_stream_goes_together() {
    let store = crate::Store::in_memory(Limits::default());
    let mut change = Change::new(at(1));
    let (window, begun) = (names::window("running"), names::initial("running"));
    for name in ["running", &begun, &names::watermark("source")] {
        put(&mut change, &store.keyed(name, words()).unwrap(), "a", 1);
    }
    store.panes(&window, numbers()).unwrap();
    change.panes(&window).add(&rows(&[1]));
    commit(&store, change).await;
    let tables = Tables::new(store);
    let (running, mark) = (("running", Spec::Keyed(words())), (&*begun, Spec::Keyed(words())));
    let other = ("running", Spec::Keyed(KeyedSpec { version: 2, ..words() }));
    let kept = (&*window, Spec::Panes(numbers()));
    let watermark = names::watermark("source");
    let other_watermark = (&*watermark, Spec::Keyed(KeyedSpec { version: 2, ..words() }));
    let all: &[&str] = &["running", &begun, &window];
    let cases: [Case<'_>; 6] = [
        // Marks alone are not missed.
        (&[running.clone(), kept.clone()], &[], &[], &[], &[]),
        (std::slice::from_ref(&running), &[], &["running"], &[], &[]),
        (std::slice::from_ref(&running), &["running"], &[], all, &[]),
        (&[other, mark, kept.clone()], &["running"], &[], all, &[]),
        (&[running.clone(), kept.clone()], &["source"], &[], &["source.watermark"], &[]),
        (&[running.clone(), kept, other_watermark], &[], &["source"], &[], &[]),
    ];
    cases.iter().for_each(|case| check(&tables, case));
}

#[tokio::test]
async fn what_is_dropped_comes_back_until_a_batch_is_committed_also_of_a_version_without_states() {
    let other = KeyedSpec { version: 2, ..words() };
    for asked in [vec![], vec![("running", Spec::Keyed(other.clone()))]] {
        let disk = MemoryDisk::new();
        let store = open(&disk, Limits::default(), None).await.unwrap();
        let mut change = Change::new(at(1));
        put(&mut change, &store.keyed("running", words()).unwrap(), "a", 1);
        let mut end = commit(&store, change).await;
        for commits in [false, true] {
            disk.kill();
            let store = open(&disk, Limits::default(), end).await.unwrap();
            let tables = Arc::new(Tables::new(store));
            let states: States = asking(&asked);
            assert_eq!(states.losses(&tables).len(), 1);
            states.allow_drops(["running".to_owned()]);
            states.drop_lost(&tables);
            states.bind(&tables).unwrap();
            states.begin(at(2));
            let change = states.take().expect("what is dropped is to be written");
            let written = tables.write(&change).await.unwrap();
            if commits {
                end = written;
                tables.apply(change);
                assert_eq!(states.losses(&tables), []);
                states.begin(at(3));
                assert_eq!(states.take().is_some(), !asked.is_empty(), "it is written once");
            }
        }
        disk.kill();
        let store = open(&disk, Limits::default(), end).await.unwrap();
        assert!(all(&store.keyed("running", other.clone()).unwrap()).is_empty());
    }
}

#[tokio::test]
async fn a_loss_says_what_it_is_and_how_it_is_allowed() {
    for tables in filled().await {
        let told: Vec<String> = asking(&[("running", Spec::Panes(texts()))])
            .losses(&tables)
            .iter()
            .map(ToString::to_string)
            .collect();
        for (told, parts) in told.iter().zip([
            ["\"recent\"", "the rows of 1 batch;", "--drop-state recent"],
            ["\"running\"", "a window is asked for", "1 key with --drop-state running"],
        ]) {
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        }
    }
}

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use millstream_model::{DataType, Field, Schema};
use millstream_platform::MemoryDisk;

use super::{at, commit, numbers, open, put, rows, words};
use crate::{Change, KeyedSpec, Limits, PaneSpec, Spec, StateEnd, StateError, States, Store, Tables};

/// Fills a keyed table, "running", and one of panes, "recent".
async fn fill(store: &Store) -> Option<StateEnd> {
    let running = store.keyed("running", words()).unwrap();
    store.panes("recent", numbers()).unwrap();
    let mut change = Change::new(at(1));
    put(&mut change, &running, "a", 1);
    change.panes("recent").add(&rows(&[1]));
    commit(store, change).await
}

/// Those tables, in memory and read again from disk.
pub(super) async fn filled() -> [Arc<Tables>; 2] {
    let in_memory = Store::in_memory(Limits::default());
    fill(&in_memory).await;
    let disk = MemoryDisk::new();
    let end = fill(&open(&disk, Limits::default(), None).await.unwrap()).await;
    let again = open(&disk, Limits::default(), end).await.unwrap();
    [in_memory, again].map(|store| Arc::new(Tables::new(store)))
}

pub(super) fn asking(specs: &[(&str, Spec)]) -> States {
    let states = States::default();
    for (name, spec) in specs {
        match spec {
            Spec::Keyed(spec) => drop(states.keyed(name, spec.clone())),
            Spec::Panes(spec) => drop(states.panes(name, spec.clone())),
        }
    }
    states
}

pub(super) fn texts() -> PaneSpec {
    let field = ArrowField::new("number", ArrowType::Utf8View, true);
    PaneSpec { columns: Arc::new(ArrowSchema::new(vec![field])) }
}

#[tokio::test]
async fn a_difference_tells_both_sides_and_says_what_binding_says() {
    let (keyed, panes) = (Spec::Keyed(words()), Spec::Panes(numbers()));
    let longer = Schema::new([Field::new("word", DataType::Utf8), Field::new("length", DataType::Int64)]);
    let cases = [
        ("running", &keyed, Spec::Keyed(KeyedSpec { version: 2, ..words() })),
        ("running", &keyed, Spec::Keyed(KeyedSpec { key: longer, ..words() })),
        ("running", &keyed, panes.clone()),
        ("recent", &panes, Spec::Panes(texts())),
        ("recent", &panes, keyed.clone()),
    ];
    for tables in filled().await {
        for (name, stored, asked) in &cases {
            let states = asking(&[(name, asked.clone()), ("another", Spec::Keyed(words()))]);
            let differences = states.differences(&tables);
            let [difference] = differences.as_slice() else { panic!("{name}: {differences:?}") };
            assert_eq!(difference.table, *name);
            assert_eq!((&difference.stored, &difference.asked), (*stored, asked), "{name}");
            let refused = states.bind(&tables).unwrap_err();
            let told = StateError::from(difference.clone());
            assert_eq!(told.to_string(), refused.to_string(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_fits_does_not_differ_and_asking_makes_no_tables() {
    for tables in filled().await {
        let states = asking(&[
            ("running", Spec::Keyed(words())),
            ("recent", Spec::Panes(numbers())),
            ("new", Spec::Panes(texts())),
        ]);
        assert_eq!(states.differences(&tables), []);
        let names = tables.store().statistics().tables.into_iter().map(|table| table.name);
        assert_eq!(names.collect::<Vec<_>>(), ["recent", "running"]);
    }
}

#[tokio::test]
async fn a_table_asked_for_twice_differs_once() {
    for tables in filled().await {
        let other = Spec::Keyed(KeyedSpec { version: 7, ..words() });
        let states =
            asking(&[("running", other.clone()), ("recent", Spec::Panes(texts())), ("running", other)]);
        let names: Vec<String> = states.differences(&tables).into_iter().map(|of| of.table).collect();
        assert_eq!(names, ["recent", "running"]);
    }
}

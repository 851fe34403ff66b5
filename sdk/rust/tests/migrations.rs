//! Migrations and merges of states, described and called as the host does it, and in an ordinary test.

use millstream_sdk::prelude::*;
use millstream_sdk::{Error, Function, Groups, Kind, Migrated, Schema, Table, function, testing};

#[derive(Clone, Debug, PartialEq, Row)]
struct Place {
    country: String,
    city: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Seen {
    names: Vec<String>,
    visits: i64,
}

/// Gathers visitors of places.
#[update_state(version = 3, migrate = [from_names, names::from_texts], merge = together)]
fn visitors(country: &str, city: Option<&str>, name: Rows<'_, &str>, state: &mut State<Seen>) {
    let _ = (country, city);
    let mut seen = state.get().cloned().unwrap_or(Seen { names: Vec::new(), visits: 0 });
    seen.visits += name.len() as i64;
    seen.names.extend(name.iter().map(str::to_owned));
    state.set(seen);
}

/// Version 1 kept names alone, by `country/city`.
#[migrate(from = 1)]
fn from_names(
    #[column(name = "place")] at: &str,
    names: Vec<String>,
) -> Result<Option<(Place, Seen)>, String> {
    accumulators::add("migrated", 1);
    let (country, city) = match at.split_once('/') {
        Some((country, city)) => (country, Some(city.to_owned())),
        None => (at, None),
    };
    match country {
        "" => Err("a place without a country".to_owned()),
        "nowhere" => Ok(None),
        country => {
            let visits = names.len() as i64;
            Ok(Some((Place { country: country.to_owned(), city }, Seen { names, visits })))
        }
    }
}

mod names {
    use super::*;

    /// Version 2 kept names in one text; keys were what they are.
    #[migrate(from = 2)]
    pub(super) fn from_texts(names: &str) -> Seen {
        let names: Vec<_> = names.split(' ').map(str::to_owned).collect();
        Seen { visits: names.len() as i64, names }
    }
}

#[merge]
fn together(left: Seen, right: Seen) -> Result<Seen, String> {
    let visits = left.visits.checked_add(right.visits).ok_or("too many visits")?;
    Ok(Seen { names: [left.names, right.names].concat(), visits })
}

/// One that keeps all keys, or drops some, and needs no merge.
#[update_state(version = 2, migrate = halved, output = "total")]
fn total(_key: (), new: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<i64>) {
    state.set(state.get().copied().unwrap_or_default() + new.iter().sum::<i64>());
    out.push(new.len() as i64);
}

#[migrate(from = 7)]
fn halved(key: i64, total: i64) -> Option<i64> {
    (key != 13).then_some(total / 2)
}

fn schema<T: Row>(name: &str) -> Schema {
    let mut schema = Schema::default();
    T::fields(name, &mut schema);
    schema
}

fn seen(names: &[&str]) -> Seen {
    Seen { names: names.iter().map(|name| (*name).to_owned()).collect(), visits: names.len() as i64 }
}

fn place(country: &str, city: Option<&str>) -> Place {
    Place { country: country.to_owned(), city: city.map(str::to_owned) }
}

#[test]
fn an_update_of_states_describes_what_it_takes_over() {
    let function: Function = function!(visitors);
    assert_eq!((function.kind, function.state_version), (Kind::UpdateState, 3));
    let [names, texts] = function.migrations else { panic!("{function:?}") };
    assert_eq!((names.version, texts.version), (1, 2));
    assert_eq!((names.keys(), names.state()), (schema::<&str>("place"), schema::<Vec<String>>("state")));
    assert_eq!((texts.keys(), texts.state()), (Schema::default(), schema::<&str>("state")));
    assert_eq!((names.new_keys(), texts.new_keys()), (schema::<Place>(""), Schema::default()));
    assert!(function.merge.is_some() && function!(total).merge.is_none());
}

#[test]
fn states_and_keys_become_others() {
    let keys = Table::of(["ch/bern", "nowhere", "at"]);
    let states = Table::of([vec!["ann"], vec!["bob"], vec![]]);
    let migrated = function!(visitors).migrate(1, &keys, &states).unwrap();
    let expected = Migrated {
        origins: vec![0, 2],
        keys: Table::of([place("ch", Some("bern")), place("at", None)]),
        states: Table::of([seen(&["ann"]), seen(&[])]),
    };
    assert_eq!(migrated, expected);
    assert_eq!(testing::added("migrated"), 0, "a migration counts nothing");
}

#[test]
fn keys_that_are_not_made_stay() {
    let unseen = Table { rows: 2, ..Table::default() };
    let migrated = function!(visitors).migrate(2, &unseen, &Table::of(["ann bob", "cy"])).unwrap();
    assert_eq!((migrated.origins, migrated.keys), (vec![0, 1], unseen));
    assert_eq!(migrated.states, Table::of([seen(&["ann", "bob"]), seen(&["cy"])]));
    let migrated = function!(total).migrate(7, &Table::of([1_i64, 13]), &Table::of([10_i64, 20])).unwrap();
    assert_eq!((migrated.origins, migrated.states), (vec![0], Table::of([5_i64])));
}

#[test]
fn states_of_one_key_become_one() {
    let states = Table::of([seen(&["ann"]), seen(&["bob"]), seen(&["cy", "di"])]);
    let groups = Groups { of: &[1, 0, 1], count: 2 };
    let merged = function!(visitors).merge(&states, groups).unwrap();
    assert_eq!(merged, Table::of([seen(&["bob"]), seen(&["ann", "cy", "di"])]));
    let many = Table::of([1, 2].map(|_| Seen { visits: i64::MAX, ..seen(&[]) }));
    let refused = function!(visitors).merge(&many, Groups { of: &[0, 0], count: 1 });
    assert_eq!(refused, Err(Error::Row { row: 1, message: "too many visits".to_owned() }));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (keys, states) = (Table::of(["at", ""]), Table::of([vec!["ann"], vec![]]));
    let message = "a place without a country".to_owned();
    let refused = function!(visitors).migrate(1, &keys, &states);
    assert_eq!(refused, Err(Error::Key { key: 1, message }));
    let refused = function!(visitors).migrate(4, &keys, &states);
    assert_eq!(refused, Err(Error::Version { function: "visitors", version: 4 }));
    let refused = function!(visitors).migrate(1, &Table::of(["at"]), &states);
    assert_eq!(refused, Err(Error::States { keys: 1, states: 2 }));
    let refused = function!(visitors).migrate(2, &keys, &states);
    assert!(matches!(refused, Err(Error::WrongType { .. })), "{refused:?}");
    let refused = function!(total).merge(&states, Groups { of: &[0, 0], count: 1 });
    assert_eq!(refused, Err(Error::NoMerge { function: "total" }));
}

#[test]
fn an_ordinary_test_calls_the_functions() {
    assert_eq!(from_names("nowhere", vec![]), Ok(None));
    assert_eq!(names::from_texts("ann"), seen(&["ann"]));
    assert_eq!(together(seen(&["a"]), seen(&["b"])), Ok(seen(&["a", "b"])));
    let mut state = State::new(None);
    visitors("at", None, Rows::from(&["ann"][..]), &mut state);
    assert_eq!(state.get(), Some(&seen(&["ann"])));
}

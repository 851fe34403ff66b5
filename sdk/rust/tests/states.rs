//! Updates of states, described and called as the host does it; and states and outputs in an ordinary test.

use millstream_sdk::prelude::*;
use millstream_sdk::{Error, Function, Kind, Outcome, Schema, Table, Updates, WriteRow, function, testing};

/// Adds a key's numbers up, and gives each new sum.
#[update_state(version = 1, output = "total")]
fn running(key: &str, new: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<i64>) {
    accumulators::add("rows", new.len() as i64);
    if state.is_timing_out() {
        log(Level::Info, key);
        return;
    }
    let sum = state.get().copied().unwrap_or_default() + new.iter().sum::<i64>();
    if sum == 0 {
        state.remove();
    } else if !new.is_empty() {
        state.set(sum);
    }
    (0..new.len()).for_each(|_| out.push(sum));
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Place<'a> {
    country: &'a str,
    city: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Seen {
    names: Vec<Option<String>>,
    last: Timestamp,
    note: Option<String>,
}

/// The output borrows from the rows.
#[update_state(version = 2)]
fn newcomers<'a>(
    state: &mut State<Seen>,
    out: &mut Output<Option<&'a str>>,
    place: Place<'_>,
    #[column(name = "visitor")] names: Rows<'a, Option<&'a str>>,
    context: Context,
) -> Result<(), String> {
    if place.country.is_empty() {
        return Err("a place without a country".to_owned());
    }
    let last = Timestamp(context.batch_time_ms * 1_000);
    let mut seen = Seen { names: Vec::new(), last, note: place.city.map(str::to_owned) };
    seen.names.extend(state.get().into_iter().flat_map(|state| state.names.iter().cloned()));
    for name in &names {
        if !seen.names.iter().any(|known| known.as_deref() == name) {
            seen.names.push(name.map(str::to_owned));
            out.push(name);
        }
    }
    state.set(seen);
    Ok(())
}

#[update_state]
fn touched(_key: (), _new: Rows<'_, ()>, state: &mut State<bool>) {
    state.set(true);
}

/// What an update is made of.
struct Parts {
    keys: Table,
    states: Table,
    present: Vec<u8>,
    timed_out: Vec<u8>,
    groups: Vec<u32>,
    rows: Table,
}

impl Parts {
    fn call(&self, function: Function) -> Result<Outcome, Error> {
        let Self { keys, states, present, timed_out, groups, rows } = self;
        let updates = Updates { keys, states, present, timed_out, groups, rows };
        function.update(&updates, Context { batch_time_ms: 7, partition: 0 })
    }
}

fn sums(states: [Option<i64>; 4], timed_out: u8) -> Parts {
    let present = states.iter().enumerate().map(|(key, state)| u8::from(state.is_some()) << key).sum();
    Parts {
        keys: Table::of(["a", "b", "c", "d"]),
        states: Table::of(states),
        present: vec![present],
        timed_out: vec![timed_out],
        groups: vec![0, 2, 3, 3, 3],
        rows: Table::of([1, 2, 3]),
    }
}

#[test]
fn each_key_meets_its_state_and_its_rows() {
    let outcome = sums([None, Some(-3), Some(8), Some(9)], 0b1000).call(function!(running)).unwrap();
    assert_eq!(outcome.fates, [Outcome::PUT, Outcome::REMOVE, Outcome::KEEP, Outcome::KEEP]);
    assert_eq!((outcome.states.rows, outcome.states.read::<i64>("state").unwrap().get(0)), (4, Some(3)));
    assert_eq!((outcome.output, outcome.origins), (Table::of([3_i64, 3, 0]), vec![0, 0, 1]));
    assert_eq!(testing::logged(), [(Level::Info, "d".to_owned())]);
    assert_eq!(testing::added("rows"), 3);
}

#[test]
fn no_keys_are_answered_with_nothing() {
    let nothing = Table::of([0_i64; 0]);
    let parts = Parts {
        keys: Table::of([""; 0]),
        states: nothing.clone(),
        present: vec![],
        timed_out: vec![],
        groups: vec![0],
        rows: nothing.clone(),
    };
    let outcome = parts.call(function!(running)).unwrap();
    assert_eq!(outcome, Outcome { fates: vec![], states: nothing.clone(), output: nothing, origins: vec![] });
}

#[test]
fn functions_describe_keys_rows_and_states() {
    fn schema<T: Row>(name: &str) -> Schema {
        let mut schema = Schema::default();
        T::fields(name, &mut schema);
        schema
    }
    let function = function!(running);
    assert_eq!((function.name, function.kind, function.state_version), ("running", Kind::UpdateState, 1));
    assert_eq!((function.keys(), function.input()), (schema::<&str>("key"), schema::<i64>("new")));
    assert_eq!((function.state(), function.output()), (schema::<i64>("state"), schema::<i64>("total")));
    let function = function!(newcomers);
    assert_eq!((function.state_version, function.keys()), (2, schema::<Place<'_>>("")));
    assert_eq!(function.input(), schema::<Option<&str>>("visitor"));
    assert_eq!(function.state(), schema::<Seen>(""));
    assert_eq!(function.output(), schema::<Option<String>>("value"));
    let function = function!(touched);
    let none = Schema::default();
    assert_eq!((function.state_version, function.keys()), (1, none.clone()));
    assert_eq!((function.input(), function.output()), (none.clone(), none));
}

fn places(countries: [&str; 2]) -> Parts {
    let place = |(country, city)| Place { country, city };
    let seen = |names: &[&str]| Seen {
        names: names.iter().map(|name| Some((*name).to_owned())).collect(),
        last: Timestamp(1),
        note: None,
    };
    Parts {
        keys: Table::of(countries.into_iter().zip([Some("bern"), None]).map(place)),
        states: Table::of([seen(&["ann"]), seen(&["nobody"])]),
        present: vec![0b01],
        timed_out: vec![0],
        groups: vec![0, 3, 4],
        rows: Table::of([Some("ann"), Some("bob"), None, Some("ann")]),
    }
}

#[test]
fn states_and_outputs_are_rows_of_any_columns() {
    let outcome = places(["ch", "at"]).call(function!(newcomers)).unwrap();
    let seen = |names: &[Option<&str>], note: Option<&str>| Seen {
        names: names.iter().map(|name| name.map(str::to_owned)).collect(),
        last: Timestamp(7_000),
        note: note.map(str::to_owned),
    };
    let expected = [seen(&[Some("ann"), Some("bob"), None], Some("bern")), seen(&[Some("ann")], None)];
    assert_eq!(outcome.states, Table::of(expected));
    assert_eq!(outcome.output, Table::of([Some("bob"), None, Some("ann")]));
    assert_eq!(outcome.origins, [0, 0, 1]);
}

#[test]
fn an_error_names_the_key() {
    let message = "a place without a country".to_owned();
    assert_eq!(places(["ch", ""]).call(function!(newcomers)), Err(Error::Key { key: 1, message }));
}

#[test]
fn a_state_that_is_not_there_may_be_null() {
    // Nulls in a column that has none: that of the state, and that of its lists.
    let outcome = sums([None; 4], 0).call(function!(running)).unwrap();
    assert_eq!(outcome.fates, [Outcome::PUT, Outcome::PUT, Outcome::REMOVE, Outcome::REMOVE]);
    let mut parts = places(["ch", "at"]);
    for column in &mut parts.states.columns {
        column.validity = Some(vec![0b01]);
    }
    let outcome = parts.call(function!(newcomers)).unwrap();
    assert_eq!(outcome.fates, [Outcome::PUT; 2]);
    let mut rows = sums([None; 4], 0);
    rows.rows = Table::of([Some(1_i64), None, Some(3)]);
    assert!(matches!(rows.call(function!(running)), Err(Error::Null { .. })), "rows hold no such nulls");
}

#[test]
fn an_update_whose_parts_do_not_fit_is_refused() {
    let cases: [fn(&mut Parts); 6] = [
        |parts| parts.states = Table::of([1]),
        |parts| parts.present.clear(),
        |parts| parts.timed_out.clear(),
        |parts| parts.groups.truncate(4),
        |parts| parts.groups[4] = 9,
        |parts| parts.groups[2] = 1,
    ];
    for (case, spoil) in cases.iter().enumerate() {
        let mut parts = sums([Some(1); 4], 0);
        spoil(&mut parts);
        let refused = parts.call(function!(running));
        assert!(matches!(refused, Err(Error::Updates { .. })), "case {case}: {refused:?}");
    }
    let wrong = sums([None; 4], 0).call(function!(newcomers));
    assert!(wrong.is_err(), "the columns are not those of the function");
}

#[test]
fn a_state_is_what_was_done_to_it_last() {
    let mut state = State::new(None);
    assert!(!state.exists() && state.get().is_none() && !state.is_timing_out());
    state.set(1);
    state.update(|before| before.map(|before| before + 1));
    assert_eq!(state.get(), Some(&2));
    state.remove();
    assert!(!state.exists());
    state.update(|before| Some(before.unwrap_or(7)));
    assert_eq!(state.get(), Some(&7));
    state.update(|_| None);
    assert!(!state.exists());
}

#[test]
fn a_state_that_is_timing_out_is_seen_and_not_set() {
    let state = || State::timing_out(5);
    assert!(state().is_timing_out() && state().get() == Some(&5));
    let (mut removed, mut updated) = (state(), state());
    removed.remove();
    updated.update(|_| None);
    assert!(!removed.exists() && !updated.exists());
    let set = std::panic::catch_unwind(|| state().set(6));
    let update = std::panic::catch_unwind(|| state().update(|value| value));
    for panicked in [set, update] {
        let panicked = panicked.expect_err("it cannot be set");
        let text = panicked.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(text.contains("timing out") && text.contains("is_timing_out"), "{text}");
    }
}

#[test]
fn an_ordinary_test_calls_the_function() {
    fn check<T: WriteRow>(out: Output<T>, expected: impl IntoIterator<Item = T>) {
        assert_eq!(out.into_table(), Table::of(expected));
    }
    let (mut state, mut out) = (State::new(Some(1)), Output::new());
    assert!(out.is_empty());
    running("a", Rows::from(&[2, 3][..]), &mut state, &mut out);
    assert_eq!((state.get(), out.len()), (Some(&6), 2));
    check(out, [6, 6]);
    let mut state = State::new(None);
    touched((), Rows::from(&[(), ()][..]), &mut state);
    assert_eq!(state.get(), Some(&true));
}

//! The tables of `tests/vectors/unit_tables.json` that say what becomes of states, as pipelines.

use serde_json::Value;

use super::outcomes;
use crate::support::{Project, component, root, stderr, stdout};

/// Streams of the same rows whose states time out never, or after so many milliseconds.
const TIMEOUTS: &[(&str, &str)] =
    &[("never", ""), ("after-1000", ", timeout = \"1000ms\""), ("after-999", ", timeout = \"999ms\"")];

fn table(name: &str) -> Value {
    let text = std::fs::read(root().join("tests/vectors/unit_tables.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()[name].take()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

/// A pipeline that does to states what its rows say, with tests.
fn check(tests: &str, count: usize) {
    let component = component("conformance");
    let mut text = format!(
        "name = \"states\"\nbatch-interval = \"1s\"\ncheckpoint = \"checkpoint\"\n\
         [plugins.conformance]\ncomponent = {component:?}\n\
         [sources.rows]\ntype = \"files\"\npath = \"in\"\nformat = \"json\"\nschema = {{ k = \"utf8\", v = \"utf8\" }}\n\
         [streams.commands]\nsql = '''SELECT coalesce(k, '') AS k, coalesce(v, '') AS v FROM rows'''\n"
    );
    for (name, timeout) in TIMEOUTS {
        text += &format!(
            "[streams.{name}]\nfrom = \"commands\"\n\
             update-state = {{ by = [\"k\"], function = \"conformance.obey\"{timeout} }}\n\
             [streams.{name}-states]\nfrom = \"{name}\"\nsnapshot = true\n"
        );
    }
    let project = Project::new(&(text + tests));
    let tested = project.run("test", &["--json"]);
    let outcomes = outcomes(&stdout(&tested));
    let failed: Vec<_> = outcomes.iter().filter(|(_, differences)| !differences.is_empty()).collect();
    assert!(tested.status.success() && failed.is_empty(), "{failed:#?}\n{}", stderr(&tested));
    assert_eq!(outcomes.len(), count);
}

#[test]
fn a_state_becomes_what_spark_s_table_of_updates_says() {
    let table = table("mapWithState_record_update");
    let tests: String = list(&table["rows"]).enumerate().map(|(number, row)| update(number, row)).collect();
    check(&tests, list(&table["rows"]).count());
}

/// A row of the table: the first batch, of the time 1000, sets the state, and the second, of the time 2000, does the rest.
fn update(number: usize, row: &Value) -> String {
    let stream = match row["timeout_threshold_ms"].as_i64() {
        None => "never",
        Some(1000) => "after-1000",
        Some(1001) => "after-999",
        Some(other) => panic!("no stream forgets states of before {other}"),
    };
    let command = |word: String| format!("{{ k = \"key\", v = \"{word}\" }}");
    let first: Vec<_> = list(&row["init_states"]).map(|state| command(state.to_string())).collect();
    let then: Vec<_> = list(&row["data"]).map(|word| command(word.as_str().unwrap().to_owned())).collect();
    let happened: Vec<_> = ["output", "timing_out", "removed"]
        .iter()
        .flat_map(|what| list(&row[format!("expected_{what}")]).map(|state| (what.replace('_', "-"), state)))
        .map(|(what, state)| format!("{{ k = \"key\", what = \"{what}\", state = {state} }}"))
        .collect();
    let states =
        list(&row["expected_states"]).map(|state| format!("{{ k = \"key\", state = {} }}", state[0]));
    let states: Vec<_> = states.collect();
    format!(
        "[[tests]]\nname = \"update {number}\"\ngiven.rows = [[{}], [{}]]\n\
         expect.{stream} = [[], [{}]]\nexpect-state.{stream} = [{}]\n",
        first.join(", "),
        then.join(", "),
        happened.join(", "),
        states.join(", ")
    )
}

#[test]
fn states_go_from_batch_to_batch_as_spark_s_chains_of_them_do() {
    let table = table("mapWithState_state_chain");
    let rows: Vec<&Value> = list(&table["rows"]).collect();
    let tests: String = rows.iter().map(|row| chain(&table, row)).collect();
    check(&tests, rows.len());
}

/// The batches from the initial states to a row of the table, with the states after each.
fn chain(table: &Value, row: &Value) -> String {
    let mut path = vec![row];
    while let Some(base) = list(&table["rows"]).find(|other| other["result"] == path[0]["base"]) {
        path.insert(0, base);
    }
    let command = |key: &Value, word: String| format!("{{ k = {key}, v = \"{word}\" }}");
    let initial = list(&table["init"]).map(|state| command(&state[0], state[1].to_string()));
    let mut given = vec![initial.collect::<Vec<_>>()];
    let word = |data: &Value| match data[1].as_i64() {
        Some(0) => command(&data[0], "noop".to_owned()),
        Some(1) => command(&data[0], "update-state".to_owned()),
        Some(2) => command(&data[0], "remove-state".to_owned()),
        other => panic!("the data {other:?} has no meaning"),
    };
    given.extend(path.iter().map(|row| list(&row["data"]).map(word).collect()));
    let state = |state: &Value| format!("{{ k = {}, state = {} }}", state[0], state[1]);
    let states = std::iter::once(&table["init"]).chain(path.iter().map(|row| &row["expected"]));
    let states: Vec<Vec<_>> = states.map(|rows| list(rows).map(state).collect()).collect();
    let batches = |batches: &[Vec<String>]| {
        let batches: Vec<_> = batches.iter().map(|rows| format!("[{}]", rows.join(", "))).collect();
        format!("[{}]", batches.join(", "))
    };
    format!(
        "[[tests]]\nname = {}\ngiven.rows = {}\nexpect.never-states = {}\n",
        row["result"],
        batches(&given),
        batches(&states)
    )
}

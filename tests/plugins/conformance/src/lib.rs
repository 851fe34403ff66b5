//! The functions that the cases of `tests/vectors/vectors.json` name, each under the words of the case.
//!
//! `tests/suite/conformance/functions.rs` says which expression of a case is which function. A pair has the columns `k` and
//! `v`, anything else the column `value`.

use millstream_sdk::prelude::*;

/// A text and a number.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Counted {
    /// The key.
    pub k: String,
    /// The value.
    pub v: i64,
}

/// A number and a text.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Numbered {
    /// The key.
    pub k: i64,
    /// The value.
    pub v: String,
}

/// Two texts.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Labelled {
    /// The key.
    pub k: String,
    /// The value.
    pub v: String,
}

/// `x -> str(x)`
#[map]
pub fn decimal(value: i64) -> String {
    value.to_string()
}

/// `x -> int(x)`
#[map]
pub fn number(value: &str) -> Result<i64, String> {
    value.parse().map_err(|error| format!("`{value}` is no number: {error}"))
}

/// `x -> len(x)`
#[map]
pub fn length(value: &str) -> i64 {
    value.chars().count() as i64
}

/// `x -> x + 4`
#[map]
pub fn plus_four(value: i64) -> i64 {
    value + 4
}

/// `x -> x + 8`
#[map]
pub fn plus_eight(value: i64) -> i64 {
    value + 8
}

/// `x -> (x, 1)`
#[map]
pub fn with_one(value: &str) -> Counted {
    Counted { k: value.to_owned(), v: 1 }
}

/// `x -> (x, "x")`
#[map]
pub fn with_x(value: &str) -> Labelled {
    Labelled { k: value.to_owned(), v: "x".to_owned() }
}

/// `x -> (x, len(x))`
#[map]
pub fn with_length(value: &str) -> Counted {
    Counted { k: value.to_owned(), v: value.chars().count() as i64 }
}

/// `kv -> (kv.value, kv.key)`
#[map]
pub fn swap(k: &str, v: i64) -> Numbered {
    Numbered { k: v, v: k.to_owned() }
}

/// `v -> v + 10`
#[map(output = "v")]
pub fn plus_ten(v: i64) -> i64 {
    v + 10
}

/// `v -> upper(v)`
#[map(output = "v")]
pub fn upper(v: &str) -> String {
    v.to_uppercase()
}

/// `x -> [x, x*2]`
#[flat_map]
pub fn and_double(value: i64) -> Vec<i64> {
    vec![value, value * 2]
}

/// `x -> [(len(x), c) for c in chars(x)]`
#[flat_map]
pub fn letters_by_length(value: &str) -> Vec<Numbered> {
    let k = value.chars().count() as i64;
    value.chars().map(|letter| Numbered { k, v: letter.to_string() }).collect()
}

/// `v -> [v, v+10]`
#[flat_map(output = "v")]
pub fn and_plus_ten(v: i64) -> Vec<i64> {
    vec![v, v + 10]
}

/// `x -> contains(x, "a")`
#[filter]
pub fn has_an_a(value: &str) -> bool {
    value.contains('a')
}

/// `kv -> contains(kv.key, "a")`
#[filter]
pub fn key_has_an_a(k: &str) -> bool {
    k.contains('a')
}

/// `part -> [concat(upper(x) for x in part)]`
#[transform]
pub fn concatenated(value: Rows<'_, &str>) -> Vec<String> {
    vec![value.iter().map(str::to_uppercase).collect()]
}

/// `part -> [(kv.value, kv.key) for kv in part]`
#[transform]
pub fn swapped(pairs: Rows<'_, Counted>) -> Vec<Numbered> {
    pairs.iter().map(|pair| Numbered { k: pair.v, v: pair.k }).collect()
}

/// `glom`: a list for each partition.
#[transform]
pub fn listed(value: Rows<'_, &str>) -> Vec<Vec<String>> {
    vec![value.iter().map(str::to_owned).collect()]
}

/// `rdd -> rdd.map(str)`
#[transform]
pub fn decimals(value: Rows<'_, i64>) -> Vec<String> {
    value.iter().map(|value| value.to_string()).collect()
}

/// `rdd -> null`: the function has no table to give.
#[transform]
pub fn nothing(value: Rows<'_, i64>) -> Result<Vec<i64>, String> {
    Err(format!("there is no table for these {} rows", value.len()))
}

/// How many rows a partition has: a row for each partition.
#[transform(output = "rows")]
pub fn rows_of_partition(value: Rows<'_, i64>) -> Vec<i64> {
    vec![value.len() as i64]
}

/// `a + b`
#[reduce]
pub fn add(left: i64, right: i64) -> i64 {
    left + right
}

/// `a - b`
#[inverse]
pub fn subtract(total: i64, leaving: i64) -> i64 {
    total - leaving
}

/// `(values, state) -> Some(sum(values) + state.getOrElse(0))`
#[update_state(output = "v")]
pub fn running_sum(v: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<i64>) {
    let sum = state.get().copied().unwrap_or_default() + v.iter().sum::<i64>();
    state.set(sum);
    out.push(sum);
}

/// `(values, state) -> Some(state.getOrElse([]) ++ values)`
#[update_state(output = "v")]
pub fn running_list(v: Rows<'_, i64>, state: &mut State<Vec<i64>>, out: &mut Output<Vec<i64>>) {
    let mut list = state.get().cloned().unwrap_or_default();
    list.extend(v.iter());
    out.push(list.clone());
    state.set(list);
}

/// `(key, value, state) -> sum = value.getOrElse(0) + state.getOrElse(0); state.update(sum); return sum`
#[update_state]
pub fn sum_after_each(v: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<i64>) {
    for value in &v {
        let sum = value + state.get().copied().unwrap_or_default();
        state.set(sum);
        out.push(sum);
    }
}

/// `(time, key, value, state) -> state.update(value.getOrElse(0) + state.getOrElse(0)); return None`
#[update_state]
pub fn sum_in_silence(v: Rows<'_, i64>, state: &mut State<i64>, _out: &mut Output<i64>) {
    for value in &v {
        state.update(|sum| Some(sum.unwrap_or_default() + value));
    }
}

/// `(time, key, value, state) -> if state.exists { state.remove(); return Some(key) } else { state.update(value); return
/// None }`
#[update_state]
pub fn every_second(k: &str, v: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<String>) {
    for value in &v {
        if state.exists() {
            state.remove();
            out.push(k.to_owned());
        } else {
            state.set(value);
        }
    }
}

/// `(time, key, value, state) -> if value present state.update(1); if state.isTimingOut return Some(key) else None`
#[update_state]
pub fn key_at_timeout(k: &str, v: Rows<'_, i64>, state: &mut State<i64>, out: &mut Output<String>) {
    if !v.is_empty() {
        state.set(1);
    }
    if state.is_timing_out() {
        out.push(k.to_owned());
    }
}

/// What happened to a state.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Happened {
    /// `output`, `removed` or `timing-out`.
    pub what: String,
    /// The state; -1 where there was none.
    pub state: i64,
}

/// Does to the state what each text says: `noop`, `get-state`, `update-state`, `remove-state`, or a number that it becomes.
#[update_state]
pub fn obey(v: Rows<'_, &str>, state: &mut State<i64>, out: &mut Output<Happened>) -> Result<(), String> {
    let happened = |what: &str, state: &State<i64>| Happened {
        what: what.to_owned(),
        state: state.get().copied().unwrap_or(-1),
    };
    if state.is_timing_out() {
        out.push(happened("timing-out", state));
        return Ok(());
    }
    for word in &v {
        match word {
            "noop" => {}
            "get-state" => out.push(happened("output", state)),
            "update-state" => state.update(|state| Some(state.map_or(0, |state| state + 1))),
            "remove-state" => {
                out.push(happened("removed", state));
                state.remove();
            }
            number => state.set(number.parse().map_err(|_| format!("`{number}` is no command"))?),
        }
    }
    Ok(())
}

millstream_sdk::export!(
    decimal,
    number,
    length,
    plus_four,
    plus_eight,
    with_one,
    with_x,
    with_length,
    swap,
    plus_ten,
    upper,
    and_double,
    letters_by_length,
    and_plus_ten,
    has_an_a,
    key_has_an_a,
    concatenated,
    swapped,
    listed,
    decimals,
    nothing,
    rows_of_partition,
    add,
    subtract,
    running_sum,
    running_list,
    sum_after_each,
    sum_in_silence,
    every_second,
    key_at_timeout,
    obey,
);

//! Which function of the plugin each expression of a case is.

/// The operation that calls, the expression, the key of the stream, and the function.
const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("map", "x -> str(x)", "map", "decimal"),
    ("map", "x -> int(x)", "map", "number"),
    ("map", "x -> len(x)", "map", "length"),
    ("map", "x -> x + 4", "map", "plus-four"),
    ("map", "x -> x + 8", "map", "plus-eight"),
    ("map", "x -> (x, 1)", "map", "with-one"),
    ("map", "x -> (x, \"x\")", "map", "with-x"),
    ("map", "x -> (x, len(x))", "map", "with-length"),
    ("map", "kv -> (kv.value, kv.key)", "map", "swap"),
    ("mapValues", "v -> v + 10", "map", "plus-ten"),
    ("mapValues", "v -> upper(v)", "map", "upper"),
    ("flatMap", "x -> [x, x*2]", "flat-map", "and-double"),
    ("flatMap", "x -> [(len(x), c) for c in chars(x)]", "flat-map", "letters-by-length"),
    ("flatMapValues", "v -> [v, v+10]", "flat-map", "and-plus-ten"),
    ("filter", "x -> contains(x, \"a\")", "filter", "has-an-a"),
    ("filter", "kv -> contains(kv.key, \"a\")", "filter", "key-has-an-a"),
    ("mapPartitions", "part -> [concat(upper(x) for x in part)]", "transform", "concatenated"),
    ("mapPartitions", "part -> [(kv.value, kv.key) for kv in part]", "transform", "swapped"),
    ("transform", "rdd -> rdd.map(str)", "transform", "decimals"),
    ("transform", "rdd -> null", "transform", "nothing"),
    ("reduce", "a + b", "reduce", "add"),
    ("inverse", "a - b", "inverse", "subtract"),
    (
        "updateStateByKey",
        "(values, state) -> Some(sum(values) + state.getOrElse(0))",
        "update-state",
        "running-sum",
    ),
    (
        "updateStateByKey",
        "iter[(key, values, state)] -> iter[(key, sum(values) + state.getOrElse(0))]",
        "update-state",
        "running-sum",
    ),
    (
        "updateStateByKey",
        "(values, state) -> Some(state.getOrElse([]) ++ values)",
        "update-state",
        "running-list",
    ),
    (
        "mapWithState",
        "(key, value, state) -> sum = value.getOrElse(0) + state.getOrElse(0); state.update(sum); return sum",
        "update-state",
        "sum-after-each",
    ),
    (
        "mapWithState",
        "(time, key, value, state) -> state.update(value.getOrElse(0) + state.getOrElse(0)); return None",
        "update-state",
        "sum-in-silence",
    ),
    (
        "mapWithState",
        "(time, key, value, state) -> if state.exists { state.remove(); return Some(key) } else { state.update(value); return None }",
        "update-state",
        "every-second",
    ),
    (
        "mapWithState",
        "(time, key, value, state) -> if value present state.update(1); if state.isTimingOut return Some(key) else None",
        "update-state",
        "key-at-timeout",
    ),
];

/// The key of a stream and the function for an expression.
pub(super) fn function(
    operation: &str,
    expression: Option<&str>,
) -> Result<(&'static str, &'static str), String> {
    let expression = expression.ok_or_else(|| format!("{operation} lacks a function"))?;
    let found = FUNCTIONS.iter().find(|(by, words, ..)| *by == operation && *words == expression);
    let (_, _, key, name) =
        found.ok_or_else(|| format!("the function `{expression}` of {operation} has no translation"))?;
    Ok((key, name))
}

/// The name of the function for an expression.
pub(super) fn name(operation: &str, expression: Option<&str>) -> Result<String, String> {
    function(operation, expression).map(|(_, name)| format!("conformance.{name}"))
}

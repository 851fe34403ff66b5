//! Operations of Spark's streams as Millstream's.

use super::case::{Case, Node};
use super::draft::{Draft, relation};
use super::functions::{function, name};

/// Writes the streams that a node is.
pub(super) fn translate(draft: &mut Draft, case: &Case, node: &Node) -> Result<(), String> {
    let from: Vec<_> = node.from.iter().map(|name| relation(case, name)).collect();
    let place = Place { case, node, name: relation(case, &node.id), from };
    let translated = match node.op.as_str() {
        "map" | "mapValues" | "flatMap" | "flatMapValues" | "filter" | "mapPartitions" => place.call(draft),
        "glom" => place.one(draft, "transform", "\"conformance.listed\""),
        "groupByKey" | "groupByKeyAndWindow" => place.group(draft),
        "reduce" | "reduceByWindow" => place.reduce(draft, ""),
        "reduceByKey" | "reduceByKeyAndWindow" => place.reduce(draft, "by = [\"k\"], "),
        "combineByKey" => place.combine(draft),
        "count" | "countByWindow" => place.aggregate(draft, "value = \"count(*)\""),
        "countByValue" | "countByValueAndWindow" => place.count_by_value(draft),
        "union" => place.union(draft, None),
        "transform" => place.transform(draft),
        "transformWith" | "transformN" => place.transform_several(draft),
        "join" => place.join(draft, "inner"),
        "leftOuterJoin" => place.join(draft, "left"),
        "rightOuterJoin" => place.join(draft, "right"),
        "fullOuterJoin" => place.join(draft, "full"),
        "cogroup" => place.cogroup(draft),
        "repartition" => place.repartition(draft),
        "window" => place.whole_window(draft),
        "updateStateByKey" => place.update_all(draft),
        "mapWithState" => place.update_touched(draft),
        other => Err(format!("the operation {other} has no translation")),
    };
    translated.map_err(|reason| format!("node {}: {reason}", node.id))
}

/// A node, and what its stream and those that it reads are called.
struct Place<'a> {
    case: &'a Case,
    node: &'a Node,
    name: String,
    from: Vec<String>,
}

type Done = Result<(), String>;

impl Place<'_> {
    /// A stream of one operation, of the node's first input.
    fn one(&self, draft: &mut Draft, key: &str, value: &str) -> Done {
        draft.stream(&self.name, &self.from[0], key, value);
        Ok(())
    }

    fn call(&self, draft: &mut Draft) -> Done {
        let (key, function) = function(&self.node.op, self.node.function.as_deref())?;
        self.one(draft, key, &format!("\"conformance.{function}\""))
    }

    /// `, window = { ... }`, where the node has one.
    fn window(&self) -> String {
        let (Some(window), Some(slide)) = (self.node.window, self.node.slide) else { return String::new() };
        let ms = |batches: f64| (batches * self.case.batch_ms as f64).round();
        format!("window = {{ length = \"{}ms\", slide = \"{}ms\" }}", ms(window), ms(slide))
    }

    fn and_window(&self) -> String {
        match self.window() {
            window if window.is_empty() => window,
            window => format!(", {window}"),
        }
    }

    fn whole_window(&self, draft: &mut Draft) -> Done {
        let window = self.window();
        let value = window.strip_prefix("window = ").ok_or("it has no window")?;
        self.one(draft, "window", value)
    }

    fn aggregate(&self, draft: &mut Draft, outputs: &str) -> Done {
        self.one(draft, "aggregate", &format!("{{ {outputs}{} }}", self.and_window()))
    }

    fn group(&self, draft: &mut Draft) -> Done {
        let order = if self.case.values_ordered { "" } else { " ORDER BY v" };
        self.aggregate(draft, &format!("by = [\"k\"], v = \"array_agg(v{order})\""))
    }

    fn reduce(&self, draft: &mut Draft, by: &str) -> Done {
        let function = name("reduce", self.node.function.as_deref())?;
        let inverse = match self.node.inv_fn.as_deref() {
            None => String::new(),
            inverse => format!(", inverse = \"{}\"", name("inverse", inverse)?),
        };
        let keep = match self.node.filter_fn.as_deref() {
            None => "",
            Some("(k, v) -> v != 0") => ", keep = \"v <> 0\"",
            Some(other) => return Err(format!("the condition `{other}` has no translation")),
        };
        let window = self.and_window();
        self.one(draft, "reduce", &format!("{{ {by}function = \"{function}\"{inverse}{keep}{window} }}"))
    }

    /// A combination that begins with the value itself and goes on in one way is a reduce.
    fn combine(&self, draft: &mut Draft) -> Done {
        let Node { create, merge_value, merge_combiners, .. } = self.node;
        if create.as_deref() != Some("v -> v") || merge_value != merge_combiners {
            return Err("only a combination that is a reduce has a translation".to_owned());
        }
        let function = name("reduce", merge_value.as_deref())?;
        self.one(draft, "reduce", &format!("{{ by = [\"k\"], function = \"{function}\" }}"))
    }

    fn count_by_value(&self, draft: &mut Draft) -> Done {
        let keyed = format!("{}--keyed", self.name);
        draft.sql(&keyed, &format!("SELECT value AS k FROM \"{}\"", self.from[0]));
        let window = self.and_window();
        let counted = format!("{{ by = [\"k\"], v = \"count(*)\"{window} }}");
        draft.stream(&self.name, &keyed, "aggregate", &counted);
        Ok(())
    }

    /// All inputs, in that order or the node's.
    fn union(&self, draft: &mut Draft, order: Option<&[usize]>) -> Done {
        let order = order.map_or_else(|| (0..self.from.len()).collect(), <[usize]>::to_vec);
        let names: Vec<_> = order.iter().map(|&input| format!("\"{}\"", self.from[input])).collect();
        draft.section("streams", &self.name, &format!("from = [{}]", names.join(", ")));
        Ok(())
    }

    fn transform(&self, draft: &mut Draft) -> Done {
        let from = &self.from[0];
        match self.node.function.as_deref() {
            Some("rdd -> rdd.sortByKey()") => {
                draft.sql(&self.name, &format!("SELECT * FROM \"{from}\" ORDER BY k"));
            }
            Some("rdd -> rdd.cartesian(rdd)") => {
                let pairs = "l.value AS k, r.value AS v";
                draft.sql(
                    &self.name,
                    &format!("SELECT {pairs} FROM \"{from}\" AS l CROSS JOIN \"{from}\" AS r"),
                );
            }
            _ => return self.call(draft),
        }
        Ok(())
    }

    fn transform_several(&self, draft: &mut Draft) -> Done {
        match self.node.function.as_deref() {
            Some("(rdd1, rdd2) -> rdd1.join(rdd2)") => self.join(draft, "inner"),
            Some("(rdd1, rdd2) -> rdd1.union(rdd2)" | "rdds -> union(rdds)") => self.union(draft, None),
            Some("rdds -> union(rdds[1], rdds[2], rdds[0])") => self.union(draft, Some(&[1, 2, 0])),
            other => Err(format!("the function {other:?} of {} has no translation", self.node.op)),
        }
    }

    /// The names of two streams whose values have columns of their own: the second's is called `w`.
    fn sides(&self, draft: &mut Draft) -> String {
        let second = format!("{}--second", self.name);
        draft.sql(&second, &format!("SELECT k, v AS w FROM \"{}\"", self.from[1]));
        format!("from = [\"{}\", \"{second}\"]", self.from[0])
    }

    fn join(&self, draft: &mut Draft, kind: &str) -> Done {
        let sides = self.sides(draft);
        let join = format!("{sides}\njoin = {{ on = [\"k\"], kind = \"{kind}\" }}");
        draft.section("streams", &self.name, &join);
        Ok(())
    }

    fn cogroup(&self, draft: &mut Draft) -> Done {
        let sides = self.sides(draft);
        draft.section("streams", &self.name, &format!("{sides}\ncogroup = {{ on = [\"k\"] }}"));
        Ok(())
    }

    fn repartition(&self, draft: &mut Draft) -> Done {
        let partitions = self.node.partitions.ok_or("it lacks partitions")?;
        self.one(draft, "repartition", &format!("{{ partitions = {partitions} }}"))
    }

    /// The keys of an update-state, and what its states begin with.
    fn states(&self, draft: &mut Draft) -> Result<String, String> {
        let (_, function) = function(&self.node.op, self.node.function.as_deref())?;
        let mut keys = format!("by = [\"k\"], function = \"conformance.{function}\"");
        if let Some(timeout) = self.node.timeout_ms {
            keys += &format!(", timeout = \"{timeout}ms\"");
        }
        if !self.node.initial.is_empty() {
            let table = format!("{}--initial", self.name);
            let rows = self.node.initial.iter();
            let rows = rows.map(|(key, state)| format!("{{\"k\":{key},\"state\":{state}}}\n")).collect();
            draft.section("tables", &table, &format!("path = \"{table}.json\""));
            draft.files.push((format!("{table}.json"), rows));
            keys += &format!(", initial = \"{table}\"");
        }
        Ok(keys)
    }

    /// Spark's updateStateByKey: every key in every batch.
    fn update_all(&self, draft: &mut Draft) -> Done {
        let keys = self.states(draft)?;
        self.one(draft, "update-state", &format!("{{ {keys}, every-key = true }}"))
    }

    /// Spark's mapWithState: the keys that have rows; what the function gives stands there without the key, and all states
    /// stand in a stream of their own.
    fn update_touched(&self, draft: &mut Draft) -> Done {
        let keys = self.states(draft)?;
        let [keyed, snapshot] = ["keyed", "snapshot"].map(|name| format!("{}--{name}", self.name));
        draft.stream(&keyed, &self.from[0], "update-state", &format!("{{ {keys} }}"));
        draft.sql(&self.name, &format!("SELECT value FROM \"{keyed}\""));
        draft.stream(&snapshot, &keyed, "snapshot", "true");
        draft.sql(&format!("{}--states", self.name), &format!("SELECT k, state AS v FROM \"{snapshot}\""));
        Ok(())
    }
}

//! The cases of `tests/vectors/vectors.json`. A key that is not known here is an error, so that none goes unnoticed; one
//! that is ignored says nothing of what Millstream has to do, and why.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::types::Type;
use crate::support::root;

/// Streams that are fed, what is made of them, and what has to come out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) operation: String,
    pub(super) batch_ms: u64,
    pub(super) streams: Vec<Input>,
    pub(super) nodes: Vec<Node>,
    /// The stream or node that is looked at.
    pub(super) observe: String,
    pub(super) out_type: Type,
    pub(super) run_batches: usize,
    /// One list for each output, and the batch that each belongs to.
    pub(super) expected: Option<Vec<Vec<Value>>>,
    #[serde(default)]
    pub(super) expected_at_batch: Vec<usize>,
    pub(super) expected_flattened: Option<Vec<Value>>,
    pub(super) expected_snapshots: Option<Vec<Vec<Value>>>,
    pub(super) expect_partitions: Option<i64>,
    pub(super) ordered: bool,
    /// Whether the lists of a group keep the order in which their values came.
    #[serde(default)]
    pub(super) values_ordered: bool,
    pub(super) error: Option<Failure>,
    pub(super) foreach: Option<Foreach>,
    pub(super) property: Option<Property>,
    pub(super) restart_after_batch: Option<usize>,
    #[serde(default)]
    pub(super) slice_queries: Vec<Slice>,
    pub(super) record_length: Option<usize>,
    /// What is pushed to a queue at a time, and whether a batch takes one table of it.
    #[serde(default)]
    pub(super) queue_pushes: Vec<Vec<Vec<Value>>>,
    #[serde(default)]
    pub(super) one_at_a_time: bool,
    /// How long Spark is asked to keep batches for slices.
    pub(super) remember_ms: Option<u64>,
    /// Which outputs Spark's test looks at: `expected_at_batch`, `expected_flattened` and `property` say it as well.
    #[serde(rename = "collect")]
    _collect: IgnoredAny,
    /// The same as `ordered`.
    #[serde(rename = "compare")]
    _compare: IgnoredAny,
    /// Where the case stands in Spark's suites.
    #[serde(rename = "source")]
    _source: IgnoredAny,
    /// Where else it stands.
    #[serde(default, rename = "also_in")]
    _also_in: IgnoredAny,
    /// What the case is, for a reader.
    #[serde(rename = "words")]
    _words: IgnoredAny,
    /// What a reader should know beside that.
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
}

/// A stream that is fed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Type,
    #[serde(rename = "kind")]
    pub(super) by: Feed,
    /// `null` is a batch for which Spark's stream gives no table at all.
    pub(super) batches: Vec<Option<Vec<Value>>>,
    /// In how many partitions Spark's test cuts them: what comes of them does not depend on it.
    #[serde(default, rename = "partitions")]
    _partitions: IgnoredAny,
}

/// How a stream is fed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Feed {
    /// A table for each batch.
    Test,
    /// The same, taken from a queue.
    Queue,
    /// Lines over a connection.
    Socket,
    /// A file for each batch.
    Files,
}

/// A stream made of others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) op: String,
    pub(super) from: Vec<String>,
    #[serde(rename = "fn")]
    pub(super) function: Option<String>,
    pub(super) inv_fn: Option<String>,
    pub(super) filter_fn: Option<String>,
    pub(super) create: Option<String>,
    pub(super) merge_value: Option<String>,
    pub(super) merge_combiners: Option<String>,
    /// In batches.
    pub(super) window: Option<f64>,
    /// In batches.
    pub(super) slide: Option<f64>,
    pub(super) partitions: Option<usize>,
    pub(super) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(super) initial: Vec<(Value, Value)>,
    /// How often Spark writes the stream to its checkpoint, in batches.
    pub(super) checkpoint_batches: Option<usize>,
    /// Whether Spark keeps the partitioner of the states for the streams that are made of them.
    pub(super) remember_partitioner: Option<bool>,
    /// Which of Spark's calls of one meaning is made: the function is named beside it.
    #[serde(default, rename = "form")]
    _form: IgnoredAny,
    /// What the function does, for a reader.
    #[serde(default, rename = "words")]
    _words: IgnoredAny,
}

/// The run fails; before the first batch if `at_batch` is 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub(super) at_batch: usize,
    /// The class of Spark's exception, of which Millstream has none.
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The reason, for a reader.
    #[serde(rename = "why")]
    _why: IgnoredAny,
    /// Spark's wording.
    #[serde(default, rename = "message_contains")]
    _message_contains: IgnoredAny,
}

/// What an output sees in all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Foreach {
    pub(super) calls: i64,
    pub(super) elements: i64,
}

/// What holds of all batches together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Property {
    pub(super) all_outputs_sorted: Vec<Value>,
    pub(super) some_snapshot_equals: Vec<Value>,
    pub(super) last_snapshot: Vec<Value>,
}

/// The elements of the batches between two times.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slice {
    pub(super) from_ms: usize,
    pub(super) to_ms: usize,
    pub(super) expected: Option<Vec<Value>>,
}

impl Case {
    /// Whether a batch of a stream has no table.
    pub(super) fn lacks_a_table(&self) -> bool {
        self.streams.iter().flat_map(|input| &input.batches).any(Option::is_none)
    }

    /// The keys of the case for which Millstream has no setting.
    pub(super) fn without_counterpart(&self) -> Vec<&'static str> {
        let of_nodes = |has: fn(&Node) -> bool| self.nodes.iter().any(has);
        let keys = [
            ("queue_pushes", !self.queue_pushes.is_empty()),
            ("one_at_a_time", self.one_at_a_time),
            ("remember_ms", self.remember_ms.is_some()),
            ("checkpoint_batches", of_nodes(|node| node.checkpoint_batches.is_some())),
            ("remember_partitioner", of_nodes(|node| node.remember_partitioner.is_some())),
        ];
        keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
    }

    /// Whether the case speaks of sockets, of files, or of what comes before the first batch.
    pub(super) fn needs_a_process(&self) -> bool {
        let outside = self.streams.iter().any(|input| matches!(input.by, Feed::Socket | Feed::Files));
        outside || self.operation == "slice" || self.error.as_ref().is_some_and(|error| error.at_batch == 0)
    }
}

/// All cases, in the order of the file.
pub(super) fn cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }
    let path = root().join("tests/vectors/vectors.json");
    let vectors: Vectors = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    vectors.cases
}

/// The case with that id.
pub(super) fn case(id: &str) -> Case {
    cases().into_iter().find(|case| case.id == id).unwrap_or_else(|| panic!("there is no case `{id}`"))
}

//! What a stream does with the rows that it takes.

use std::time::Duration;

use super::{Located, Place};
use crate::FunctionKind;

/// A stream's one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// `map`, `flat-map`, `filter`, `transform`.
    Call(CallSpec),
    /// `sql`
    Sql(Located<String>),
    /// All rows of several streams: `from` alone, with more than one name.
    Union,
    /// `aggregate`
    Aggregate(AggregateSpec),
    /// `join`
    Join(JoinSpec),
    /// `cogroup`, by these columns.
    Cogroup(Vec<Located<String>>),
    /// `reduce`
    Reduce(ReduceSpec),
    /// `window` on its own.
    Window(WindowSpec),
    /// `update-state`
    UpdateState(UpdateSpec),
    /// `snapshot`: all states of the stream that it takes.
    Snapshot,
    /// `late`: the rows that came too late for the windows of the stream that it takes.
    Late,
    /// `repartition`
    Repartition(RepartitionSpec),
}

impl Operation {
    /// Whether it calls a function of a plugin.
    pub fn calls(&self) -> bool {
        matches!(self, Self::Call(_) | Self::Reduce(_) | Self::UpdateState(_))
    }
}

/// A call of a plugin's function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSpec {
    /// The kind that the file's key names.
    pub kind: FunctionKind,
    /// The plugin's name in the file.
    pub plugin: String,
    /// The function's name in the plugin.
    pub function: String,
    /// Where `plugin.function` stands.
    pub place: Place,
    /// The stream's columns for the function's inputs, in their order; absent: found by name.
    pub columns: Option<Vec<Located<String>>>,
    /// Whether the columns that the function takes stay in the stream beside its output.
    pub keep_columns: bool,
}

/// SQL aggregates by key.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateSpec {
    /// The key's columns; none: the whole batch.
    pub by: Vec<Located<String>>,
    /// Output columns and their SQL expressions, in order.
    pub outputs: Vec<(String, Located<String>)>,
    /// Over which rows; those of the batch at hand, where there is none.
    pub window: Option<WindowSpec>,
}

/// Which rows a window has: those of some batches, or those whose own time falls into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// From its beginning to its end. A multiple of the batch interval, or of the slide where the window is over event time.
    pub length: Duration,
    /// From one window to the next. A multiple of the batch interval, where the window is of batches.
    pub slide: Duration,
    /// The column of the rows' event time; absent: the window is of batches.
    pub on: Option<Located<String>>,
}

/// Two streams side by side, where their keys are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinSpec {
    /// The key's columns, which both streams have.
    pub on: Vec<Located<String>>,
    /// Which rows stay that have no partner.
    pub kind: JoinKind,
}

/// Which rows of a join stay without a partner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    #[default]
    Inner,
    /// Those of the first stream.
    Left,
    /// Those of the second.
    Right,
    /// All.
    Full,
}

/// Rows of a key made one by a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceSpec {
    /// The key's columns; none: the whole batch.
    pub by: Vec<Located<String>>,
    /// The function that makes one row of two.
    pub call: CallSpec,
    /// Over which rows; those of the batch at hand, where there is none.
    pub window: Option<WindowSpec>,
    /// The function that takes out what leaves the window.
    pub inverse: Option<CallSpec>,
    /// An SQL condition; keys for which it is not true are dropped.
    pub keep: Option<Located<String>>,
}

/// A state for each key, kept by a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateSpec {
    /// The key's columns.
    pub by: Vec<Located<String>>,
    /// The function.
    pub call: CallSpec,
    /// A key without rows for longer than this loses its state.
    pub timeout: Option<Duration>,
    /// The table of the states to begin with.
    pub initial: Option<Located<String>>,
    /// Whether every key is visited in every batch.
    pub every_key: bool,
}

/// Rows spread over partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct RepartitionSpec {
    /// The key's columns; none: one row after the other.
    pub by: Vec<Located<String>>,
    /// How many partitions.
    pub partitions: u32,
}

use std::collections::BTreeMap;
use std::fmt;

use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use thiserror::Error;

use crate::pipeline::{Grant, GrantKind};
use crate::{BatchTime, Schema};

mod keyed;
mod migration;
mod outside;

pub use keyed::{Fate, Folded, Groups, Inverse, Reduce, Update, UpdateState, Updated};
pub use migration::{Migrated, Migration, MigrationDescription};
pub use outside::{Delivery, Receiver, Receiving, Sink, SinkPart};

/// What a function does with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// One row in, one row out.
    Map,
    /// One row in, any number out.
    FlatMap,
    /// One row in, kept or not.
    Filter,
    /// A whole partition in, a table out.
    Transform,
    /// Rows of a key combined into one.
    Reduce,
    /// What a reduce took in, taken out again.
    Inverse,
    /// New rows and states of keys in, new states and rows out.
    UpdateState,
    /// Brings rows in.
    Receiver,
    /// Takes rows out.
    Sink,
}

impl FunctionKind {
    /// The name that pipeline files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::FlatMap => "flat-map",
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Reduce => "reduce",
            Self::Inverse => "inverse",
            Self::UpdateState => "update-state",
            Self::Receiver => "receiver",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for FunctionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin says of one of its functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionDescription {
    /// In kebab-case, unique in the plugin.
    pub name: String,
    /// What it does with rows.
    pub kind: FunctionKind,
    /// The columns it reads.
    pub input: Schema,
    /// The columns it answers with.
    pub output: Schema,
    /// The columns of a key that an update-state wants to see; empty where it does not care.
    pub keys: Schema,
    /// The fields of a key's state.
    pub state: Schema,
    /// The version of the state's meaning, from 1; 0 where there is no state.
    pub state_version: u32,
    /// The other versions whose states it takes over, each once; none but for an update-state.
    pub migrations: Vec<MigrationDescription>,
    /// One line for people.
    pub documentation: String,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginDescription {
    /// The name its author gave it.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// One line for people.
    pub documentation: String,
    /// In the order in which calls number them.
    pub functions: Vec<FunctionDescription>,
    /// What it cannot do without.
    pub needs: Vec<Need>,
}

/// Something that a plugin cannot do without, and that only a grant gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What has to be granted.
    pub grant: GrantKind,
    /// A variable's name; otherwise for people, such as "the service that knows exchange rates".
    pub what: String,
}

impl Need {
    /// Whether a grant gives this. Only of a variable is it known which.
    pub fn is_met(&self, grant: &Grant) -> bool {
        match self.grant {
            GrantKind::Environment => grant.environment.contains(&self.what),
            GrantKind::Read => !grant.read.is_empty() || !grant.write.is_empty(),
            kind => !grant.values(kind).is_empty(),
        }
    }
}

/// Where a call's rows stand in the stream.
#[derive(Clone, Copy, Debug)]
pub struct CallContext {
    /// The batch.
    pub batch_time: BatchTime,
    /// The partition of the batch, from 0.
    pub partition: u32,
    /// Calls of the function in this partition and batch before this one.
    pub chunk: u32,
}

/// What a function answers to a chunk of rows.
#[derive(Clone, Debug)]
pub enum Answer {
    /// map and transform: the output columns.
    Rows(RecordBatch),
    /// flat-map: the output columns and where each row came from.
    Expansion(Expansion),
    /// filter: a bit for each input row, set where the row stays.
    Selection(BooleanBuffer),
}

/// The most rows of a call, but of one that has to see all rows of a partition or group. Bounds what crosses the boundary
/// to a guest at once.
pub const CALL_ROWS_MAX: usize = 65_536;

/// The most accumulators of a pipeline, and so of a batch. A call's are bounded by whoever makes it.
pub const ACCUMULATORS_MAX: usize = 10_000;

/// Sums by accumulator, whose name is `plugin.name`.
pub type Accumulated = BTreeMap<String, i64>;

/// A call that succeeded: its answer, and what it counts for. A call that failed has neither.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What the function made of the rows.
    pub answer: Answer,
    /// What the call added to accumulators.
    pub added: Accumulated,
}

impl From<Answer> for Answered {
    /// A call that added nothing.
    fn from(answer: Answer) -> Self {
        Self { answer, added: Accumulated::new() }
    }
}

/// What a flat-map answers.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The output columns.
    pub rows: RecordBatch,
    /// The input row of each output row; never falls, always below the number of input rows.
    pub origins: Vec<u32>,
}

/// A transformation of rows: a plugin's, or the host's own in tests and benches.
///
/// Implementations keep the promises of [`Answer`]: whatever an untrusted guest returned has been checked
/// before it is one.
#[async_trait]
pub trait Function: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Calls it on `rows`, whose columns are the fields of the described input, in their Arrow types.
    async fn call(&self, context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError>;
}

/// Why a call failed, by what the caller can do about it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FunctionError {
    /// The function refused the rows, or answered with what its description rules out. The same call fails again.
    #[error("{function}: {reason}")]
    Rejected {
        /// `plugin.function`.
        function: String,
        /// What was wrong.
        reason: String,
    },
    /// The instance trapped, ran out of time or broke a limit, and was discarded. A fresh one may succeed.
    #[error("{function}: {reason}")]
    Broken {
        /// `plugin.function`.
        function: String,
        /// What happened.
        reason: String,
    },
    /// Something outside failed. The same call may succeed later.
    #[error("{function}: {reason}")]
    Unavailable {
        /// `plugin.function`.
        function: String,
        /// What it needs.
        reason: String,
    },
}

//! Functions of rows that belong together: reduces, their inverses, and updates of states.
//!
//! All are called on many groups or keys at once, so that the way to a plugin costs a call for a chunk and not one for a key.

use std::fmt;

use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::{Accumulated, CallContext, FunctionDescription, FunctionError};

/// Which rows belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// For each row its group, below `count`. Each group has a row at least; its rows are in order, with others between.
    pub of: Vec<u32>,
    /// How many groups there are.
    pub count: u32,
}

/// What a reduce or an inverse made of its rows.
#[derive(Clone, Debug)]
pub struct Folded {
    /// A row for each group, or for each total.
    pub rows: RecordBatch,
    /// What the call added to accumulators.
    pub added: Accumulated,
}

/// Combines rows two by two, in order, into one for each group; associative. It answers with the columns that it reads.
#[async_trait]
pub trait Reduce: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Folds each group of `rows`, whose columns are the fields of the described input, into one row of the same columns.
    async fn fold(
        &self,
        context: CallContext,
        rows: RecordBatch,
        groups: Groups,
    ) -> Result<Folded, FunctionError>;
}

/// Takes out again what a reduce took in: `take_out(reduce(a, b), a)` is `b`.
#[async_trait]
pub trait Inverse: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Takes each row of `taken` out of the row of `totals` that stands beside it. Both have as many rows, in the columns
    /// of the described input, and so has the answer.
    async fn take_out(
        &self,
        context: CallContext,
        totals: RecordBatch,
        taken: RecordBatch,
    ) -> Result<Folded, FunctionError>;
}

/// Keys whose states are to be updated, each once, and what there is to update them by.
#[derive(Clone, Debug)]
pub struct Update {
    /// The columns of the described keys, a row a key; none where the function does not care.
    pub keys: RecordBatch,
    /// The fields of the described state, a row a key. Where the key has no state the row may hold anything, nulls too.
    pub states: RecordBatch,
    /// Whether each key has a state.
    pub present: BooleanBuffer,
    /// Whether each key's state is about to be removed, for the key had no rows for too long.
    pub timed_out: BooleanBuffer,
    /// Where each key's new rows begin in `rows`, and where the last one's end. Begins with 0 and never falls; a key may
    /// have no rows.
    pub starts: Vec<u32>,
    /// The new rows, in the columns of the described input.
    pub rows: RecordBatch,
}

/// What becomes of a key's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fate {
    /// It stays as it was, be it there or not.
    Keep = 0,
    /// It becomes the one that the function answered with.
    Put = 1,
    /// It is removed.
    Remove = 2,
}

/// What an update made of its keys.
#[derive(Clone, Debug)]
pub struct Updated {
    /// What becomes of each key's state; never [`Fate::Put`] for a key that timed out, which is removed in any case.
    pub fates: Vec<Fate>,
    /// The fields of the described state, a row a key. Only the rows of keys with [`Fate::Put`] are to be read, and hold
    /// no null that the description rules out. The fields of this batch are all nullable, for the sake of the others.
    pub states: RecordBatch,
    /// Rows for the stream, in the columns of the described output.
    pub output: RecordBatch,
    /// The key of each output row; never falls, always below the number of keys.
    pub origins: Vec<u32>,
    /// What the call added to accumulators.
    pub added: Accumulated,
}

/// Makes new states, and rows for the stream, of keys' states and their new rows.
#[async_trait]
pub trait UpdateState: Send + Sync + fmt::Debug {
    /// Name, kind and schemas.
    fn description(&self) -> &FunctionDescription;

    /// Updates the states of some keys.
    async fn update(&self, context: CallContext, update: Update) -> Result<Updated, FunctionError>;
}

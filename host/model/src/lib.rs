//! The values every layer speaks: types and schemas, blocks and batches, functions and their descriptions,
//! and the pipeline as data.
//!
//! Nothing here touches the world: no clock, no disk, no network, no engine. Every other crate may depend on
//! this one, and this one depends on none of them.

mod block;
pub mod columns;
mod dead_letter;
mod function;
mod manifest;
pub mod pipeline;
mod poison;
mod quantity;
mod schema;
mod time;
mod usage;

pub use block::{Block, Payload, Position, Rejected};
pub use dead_letter::DeadLetter;
pub use function::{
    ACCUMULATORS_MAX, Accumulated, Answer, Answered, CALL_ROWS_MAX, CallContext, Delivery, Expansion, Fate,
    Folded, Function, FunctionDescription, FunctionError, FunctionKind, Groups, Inverse, Migrated, Migration,
    MigrationDescription, Need, PluginDescription, Receiver, Receiving, Reduce, Sink, SinkPart, Update,
    UpdateState, Updated,
};
pub use manifest::{
    Commit, FileEnd, Granted, Lane, LaneInput, LoggedRange, Manifest, OriginRange, Records, RowsDigest,
    StateEnd, Version,
};
pub use poison::PoisonRow;
pub use quantity::{ParseQuantityError, format_size, parse_duration, parse_size};
pub use schema::{DataType, Field, Schema, SchemaError};
pub use time::BatchTime;
pub use usage::{Metered, Usage, Usages, add_usages};

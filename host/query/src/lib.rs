//! Plans over streams: DataFusion behind a plain interface.
//!
//! A pipeline's streams are [`Relations`]: named, each defined by SQL or by a call of a plugin's function over others.
//! What the sinks want of them is compiled once to a [`Program`], which runs on every batch with its inputs swapped.
//! No other crate knows DataFusion.
//!
//! Reading order: `relations` defines and checks, `program` compiles and runs; under them `input` feeds a batch's
//! rows into a plan, `call` puts a function into one, and `session` says how DataFusion is set up.

mod aggregation;
mod batch;
mod call;
mod call_exec;
mod caller;
mod compile;
mod condition;
mod error;
mod in_order;
mod in_parallel;
mod input;
mod isolation;
mod operator;
mod origin;
mod program;
mod relations;
mod session;
mod stage;
#[cfg(test)]
mod tests;

pub use aggregation::Aggregation;
pub use batch::{Broken, Stopwatch};
pub use caller::Caller;
pub use condition::Condition;
pub use error::QueryError;
pub use in_parallel::in_parallel;
pub use input::{Chunks, Rows};
pub use isolation::{Isolation, Poison};
pub use operator::{Operator, OperatorContext, OperatorInput, Partitions, Warming};
pub use origin::Origin;
pub use program::{Computed, Output, Poisoned, Program};
pub use relations::{Call, Relations, sql_relations};

//! Receivers and sinks of plugins: what makes a source of the one and a sink of the other.
//!
//! What is theirs to do is little: to bring rows and say where to go on, to write rows and tell a repeat. What makes each
//! row count once is here: rows are gathered into blocks that are safe with their positions, positions are acknowledged
//! when they are; a batch is staged, and written when it has happened, again and again until it is taken.

mod blocks;
mod compact;
mod outbox;
mod parts;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use millstream_model::FunctionError;

pub(crate) use outbox::Outbox;
pub(crate) use sink::PluginSink;
pub(crate) use source::PluginSource;

/// Whether another attempt is of no use.
fn is_rejected(error: &FunctionError) -> bool {
    matches!(error, FunctionError::Rejected { .. })
}

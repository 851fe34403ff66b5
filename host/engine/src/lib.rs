//! Receive, cut, run, commit: the life of a batch.
//!
//! A [`Source`] sends blocks of records through its [`Inlet`], which makes it wait while the batches are behind.
//! At every tick the engine cuts a batch out of what the inlets hold, runs the pipeline's program over it, and commits
//! what the sinks staged. [`Engine::run`] is that story; it ends when it is told to stop or when the sources end.
//!
//! Two runtimes: sources, ticks and stops run where the engine is called, batches on a runtime of their own,
//! so that a busy batch never delays a receiver.

mod batch;
mod chunks;
mod dead_letters;
mod engine;
mod error;
mod inlet;
mod output;
mod receivers;
mod sink;
mod source;
mod stop;
#[cfg(test)]
mod tests;

pub use dead_letters::DeadLetters;
pub use engine::{Application, Engine, Mode, SinkBinding, SourceBinding, Summary};
pub use error::EngineError;
pub use inlet::{Closed, Inlet, InletLimits, Outlet};
pub use sink::{Sink, SinkBatch, SinkError};
pub use source::{Decoder, Source, SourceError};
pub use stop::{Stop, StopHandle};

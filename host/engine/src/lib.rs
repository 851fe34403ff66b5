//! Receive, cut, run, commit: the life of a batch.
//!
//! A [`Source`] sends blocks of records through its [`Inlet`], which makes it wait while the batches are behind; the
//! write-ahead log has them before anybody is told that they are safe. At every tick the engine cuts a batch out of
//! what the inlets hold and writes down what it is, runs the pipeline's program over it, and commits: the commit record
//! first, then what the sinks prepared is made visible. [`Engine::run`] is that story; it begins with what an
//! earlier process left, and ends when it is told to stop or when the sources end.
//!
//! What a pipeline does can be looked at on its [`Board`], and heard by a [`Listener`] while it happens.
//!
//! Two runtimes: sources, ticks, commits and stops run where the engine is called, batches on a runtime of their own,
//! so that a busy batch never delays a receiver.

mod application;
mod batch;
mod chunks;
mod commit;
mod cpu;
mod dead_letters;
mod digest;
mod engine;
mod error;
mod events;
mod letter;
mod losses;
mod migrate;
mod output;
mod pause;
mod probation;
mod process;
mod publish;
mod quarantine;
mod receive;
mod recover;
mod rehearse;
mod replay;
mod run;
mod shadow;
mod sink;
mod source;
mod standby;
mod status;
mod stop;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod ticks;
mod understudy;
mod upgrade;
mod waiting;
mod warming;

pub use application::{
    Application, Backpressure, CatchUp, Checkpoint, Code, OnFailure, Policy, Programs, SinkBinding,
    SourceBinding, Versions,
};
pub use cpu::Cpu;
pub use dead_letters::DeadLetters;
pub use digest::digest;
pub use engine::{Engine, Mode, Summary};
pub use error::EngineError;
pub use events::{Event, Listener};
pub use migrate::{MigrateError, MigratedTable};
pub use probation::Probation;
pub use receive::{
    CLOSE_TIME_MAX, Closed, Cut, Inlet, InletSettings, LaneStart, Outlet, PidError, PidSettings, Receipt,
    Storage, Taken,
};
pub use replay::{Replayed, replay};
pub use shadow::{Captured, DifferingRow, ShadowReport, Side, SinkDifferences, compare};
pub use sink::{Recovery, Sink, SinkBatch, SinkError};
pub use source::{Decoder, Direct, Source, SourceError};
pub use status::{
    BatchStatus, Board, Phase, ProbationStatus, QuarantineStatus, ReceiverState, ReceiverStatus, Status,
    TakenBack, UpgradeStage,
};
pub use stop::{Pause, Stop, StopHandle};
pub use table::{Table, TableBinding, TableError, TableRows, Tables};
pub use upgrade::{Shadow, Swapped, Upgrade, UpgradeError, Upgraded, Upgrader, Upgrades};

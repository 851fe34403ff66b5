//! Sandboxed components: load, describe, limit, call.
//!
//! The host believes nothing that a guest returns. `lift` turns what crossed the boundary into Arrow columns only
//! after checking every offset, length, character boundary and bitmap; an `Instance` that trapped, ran out
//! of time or broke a limit is dropped with its store and never called again. No other crate knows wasmtime or WIT.
//!
//! Reading order: `sandbox` is the engine that all plugins share, `compile` makes code of components for it; `plugin` is a
//! loaded component, `description` what it says of itself; `callee` is the way of every call, and `function`, `reduce` and
//! `update_state` are what crosses for each kind and what has to be true of its answer, and `migration` what crosses to take
//! over states; `receiver` and `sink` keep their instances, and run them `outside`. `guest` is what the host holds for a guest,
//! `http` what may leave over HTTP, `output` what may enter the host's log. `carried` is the pipeline that a component may
//! bring along. Under them `lower` and `lift` carry tables over the boundary, whose types are in `contract`, `additions` holds
//! what a call counts, and `meter` what it takes.

mod additions;
mod callee;
mod carried;
mod compile;
mod contract;
mod description;
mod error;
mod exports;
mod function;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guest;
mod hex;
mod http;
mod instance;
mod late;
mod lift;
mod lower;
mod meter;
mod migration;
mod output;
mod outside;
mod plugin;
mod receiver;
mod reduce;
mod sandbox;
mod sink;
#[cfg(test)]
mod tests;
mod update_state;
mod volume;

pub use carried::Carried;
pub use compile::{Cache, Child, Compiler, compile_for_parent};
pub use error::PluginError;
pub use hex::sha256;
pub use plugin::{Import, Plugin};
pub use sandbox::Sandbox;

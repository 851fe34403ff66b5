//! Sandboxed components: load, describe, limit, call.
//!
//! The host believes nothing that a guest returns. `lift` turns what crossed the boundary into Arrow columns only
//! after checking every offset, length, character boundary and bitmap; an `Instance` that trapped, ran out
//! of time or broke a limit is dropped with its store and never called again. No other crate knows wasmtime or WIT.
//!
//! Reading order: `sandbox` is the engine that all plugins share, `plugin` a loaded component, `function` the central
//! path of a call; under it `lower` and `lift` carry tables over the boundary, whose types are in `contract`, and `additions`
//! holds what a call counts.

mod additions;
mod contract;
mod error;
mod function;
mod guest;
mod instance;
mod lift;
mod lower;
mod output;
mod plugin;
mod sandbox;
#[cfg(test)]
mod tests;

pub use error::PluginError;
pub use plugin::{Import, Plugin};
pub use sandbox::Sandbox;

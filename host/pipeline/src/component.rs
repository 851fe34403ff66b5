use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::pipeline::{PluginSpec, TableSpec};
use millstream_model::{
    Function, Inverse, Metered, Migration, PluginDescription, Receiver, Reduce, Schema, Sink, UpdateState,
};

/// Why a component or a table cannot be loaded: told to the author as it is, at the plugin's `component` or the table's
/// `path`.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// What a table holds now.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    /// Its columns: those that the pipeline file names, or else those that were found.
    pub schema: Schema,
    /// Its rows, in these columns.
    pub rows: Vec<RecordBatch>,
    /// What the rows take in memory.
    pub bytes: u64,
}

/// Where checking finds components, and the tables that go with them.
#[async_trait]
pub trait Components: Send + Sync {
    /// Loads the component of a plugin, with its grants, limits and configuration.
    async fn load(&self, plugin: &PluginSpec) -> Result<Arc<dyn Component>, LoadError>;

    /// Reads a table whole, whose rows may take `bytes_max` of memory. Where there are components alone, it is refused.
    async fn table(&self, _table: &TableSpec, _bytes_max: u64) -> Result<LoadedTable, LoadError> {
        Err("there are no tables here; use a source instead".into())
    }
}

/// A loaded component.
#[async_trait]
pub trait Component: Send + Sync {
    /// What it says of itself.
    fn description(&self) -> &PluginDescription;

    /// What tells it from others: the SHA-256 of its bytes in hexadecimal; empty for what is compiled into the host.
    fn digest(&self) -> &str {
        ""
    }

    /// How long a call of one of its functions may take; nothing for what is compiled into the host.
    fn call_time_max(&self) -> Duration {
        Duration::ZERO
    }

    /// The function that stands at `index` in the description; it must be of a transforming kind.
    fn function(&self, index: usize) -> Arc<dyn Function>;

    /// The function at `index`, if it is a reduce.
    fn reduce(&self, _index: usize) -> Option<Arc<dyn Reduce>> {
        None
    }

    /// The function at `index`, if it is an inverse.
    fn inverse(&self, _index: usize) -> Option<Arc<dyn Inverse>> {
        None
    }

    /// The function at `index`, if it is an update-state.
    fn update_state(&self, _index: usize) -> Option<Arc<dyn UpdateState>> {
        None
    }

    /// How the function at `index` takes over the states that a version of it left, if it does; the description lists the
    /// versions.
    fn migration(&self, _index: usize, _version: u32) -> Option<Arc<dyn Migration>> {
        None
    }

    /// The function at `index`, if it is a receiver.
    fn receiver(&self, _index: usize) -> Option<Arc<dyn Receiver>> {
        None
    }

    /// The function at `index`, if it is a sink.
    fn sink(&self, _index: usize) -> Option<Arc<dyn Sink>> {
        None
    }

    /// Asks it whether the function at `index` can work with the configuration; the error says why not, in its words.
    async fn check(&self, _index: usize) -> Result<(), String> {
        Ok(())
    }

    /// The names of the interfaces that it imports; nothing, for what is compiled into the host.
    fn imports(&self) -> Vec<String> {
        Vec::new()
    }

    /// Who accounts for the calls of its functions; nobody for what is compiled into the host.
    fn metered(&self) -> Option<Arc<dyn Metered>> {
        None
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use millstream_model::pipeline::PluginSpec;
use millstream_model::{Function, Inverse, PluginDescription, Reduce, UpdateState};

/// Why a component cannot be loaded: told to the author as it is, at the plugin's `component`.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// Where checking finds components.
#[async_trait]
pub trait Components: Send + Sync {
    /// Loads the component of a plugin, with its grants, limits and configuration.
    async fn load(&self, plugin: &PluginSpec) -> Result<Arc<dyn Component>, LoadError>;
}

/// A loaded component.
pub trait Component: Send + Sync {
    /// What it says of itself.
    fn description(&self) -> &PluginDescription;

    /// What tells it from others: the SHA-256 of its bytes in hexadecimal; empty for what is compiled into the host.
    fn digest(&self) -> &str {
        ""
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
}

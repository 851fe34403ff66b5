//! The pipeline file: its form, and its meaning where no component can be loaded.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use millstream_fuzz::block_on;
use millstream_model::pipeline::PluginSpec;
use millstream_pipeline::{Component, Components, LoadError, check, parse};

/// Where there are no components.
struct None;

#[async_trait]
impl Components for None {
    async fn load(&self, _: &PluginSpec) -> Result<Arc<dyn Component>, LoadError> {
        Err("there are no components here".into())
    }
}

fuzz_target!(|text: &str| {
    let file = Path::new("pipeline.toml");
    drop(parse(file, text));
    if let Err(diagnostics) = block_on(check(file, text, &None)) {
        assert!(!diagnostics.to_string().is_empty(), "a refusal says why");
    }
});

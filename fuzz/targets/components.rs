//! Components around core modules that wasm-smith makes: valid, and of every feature that the host takes.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use millstream_fuzz::block_on;
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_plugins::{Plugin, Sandbox};
use wasm_smith::{Config, Module};

#[path = "../../tests/suite/handmade/component.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod component;
#[path = "../../tests/suite/handmade/contract.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod contract;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new().expect("this machine runs components"));

/// The imports and exports that the component is made around.
fn shape() -> Vec<u8> {
    component::Guest::new((Vec::new(), 0)).module().finish()
}

/// A shape that the component is made around, with code of the fuzzer's choice.
fn config(input: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    Ok(Config {
        module_shape: Some(shape()),
        allow_invalid_funcs: false,
        max_memory32_bytes: 1 << 24,
        memory64_enabled: false,
        threads_enabled: false,
        gc_enabled: false,
        exceptions_enabled: input.arbitrary()?,
        ..Config::default()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    let Ok(config) = config(&mut input) else { return };
    let Ok(module) = Module::new(config, &mut input) else { return };
    let file = component::component(&module.to_bytes(), &component::Guest::new((Vec::new(), 0)));
    let folder = tempfile::tempdir().expect("there is room for a file");
    let path = folder.path().join("random.wasm");
    std::fs::write(&path, file).expect("there is room for a file");
    let spec = PluginSpec {
        name: Located { value: "random".into(), place: Place::default() },
        component: Located { value: path, place: Place::default() },
        grant: Grant::default(),
        limit: Limit { time: Duration::from_millis(20), memory_bytes: 32 << 20, ..Limit::default() },
        config: BTreeMap::new(),
    };
    // Loading starts it and asks what it is.
    drop(block_on(Plugin::load(&SANDBOX, &spec)));
});

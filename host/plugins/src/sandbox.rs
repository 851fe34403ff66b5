//! The engine that all plugins share: how code is compiled, what is linked, and the tick that interrupts guests.

use std::thread;
use std::time::Duration;

use millstream_model::pipeline::Limit;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, OptLevel};

use crate::compile::Sum;
use crate::guest::{Guest, add_to_linker};
use crate::outside::start_thread;
use crate::{Compiler, PluginError};

/// From one tick to the next. At each, running guests yield, so that a deadline can fall and others can run.
const TICK: Duration = Duration::from_millis(5);
/// Stack of a guest; deeper recursion traps.
const STACK_BYTES_MAX: usize = 1 << 20;

/// Where components are compiled and run.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) compiler: Compiler,
    /// Whether plugins are loaded whose grants cannot be given now.
    pub(crate) grants_late: bool,
}

impl Sandbox {
    /// Sets the engine up; components are compiled in this process. Fails where this machine cannot run it.
    pub fn new() -> Result<Self, PluginError> {
        Self::with(Compiler::here())
    }

    /// Sets the engine up; components are compiled by `compiler`.
    pub fn with(compiler: Compiler) -> Result<Self, PluginError> {
        Self::try_new(compiler).map_err(|error| PluginError::Sandbox(format!("{error:#}")))
    }

    fn try_new(compiler: Compiler) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config())?;
        tick(&engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_to_linker(&mut linker)?;
        Ok(Self { engine, linker, compiler, grants_late: false })
    }

    /// The same, for code of an earlier time: a plugin whose grants cannot be given now is loaded all the same, and is not
    /// available to whoever calls it until they can be.
    pub fn granting_late(self) -> Self {
        Self { grants_late: true, ..self }
    }

    /// The SHA-256 of the component `bytes`, and its code: compiled, or from the cache. The first part of [`crate::Plugin::load`].
    ///
    /// # Errors
    /// Why the component is refused.
    pub async fn compile(&self, bytes: &[u8], limit: &Limit) -> Result<(Sum, Component), String> {
        let digest = Sha256::digest(bytes).into();
        let component = self.compiler.compile(&self.engine, bytes, &digest, limit).await?;
        Ok((digest, component))
    }
}

/// How code is made and run. Engines of the same configuration run each other's code.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(2 * STACK_BYTES_MAX)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .concurrency_support(false)
        // Where in the code a guest stopped is told to nobody, and the tables for it are a seventh of what is loaded.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

/// Ticks for as long as the engine is in use.
fn tick(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    let ticker = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::park_timeout(TICK);
        }
    };
    start_thread("plugin-tick", ticker).map_err(wasmtime::Error::msg)
}

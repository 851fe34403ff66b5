//! From a component's bytes to code that runs.
//!
//! Compiling is the one thing that the host does with a component before any of the sandbox's limits is there: time and memory
//! go with what the component is, and one function can be made to take as much of both as its author likes. So a host
//! compiles in a process of its own, whose limits are the system's (`child`), and what that came to is kept by the
//! component's digest (`cache`), so that the next start has it in about a millisecond.
//!
//! Loading compiled code is `unsafe`: it is machine code, and is run as it is. It comes from the compiler itself, in this
//! process or in its child, or from the cache, which gives nothing that this host has not written.

mod cache;
mod child;
mod sealed;

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_model::pipeline::{Grant, Limit};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::PluginError;

pub use cache::Cache;
pub use child::{Child, compile_for_parent};
use sealed::Sealed;

/// The SHA-256 of something.
pub(crate) type Sum = [u8; 32];

/// How components are compiled. Clones share what there is.
#[derive(Clone, Default)]
pub struct Compiler {
    /// None: in this process.
    child: Option<Arc<Child>>,
    cache: Option<Cache>,
    /// A key that no grant may reach, beside that of the cache.
    guarded: Option<PathBuf>,
}

impl Compiler {
    /// Compiles in this process, as long and with as much memory as it takes: for components that are trusted that far, and
    /// for tests.
    pub fn here() -> Self {
        Self::default()
    }

    /// Compiles in a process of its own, within the limits of each plugin.
    pub fn in_child(child: Child) -> Self {
        Self { child: Some(Arc::new(child)), ..Self::default() }
    }

    /// Looks into `cache` first, and keeps there what was compiled.
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Refuses grants that reach `key_file`, with which caches of this and other pipelines are authenticated.
    pub fn guarding(self, key_file: PathBuf) -> Self {
        Self { guarded: Some(key_file), ..self }
    }

    /// Refuses a grant by which a guest could read the key, and so write code that the host would run.
    pub(crate) fn check_grant(&self, grant: &Grant) -> Result<(), PluginError> {
        let keys = [self.guarded.as_deref(), self.cache.as_ref().map(Cache::key_file)];
        let reaches = |folder: &&PathBuf| keys.into_iter().flatten().any(|key| is_in(key, folder));
        match grant.read.iter().chain(&grant.write).find(reaches) {
            None => Ok(()),
            Some(folder) => Err(PluginError::Grant {
                what: format!("folder {}", folder.display()),
                reason: "the key of the compiled code is in it; grant the folders in it that are needed"
                    .to_owned(),
            }),
        }
    }

    /// The code of the component `bytes`, whose SHA-256 is `digest`; or why it is refused.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        digest: &Sum,
        limit: &Limit,
    ) -> Result<Component, String> {
        let made_by = fingerprint(engine);
        if let Some(component) = self.cache.as_ref().and_then(|cache| kept(cache, engine, &made_by, digest)) {
            return Ok(component);
        }
        let code = match &self.child {
            Some(child) => child.compile(bytes, limit).await?,
            None => engine.precompile_component(bytes).map_err(|error| refusal(&error))?,
        };
        let component = load(engine, &code).map_err(|error| refusal(&error))?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(&made_by, digest, &code)
        {
            tracing::warn!("keeping compiled code in {}: {error}", cache.folder().display());
        }
        Ok(component)
    }
}

/// Whether a file is in `folder`, or would be.
fn is_in(file: &Path, folder: &Path) -> bool {
    let deepest = file.ancestors().find_map(|path| path.canonicalize().ok());
    deepest.zip(folder.canonicalize().ok()).is_some_and(|(file, folder)| file.starts_with(folder))
}

/// What the cache has of a component, if that can be used.
fn kept(cache: &Cache, engine: &Engine, made_by: &Sum, digest: &Sum) -> Option<Component> {
    let found = match cache.get(made_by, digest) {
        Ok(code) => code?,
        Err(reason) => {
            tracing::warn!("{reason}; compiling anew");
            return None;
        }
    };
    let loaded = load_sealed(engine, &found);
    loaded.inspect_err(|error| tracing::warn!("loading kept code: {error:#}; compiling anew")).ok()
}

fn refusal(error: &wasmtime::Error) -> String {
    format!("does not compile: {}", error.root_cause())
}

#[allow(unsafe_code, reason = "compiled code can be loaded in no other way")]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code is what `Engine::precompile_component` made, as deserializing wants: here, in the child, which is this
    // program with the same configuration. The bytes are this process's own.
    unsafe { Component::deserialize(engine, code) }
}

#[allow(unsafe_code, reason = "compiled code can be loaded in no other way")]
fn load_sealed(engine: &Engine, code: &Sealed) -> wasmtime::Result<Component> {
    // SAFETY: it is what `Engine::precompile_component` made earlier, as the cache's message authentication code shows, and it
    // is sealed: the pages that are mapped now and later are those that were authenticated.
    unsafe { Component::deserialize_file(engine, code.path()) }
}

/// Tells engines apart that do not understand each other's code, and programs of different versions.
fn fingerprint(engine: &Engine) -> Sum {
    let mut hashing = Hashing(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hashing);
    env!("CARGO_PKG_VERSION").hash(&mut hashing);
    hashing.0.finalize().into()
}

/// Hashes to a sum instead of a number.
struct Hashing(Sha256);

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the sum is asked for, and no number")
    }
}

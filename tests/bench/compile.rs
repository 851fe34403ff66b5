//! How long a plugin takes to load: compiled here, compiled in a process of its own, and from the cache:
//! `cargo xtask bench compile`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Error, Result};
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_plugins::{Cache, Child, Compiler, Plugin, Sandbox};

use crate::state::median;

const ROUNDS: usize = 21;

#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run() -> Result<()> {
    let bin = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bin"));
    let child = Child::new(PathBuf::from(env!("CARGO_BIN_EXE_millstream")), &["compile-for-parent"]);
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "component", "bytes", "here ms", "child ms", "cached ms", "of it code", "code bytes"
    );
    for entry in fs::read_dir(bin)? {
        let component = entry?.path();
        let folder = tempfile::tempdir()?;
        let cache = || Cache::new(folder.path().join("code"), folder.path().join("key"));
        let measure = |compiler: Compiler| -> Result<(f64, f64)> {
            let sandbox = Sandbox::with(compiler)?;
            let (mut whole, mut code) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                whole.push(waiting.block_on(load(&sandbox, &component))?);
                code.push(waiting.block_on(load_code(&sandbox, &component))?);
            }
            Ok((median(whole), median(code)))
        };
        let (here, _) = measure(Compiler::here())?;
        let (apart, _) = measure(Compiler::in_child(child.clone()))?;
        let (cached, cached_code) = measure(Compiler::here().with_cache(cache()))?;
        let code = fs::read_dir(folder.path().join("code"))?.next().transpose()?;
        let code_bytes = code.map_or(Ok(0), |file| file.metadata().map(|about| about.len()))?;
        let name = component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::metadata(&component)?.len();
        println!(
            "{name:<14} {bytes:>10} {here:>10.2} {apart:>10.2} {cached:>10.3} {cached_code:>10.3} {code_bytes:>10}"
        );
    }
    Ok(())
}

/// Everything from the file on, the component's own start and description included; in ms.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn load(sandbox: &Sandbox, component: &Path) -> Result<f64> {
    let spec = PluginSpec {
        name: Located { value: "plugin".to_owned(), place: Place::default() },
        component: Located { value: component.to_owned(), place: Place::default() },
        grant: Grant::default(),
        limit: Limit::default(),
        config: BTreeMap::new(),
    };
    let begun = Instant::now();
    drop(Plugin::load(sandbox, &spec).await?);
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// The component's bytes to code that can be run, its SHA-256 included; in ms.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn load_code(sandbox: &Sandbox, component: &Path) -> Result<f64> {
    let bytes = fs::read(component)?;
    let begun = Instant::now();
    drop(sandbox.compile(&bytes, &Limit::default()).await.map_err(Error::msg)?);
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

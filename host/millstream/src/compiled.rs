//! Where plugins are compiled, and where their code is kept: in a process of this program's own, and in the checkpoint
//! folder.
//!
//! ```text
//! checkpoint/compiled/SHA-256.code              the code of a component
//! ~/.local/state/millstream/compiled.key        what shows that this host has written it
//! ```

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use millstream_model::Version;
use millstream_plugins::{Cache, Child, Compiler, PluginError, Sandbox, compile_for_parent};

/// The command that this program gives itself.
pub(crate) const COMMAND: &str = "compile-for-parent";
/// This very program, also when the file that it was started from is gone or another by now.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// What the command takes.
#[derive(Args)]
pub(crate) struct Options {
    memory_bytes: u64,
    time_ms: u64,
}

/// The command: compiles the component on standard input.
#[allow(clippy::print_stderr, reason = "the answer to the process that asked")]
pub(crate) fn compile(options: &Options) -> ExitCode {
    match compile_for_parent(options.memory_bytes, Duration::from_millis(options.time_ms)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

/// A sandbox that compiles within limits, and keeps what it compiled where `cache` says.
pub(crate) fn sandbox(cache: Option<Cache>) -> Result<Sandbox, PluginError> {
    let compiler = Compiler::in_child(Child::new(PathBuf::from(PROGRAM), &[COMMAND]));
    // Also where nothing is kept: other pipelines of this user may keep theirs.
    let compiler = match key_file() {
        Some(key_file) => compiler.guarding(key_file),
        None => compiler,
    };
    Sandbox::with(match cache {
        Some(cache) => compiler.with_cache(cache),
        None => compiler,
    })
}

/// What a checkpoint folder keeps of compiled code; nothing where there is no place for the key.
pub(crate) fn cache(checkpoint: &Path) -> Option<Cache> {
    Some(Cache::new(checkpoint.join("compiled"), key_file()?))
}

/// Where the key is, or would be.
fn key_file() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("millstream/compiled.key"))
}

/// Keeps the code that was compiled before the checkpoint folder was there, and removes what none of `versions` needs.
/// Where that fails, the next start compiles.
pub(crate) fn keep(cache: Option<&Cache>, checkpoint: &Path, versions: &[Version]) {
    let Some(cache) = cache else {
        tracing::info!(
            "plugins are compiled at each start: neither XDG_STATE_HOME nor HOME says where to keep a key"
        );
        return;
    };
    let needed: BTreeSet<&str> =
        versions.iter().flat_map(|version| version.plugins.values()).map(String::as_str).collect();
    if let Err(error) = cache.settle().and_then(|()| cache.prune(|component| needed.contains(component))) {
        tracing::warn!("keeping compiled code in {}: {error}", checkpoint.display());
    }
}

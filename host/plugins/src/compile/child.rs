//! Compiling in a process of its own: what the parent does, and what the child does.
//!
//! ```text
//! parent ── the component ──▶ stdin   child: limits itself, compiles
//!        ◀─ compiled code ─── stdout
//!        ◀─ what is wrong ─── stderr, with exit code 1
//! ```
//! The child limits its memory and processor time itself before it reads a byte, so that it ends even when nobody looks
//! after it any more. The parent limits the time on the clock, and what it reads. Where the child breaks a limit it is
//! gone, with all that it held, and the parent has a sentence about it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use millstream_model::pipeline::Limit;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use wasmtime::Engine;

use crate::PluginError;
use crate::sandbox::config;

/// Functions that are compiled side by side. More take memory that the limit is not meant for.
const THREADS_MAX: u64 = 4;
/// What is read of what the child says is wrong.
const SAID_BYTES_MAX: u64 = 4 * 1024;
/// The exit code of a child that has refused the component, and says why.
const REFUSED: i32 = 1;

/// A program that compiles when it is started: its arguments, then the memory in bytes and the time in milliseconds that it
/// may take. It calls [`compile_for_parent`] with the two.
#[derive(Clone, Debug)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<String>,
}

/// What a child came to.
struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    said: String,
}

/// A child that ends with whoever looks after it.
struct Running(Option<process::Child>);

impl Child {
    /// `program`, started with `arguments`.
    pub fn new(program: PathBuf, arguments: &[&str]) -> Self {
        Self { program, arguments: arguments.iter().copied().map(str::to_owned).collect() }
    }

    /// Compiles a component within the limit, or says why it cannot.
    pub(super) async fn compile(&self, component: &[u8], limit: &Limit) -> Result<Vec<u8>, String> {
        let running = self.start(limit).map_err(|error| {
            format!("cannot be compiled: starting {} for it: {error}", self.program.display())
        })?;
        match timeout(limit.compile_time, running.finish(component, limit.compile_memory_bytes)).await {
            Ok(Ok(ended)) => ended.code(limit),
            Ok(Err(error)) => Err(format!("cannot be compiled: talking to the compiler's process: {error}")),
            Err(_) => Err(too_long(limit)),
        }
    }

    fn start(&self, limit: &Limit) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.arg(limit.compile_memory_bytes.to_string()).arg(limit.compile_time.as_millis().to_string());
        // Nothing of what the host was given in its environment is needed to compile.
        command.env_clear().env("RAYON_NUM_THREADS", THREADS_MAX.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Running(Some(command.spawn()?)))
    }
}

impl Running {
    /// Hands the component over and waits for what becomes of it.
    async fn finish(mut self, component: &[u8], code_bytes_max: u64) -> io::Result<Ended> {
        let child = self.0.as_mut().expect("it is taken only when it has ended");
        let mut stdin = Sender::from_owned_fd(OwnedFd::from(child.stdin.take().expect("it is piped")))?;
        let stdout = Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().expect("it is piped")))?;
        let stderr = Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().expect("it is piped")))?;
        let giving = async move {
            // A child that has ended before it read everything says itself why.
            stdin.write_all(component).await.ok();
        };
        let ((), code, said) =
            tokio::join!(giving, read(stdout, code_bytes_max), read(stderr, SAID_BYTES_MAX));
        let (code, said) = (code?, String::from_utf8_lossy(&said?).trim().to_owned());
        let status = self.end().await?;
        Ok(Ended { status, code, said })
    }

    /// Waits for its end. Its pipes are closed: it has ended, or is about to, or goes on without them.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        let mut ends = signal(SignalKind::child())?;
        loop {
            let child = self.0.as_mut().expect("it is taken only when it has ended");
            if let Some(status) = child.try_wait()? {
                self.0 = None;
                return Ok(status);
            }
            ends.recv().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        if let Err(error) = child.kill().and_then(|()| child.wait()) {
            tracing::warn!("ending the compiler's process: {error}");
        }
    }
}

async fn read(pipe: Receiver, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

impl Ended {
    fn code(self, limit: &Limit) -> Result<Vec<u8>, String> {
        let Self { status, code, said } = self;
        if status.success() {
            return Ok(code);
        }
        // An allocation that fails ends a program by a signal, after it has said so.
        if ["memory allocation of", "Cannot allocate memory"].iter().any(|told| said.contains(told)) {
            return Err(too_much(limit));
        }
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return Err(too_long(limit));
        }
        match status.code() {
            Some(REFUSED) => Err(format!("does not compile: {said}")),
            _ => Err(format!("breaks the compiler, which ended by {status}: {said}")),
        }
    }
}

fn too_much(limit: &Limit) -> String {
    let mebibytes = limit.compile_memory_bytes as f64 / f64::from(1 << 20);
    format!(
        "took more than {mebibytes} MiB to compile; where the component is meant to be so large, raise `limit.compile-memory` of the plugin"
    )
}

fn too_long(limit: &Limit) -> String {
    let time = limit.compile_time;
    format!(
        "took longer than {time:?} to compile; where the component is meant to be so large, raise `limit.compile-time` of the plugin"
    )
}

/// What the child does, and nothing else: compiles the component on its standard input to its standard output, within
/// `memory_bytes` and not much longer than `time`. What it returns is what is wrong with the component, to be written
/// to standard error before the process ends with the exit code 1.
pub fn compile_for_parent(memory_bytes: u64, time: Duration) -> Result<(), String> {
    let fault = |error: io::Error| error.to_string();
    let seconds = (time.as_secs() + 1).saturating_mul(THREADS_MAX);
    // At the first of two the process ends by a signal that tells why.
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    limit(Resource::Data, memory_bytes, memory_bytes)?;
    limit(Resource::Core, 0, 0)?;
    let mut component = Vec::new();
    io::stdin().lock().take(PluginError::COMPONENT_BYTES_MAX).read_to_end(&mut component).map_err(fault)?;
    let engine = Engine::new(&config()).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| error.root_cause().to_string())?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&code).and_then(|()| stdout.flush()).map_err(fault)
}

fn limit(resource: Resource, current: u64, maximum: u64) -> Result<(), String> {
    let limited = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
    limited.map_err(|error| format!("limiting {resource:?} to {current}: {error}"))
}

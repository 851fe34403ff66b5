//! `millstream run --supervise`: runs the pipeline in a process of its own, and starts it again when that crashes.
//!
//! Ended well, refused (exit code 78) or told to stop, it is not started again. Signals are handed on. A process whose
//! pipeline was taken over has ended well.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream_platform::{Backoff, Clock, SystemClock, SystemRandomness};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::EXIT_CONFIGURATION;
use crate::compiled::PROGRAM;
use crate::load::{Refused, runtime};

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// A process that ran so long had started well.
const STABLE: Duration = Duration::from_secs(60);

/// Runs this program with the same arguments but `--supervise`, again and again.
pub(crate) fn supervise() -> Result<()> {
    runtime()?.block_on(async {
        let clock = SystemClock;
        let mut backoff = Backoff::new(WAIT_FIRST, WAIT_LONGEST, Arc::new(SystemRandomness));
        let mut signals = Signals::listen()?;
        loop {
            let started = clock.elapsed();
            let (status, told) = signals.watch(Running::start()?).await?;
            if status.success() {
                return Ok(());
            }
            if status.code() == Some(i32::from(EXIT_CONFIGURATION)) {
                return Err(Refused("the pipeline was refused; the reason is above".to_owned()).into());
            }
            if told {
                bail!("the pipeline was told to stop and ended with {status}");
            }
            if clock.elapsed() - started >= STABLE {
                backoff.reset();
            }
            let wait = backoff.next();
            tracing::error!("the pipeline ended with {}; it starts again in {wait:?}", how(status));
            if signals.pause(wait).await {
                bail!("told to stop while the pipeline was down; what it had received is in its journal");
            }
        }
    })
}

fn how(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}

/// The process of the pipeline.
struct Running {
    pid: Pid,
    ended: JoinHandle<std::io::Result<ExitStatus>>,
}

impl Running {
    fn start() -> Result<Self> {
        let mut arguments = std::env::args_os().filter(|argument| argument != "--supervise");
        let mut command = Command::new(PROGRAM);
        command.arg0(arguments.next().context("finding this program's name")?);
        // A terminal's Ctrl-C goes to all of a process group; the pipeline is to hear of it once, from here.
        command.args(arguments).process_group(0);
        let mut child = command.spawn().context("starting the pipeline")?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("the pipeline has no process id")?;
        Ok(Self { pid, ended: spawn_blocking(move || child.wait()) })
    }
}

/// The signals that stop a pipeline.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
        })
    }

    async fn told(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }

    /// Waits until the process ends, handing on what this one is told; says whether it was told anything.
    async fn watch(&mut self, mut running: Running) -> Result<(ExitStatus, bool)> {
        let mut told = false;
        loop {
            tokio::select! {
                ended = &mut running.ended => {
                    let status = ended.context("waiting for the pipeline")?;
                    return Ok((status.context("waiting for the pipeline")?, told));
                }
                signal = self.told() => {
                    told = true;
                    match kill_process(running.pid, signal) {
                        Ok(()) | Err(Errno::SRCH) => {}
                        Err(error) => return Err(error).context("stopping the pipeline"),
                    }
                }
            }
        }
    }

    /// Waits; says whether it was told to stop instead.
    async fn pause(&mut self, length: Duration) -> bool {
        tokio::select! {
            _ = self.told() => true,
            () = SystemClock.sleep_until(SystemClock.elapsed() + length) => false,
        }
    }
}

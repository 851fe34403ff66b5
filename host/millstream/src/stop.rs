//! `millstream stop`: asks the process that runs a pipeline to end, and waits until it has.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream_platform::{Clock, SystemClock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::host_file::{self, Holder};
use crate::load::runtime;
use crate::target::Target;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Stops the process that runs the pipeline, and any that takes it over meanwhile.
pub(crate) fn stop(target: &Target, now: bool) -> Result<()> {
    let (_, checkpoint) = target.checkpoint()?;
    // The first asks for a graceful stop, a second for an immediate one: as Ctrl-C does. Two that are alike can become one
    // on their way.
    let signals: &[Signal] = if now { &[Signal::TERM, Signal::INT] } else { &[Signal::TERM] };
    runtime()?.block_on(async {
        let mut told = None;
        loop {
            match host_file::holder(&checkpoint)? {
                Holder::Nobody if told.is_none() => bail!("{} is not running", target.file().display()),
                Holder::Nobody => return Ok(()),
                Holder::Process(host) if told != Some(host.pid) => {
                    signal(host.pid, signals)?;
                    told = Some(host.pid);
                }
                Holder::Process(_) | Holder::Unnamed => {}
            }
            SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await;
        }
    })
}

/// Asks the process that runs on `checkpoint`, if one does, for a graceful stop.
pub(crate) fn terminate(checkpoint: &Path) -> Result<()> {
    match host_file::running(checkpoint)? {
        Some(host) => signal(host.pid, &[Signal::TERM]),
        None => Ok(()),
    }
}

/// Signals a process, unless it has ended.
fn signal(process: u32, signals: &[Signal]) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{process} is no process"))?;
    for signal in signals {
        match kill_process(pid, *signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("signalling process {process}")),
        }
    }
    Ok(())
}

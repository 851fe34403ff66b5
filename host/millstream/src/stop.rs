//! `millstream stop`: asks the process that runs a pipeline to end, and waits until it has.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::host_file;
use crate::target::Target;

pub(crate) fn stop(target: &Target, now: bool) -> Result<()> {
    let (_, checkpoint) = target.checkpoint()?;
    // The first asks for a graceful stop, a second for an immediate one: as Ctrl-C does. Two that are alike can become one
    // on their way.
    let signals: &[Signal] = if now { &[Signal::TERM, Signal::INT] } else { &[Signal::TERM] };
    if !signal(&checkpoint, signals)? {
        bail!("{} is not running", target.file().display());
    }
    host_file::wait_until_ended(&checkpoint)
}

/// Asks the process that runs on `checkpoint`, if one does, for a graceful stop.
pub(crate) fn terminate(checkpoint: &Path) -> Result<()> {
    signal(checkpoint, &[Signal::TERM]).map(drop)
}

/// Signals the process that runs on `checkpoint`; says whether there is one.
fn signal(checkpoint: &Path, signals: &[Signal]) -> Result<bool> {
    let Some(host) = host_file::running(checkpoint)? else { return Ok(false) };
    let pid = i32::try_from(host.pid).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{} is no process", host.pid))?;
    for signal in signals {
        kill_process(pid, *signal).with_context(|| format!("signalling process {}", host.pid))?;
    }
    Ok(true)
}

//! `millstream stop`: asks the process that runs a pipeline to end, and waits until it has.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::host_file;
use crate::target::Target;

pub(crate) fn stop(target: &Target, now: bool) -> Result<()> {
    let (_, checkpoint) = target.checkpoint()?;
    let Some(host) = host_file::running(&checkpoint)? else {
        bail!("{} is not running", target.file().display());
    };
    let pid = i32::try_from(host.pid).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{} is no process", host.pid))?;
    // The first asks for a graceful stop, a second for an immediate one: as Ctrl-C does. Two that are alike can become one
    // on their way.
    let signals: &[Signal] = if now { &[Signal::TERM, Signal::INT] } else { &[Signal::TERM] };
    for signal in signals {
        kill_process(pid, *signal).with_context(|| format!("signalling process {}", host.pid))?;
    }
    host_file::wait_until_ended(&checkpoint)
}

//! `millstream stop`: asks the process that runs a pipeline to end, and waits until it has.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::host_file;
use crate::load::{Refused, read};

pub(crate) fn stop(file: &Path, now: bool) -> Result<()> {
    let pipeline = millstream_pipeline::parse(file, &read(file)?)?;
    let Some(checkpoint) = pipeline.checkpoint else {
        let name = file.display();
        return Err(Refused(format!("{name} names no `checkpoint` folder, by which a running pipeline is found; stop it with Ctrl-C or SIGTERM")).into());
    };
    let Some(host) = host_file::running(&checkpoint)? else {
        bail!("{} is not running", file.display());
    };
    let pid = i32::try_from(host.pid).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{} is no process", host.pid))?;
    // The first asks for a graceful stop, a second for an immediate one: as Ctrl-C does.
    for _ in 0..if now { 2 } else { 1 } {
        kill_process(pid, Signal::TERM).with_context(|| format!("signalling process {}", host.pid))?;
    }
    host_file::wait_until_ended(&checkpoint)
}

//! The program as a process that runs a pipeline, and when its output appeared.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The component of the stock text plugin.
pub(crate) const TEXT_PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bin/text.wasm");

/// A process that runs a pipeline.
pub(crate) struct Process {
    file: PathBuf,
    child: Child,
}

impl Process {
    /// Runs the pipeline of that text, whose file is to be in `folder`.
    pub(crate) fn start(folder: &Path, text: &str) -> Result<Self> {
        let file = folder.join("pipeline.toml");
        fs::write(&file, text)?;
        Ok(Self { child: run(&file, &[])?, file })
    }

    /// A command about the pipeline.
    pub(crate) fn command(&self, name: &str) -> Command {
        command(name, &self.file)
    }

    /// Lets it go over to another component for a plugin; gives what is reported of that.
    pub(crate) fn upgrade(&self, plugin: &str, component: &Path) -> Result<Value> {
        let mut asked = self.command("upgrade");
        let asked = asked.arg("--json").arg(format!("{plugin}={}", component.display()));
        let answer = asked.stderr(Stdio::inherit()).output()?;
        ensure!(answer.status.success(), "the upgrade ended with {}", answer.status);
        Ok(serde_json::from_slice(&answer.stdout)?)
    }

    /// Lets another process go on with the pipeline.
    pub(crate) fn take_over(&mut self) -> Result<()> {
        let new = run(&self.file, &["--takeover"])?;
        let ended = std::mem::replace(&mut self.child, new).wait()?;
        ensure!(ended.success(), "the process that was taken over ended with {ended}");
        Ok(())
    }

    /// Stops it, in order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let stopped = self.command("stop").status()?;
        ensure!(stopped.success() && self.child.wait()?.success(), "the process did not stop well");
        Ok(())
    }

    /// Starts it once more.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.child = run(&self.file, &[])?;
        Ok(())
    }
}

impl Drop for Process {
    /// Where a measurement has failed, nothing of it goes on.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(name: &str, file: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_millstream"));
    program.arg(name).arg(file).stderr(Stdio::null());
    program
}

fn run(file: &Path, more: &[&str]) -> Result<Child> {
    command("run", file).args(more).spawn().context("starting the program")
}

/// The text plugin with other bytes and the same code, as a file in `folder`.
pub(crate) fn variant(folder: &Path, version: usize) -> Result<PathBuf> {
    let mut bytes = fs::read(TEXT_PLUGIN)?;
    // A custom section named "v", of two bytes.
    bytes.extend([0, 4, 1, b'v']);
    bytes.extend(u16::try_from(version)?.to_le_bytes());
    let path = folder.join(format!("text-{version}.wasm"));
    fs::write(&path, bytes)?;
    Ok(path)
}

#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn now_ms() -> Result<i64> {
    Ok(i64::try_from(since_1970().as_millis())?)
}

/// When a batch's folder got its name, since 1970: its status changes last when it is renamed into its place.
pub(crate) fn appeared(batch: &Path) -> Result<Duration> {
    let known = fs::metadata(batch)?;
    Ok(Duration::new(known.ctime().unsigned_abs(), u32::try_from(known.ctime_nsec())?))
}

/// The batches that a sink has put out into `folder`: their times, in milliseconds since 1970, and their folders.
pub(crate) fn batches(folder: &Path) -> Result<Vec<(i64, PathBuf)>> {
    let mut batches = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("batches are named by their times")?;
        // What begins with a dot is not put out yet.
        if !name.starts_with('.') {
            batches.push((name.parse().context("batches are named by their times")?, entry.path()));
        }
    }
    Ok(batches)
}

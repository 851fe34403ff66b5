//! What the suites share: the built components, the binary, and folders of pipelines.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A plugin of the workspace, built. `cargo xtask` builds them all first and says so; other callers build them here.
pub(crate) fn component(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os("MILLSTREAM_PLUGINS_BUILT").is_none() {
            let status = Command::new(env!("CARGO")).args(["xtask", "plugins"]).current_dir(root()).status();
            assert!(status.unwrap().success(), "cargo xtask plugins");
        }
    });
    root().join(format!("plugins/bin/{name}.wasm")).canonicalize().unwrap()
}

/// Runs the binary to its end.
pub(crate) fn millstream(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The binary, to be started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    // Where it keeps its key, beside what else tests leave.
    command.args(arguments).env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with a pipeline file in it; `{text}`, `{tail}` and other names of plugins in it stand for the components. It is kept when
/// the test fails.
pub(crate) struct Project(TempDir);

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("the folder of the failed test is kept: {}", self.0.path().display());
        }
    }
}

impl Project {
    pub(crate) fn new(pipeline: &str) -> Self {
        Self::within(&std::env::temp_dir(), pipeline)
    }

    /// A project whose folder is in `folder`.
    pub(crate) fn within(folder: &Path, pipeline: &str) -> Self {
        let project = Self(tempfile::tempdir_in(folder).unwrap());
        project.write_pipeline(pipeline);
        project
    }

    pub(crate) fn write_pipeline(&self, pipeline: &str) {
        let mut text = pipeline.to_owned();
        let names = [
            "text",
            "tail",
            "lines-tcp",
            "http-post",
            "hostile",
            "outside",
            "reach",
            "running-1",
            "running-2",
        ];
        for name in names {
            let place = format!("{{{name}}}");
            if text.contains(&place) {
                text = text.replace(&place, component(name).to_str().unwrap());
            }
        }
        self.write("pipeline.toml", text);
    }

    /// The binary, to be started with a command on the pipeline.
    pub(crate) fn command(&self, name: &str, more: &[&str]) -> Command {
        let mut command = command(&[name]);
        command.arg(self.path("pipeline.toml")).args(more);
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in its place at once, in place of any before it, so that a pipeline which runs never sees half of it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let (path, staged) = (self.path(name), self.path(".being-written"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&staged, content).unwrap();
        std::fs::rename(staged, path).unwrap();
    }

    /// Runs the binary's `command` on the pipeline.
    pub(crate) fn run(&self, command: &str, more: &[&str]) -> Output {
        self.command(command, more).output().unwrap()
    }

    /// Runs it, and expects that it succeeds.
    #[track_caller]
    pub(crate) fn done(&self, command: &str, more: &[&str]) -> Output {
        let done = self.run(command, more);
        assert!(done.status.success(), "{command} {more:?}: {}{}", stdout(&done), stderr(&done));
        done
    }

    /// Runs it, and expects that it is refused; gives what it says.
    #[track_caller]
    pub(crate) fn refused(&self, command: &str, more: &[&str]) -> String {
        let refused = self.run(command, more);
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{command} {more:?}: {told}");
        told
    }

    /// Runs the pipeline on all that is there, and expects that this succeeds; gives what it logged.
    #[track_caller]
    pub(crate) fn run_once(&self) -> String {
        stderr(&self.done("run", &["--once"]))
    }

    /// What `status` shows.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&stdout(&self.done("status", &["--json"]))).unwrap()
    }

    /// The lines of all files that a file sink wrote, in the order of batches and parts.
    pub(crate) fn lines(&self, folder: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for batch in entries(&self.path(folder)) {
            for part in entries(&batch) {
                lines.extend(std::fs::read_to_string(part).unwrap().lines().map(str::to_owned));
            }
        }
        lines
    }

    /// Those that it has written so far: none, while its folder is not there.
    pub(crate) fn lines_so_far(&self, folder: &str) -> Vec<String> {
        if self.path(folder).exists() { self.lines(folder) } else { Vec::new() }
    }

    /// The rows that a file sink has written as JSON so far.
    pub(crate) fn rows(&self, folder: &str) -> Vec<Value> {
        self.lines_so_far(folder).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A folder's visible entries, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let visible = |path: &PathBuf| !path.file_name().unwrap().to_str().unwrap().starts_with('.');
    let mut entries: Vec<PathBuf> = entries.filter(visible).collect();
    entries.sort();
    entries
}

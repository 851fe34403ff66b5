//! The binary while it runs: its log, its signals, its end.
//!
//! Tests wait for what the process says, or for what it does outside, and never for time to pass. A wait that takes
//! longer than any machine needs fails the test.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Project;

/// No wait of a test that passes takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// A process that was started. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    log: Arc<Log>,
}

/// What a process has written to stderr.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    has_ended: bool,
}

impl Process {
    /// Starts a command; its log is read, what it prints is not.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).split(b'\n');
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                shared.add(String::from_utf8_lossy(&line).into_owned());
            }
            shared.end();
        });
        Self { child, log }
    }

    /// Starts a pipeline, and waits until it says that it runs: from then on it can be asked.
    pub(crate) fn running(project: &Project) -> Self {
        let process = Self::start(&mut project.command("run", &[]));
        process.wait_for(" runs");
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `fragment`, and gives the first.
    pub(crate) fn wait_for(&self, fragment: &str) -> String {
        let found = |state: &LogState| state.lines.iter().find(|line| line.contains(fragment)).cloned();
        let state = self.log.wait_while(|state| found(state).is_none() && !state.has_ended);
        let line = found(&state);
        line.unwrap_or_else(|| panic!("no line of the log has \"{fragment}\":\n{}", state.lines.join("\n")))
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.state.lock().unwrap().lines.join("\n")
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Waits for the end of the process, and gives how it ended and what it logged.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let state = self.log.wait_while(|state| !state.has_ended);
        assert!(state.has_ended, "the process does not end:\n{}", state.lines.join("\n"));
        drop(state);
        (self.child.wait().unwrap(), self.log())
    }

    /// Waits for the end of the process, and expects that it is a good one; gives what it logged.
    pub(crate) fn ended(self) -> String {
        let (status, log) = self.end();
        assert!(status.success(), "{status}:\n{log}");
        log
    }

    /// Tells the process to stop, and expects that it ends well; gives what it logged.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Stops it by the command for that, which is to succeed as well; gives what it logged.
    pub(crate) fn stop_by_command(self, project: &Project) -> String {
        project.done("stop", &[]);
        self.ended()
    }

    /// Waits until the process has killed itself where `MILLSTREAM_CRASH_AT` told it to; gives what it logged.
    pub(crate) fn killed_at(self, point: &str) -> String {
        let (status, log) = self.end();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point} is not passed, {status}:\n{log}");
        log
    }

    /// Kills the process, if it has not ended, and gives what it logged.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is no failure.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

impl Log {
    fn add(&self, line: String) {
        self.state.lock().unwrap().lines.push(line);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap().has_ended = true;
        self.changed.notify_all();
    }

    fn wait_while(&self, mut wait: impl FnMut(&LogState) -> bool) -> MutexGuard<'_, LogState> {
        let state = self.state.lock().unwrap();
        self.changed.wait_timeout_while(state, PATIENCE, |state| wait(state)).unwrap().0
    }
}

/// Sends a signal to a process.
pub(crate) fn send(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// Looks until `look` sees something; `what` is told if it never does.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / POLL_EVERY.as_millis() {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::park_timeout(POLL_EVERY);
    }
    panic!("{what}: that never came");
}

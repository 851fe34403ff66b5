//! Time of processors: what a thread and a process have computed, not how long that took.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Where the system tells of this process's threads.
const THREADS: &str = "/proc/self/task";

/// What the calling thread has computed.
pub fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// What all threads of this process have computed, those that have ended among them.
pub fn process_cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// What the threads that live now have computed, by their names.
///
/// # Errors
/// The system does not tell.
pub fn cpu_by_thread() -> io::Result<BTreeMap<String, Duration>> {
    let mut by_name = BTreeMap::new();
    for thread in fs::read_dir(THREADS)? {
        let folder = thread?.path();
        let read = |file: &str| fs::read_to_string(folder.join(file));
        // A thread may have ended meanwhile.
        let (Ok(name), Ok(schedule)) = (read("comm"), read("schedstat")) else { continue };
        let spent = schedule.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
        let spent = spent.ok_or_else(|| io::Error::other(format!("{THREADS} tells of no times")))?;
        *by_name.entry(name.trim_end().to_owned()).or_default() += Duration::from_nanos(spent);
    }
    match by_name.is_empty() {
        true => Err(io::Error::other(format!("{THREADS} tells of no threads"))),
        false => Ok(by_name),
    }
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

//! Places in the program where a test can end the process at once, as by a kill from outside.

#[cfg(test)]
mod tests;

/// Every place that each batch passes, or the life of a process, named after what has just been done there.
pub const CRASH_POINTS: &[&str] = &[
    "wal-appended",
    "wal-synced",
    "segment-created",
    "segment-in-place",
    "manifest-written",
    "batch-run",
    "output-staged",
    "output-prepared",
    "states-written",
    "commit-written",
    "output-published",
    "batch-published",
    "log-rolled",
    "wal-cleaned",
    "recovered",
];

/// The places where one process takes a pipeline over from another: the running one passes the first three, the new one the
/// others.
pub const TAKEOVER_POINTS: &[&str] = &[
    "receiving-paused",
    "sockets-handed-over",
    "takeover-agreed",
    "takeover-asked",
    "takeover-received",
    "takeover-taken",
    "takeover-locked",
];

/// Every place that an upgrade passes.
pub const UPGRADE_POINTS: &[&str] = &[
    "version-kept",
    "upgrade-ready",
    "version-adopted",
    "upgrade-adopted",
    "batch-reassigned",
    "upgraded",
    "going-back",
    "went-back",
];

/// Every place that a migration of states passes when a pipeline starts.
pub const MIGRATION_POINTS: &[&str] = &["states-copied", "states-migrated", "generation-committed"];

/// Passes a place where the process can be made to end.
///
/// In a build with debug assertions, the environment variable `MILLSTREAM_CRASH_AT` names the place, as
/// `wal-synced` or `wal-synced:3`: the process ends, as by SIGKILL, when it passes there for the first or the
/// third time. In any other build this does nothing.
///
/// # Panics
/// In a build with debug assertions, where `name` or the variable is none of [`CRASH_POINTS`], [`UPGRADE_POINTS`],
/// [`TAKEOVER_POINTS`] and [`MIGRATION_POINTS`].
#[inline]
pub fn crash_point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _unused = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{CRASH_POINTS, MIGRATION_POINTS, TAKEOVER_POINTS, UPGRADE_POINTS};

    /// Where to crash.
    struct Crash {
        point: String,
        /// How often the point is passed before the process ends, the last time included.
        passes: u64,
        passed: AtomicU64,
    }

    pub(super) fn pass(name: &'static str) {
        static CRASH: OnceLock<Option<Crash>> = OnceLock::new();
        assert!(is_known(name), "{name:?} is none of the crash points");
        let crash = CRASH.get_or_init(|| Some(parse(&std::env::var("MILLSTREAM_CRASH_AT").ok()?)));
        if let Some(crash) = crash
            && crash.point == name
            && crash.passed.fetch_add(1, Ordering::Relaxed) + 1 == crash.passes
        {
            end();
        }
    }

    fn is_known(name: &str) -> bool {
        [CRASH_POINTS, UPGRADE_POINTS, TAKEOVER_POINTS, MIGRATION_POINTS]
            .iter()
            .any(|points| points.contains(&name))
    }

    fn parse(text: &str) -> Crash {
        let (point, passes) = text.split_once(':').unwrap_or((text, "1"));
        assert!(is_known(point), "MILLSTREAM_CRASH_AT: {point:?} is none of the crash points");
        let passes = passes.parse().ok().filter(|passes| *passes > 0);
        let passes = passes.expect("MILLSTREAM_CRASH_AT: behind the colon stands a number from 1 up");
        Crash { point: point.to_owned(), passes, passed: AtomicU64::new(0) }
    }

    fn end() {
        // A process may always kill itself, and a signal that it sends itself comes before the call is over. Where
        // it does not, the process still ends without any clean-up.
        if kill_process(getpid(), Signal::KILL).is_ok() {
            std::thread::park();
        }
        std::process::abort();
    }
}

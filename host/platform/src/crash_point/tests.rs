use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::crash_point;

const SIGKILL: i32 = 9;
const THIS: &str = "crash_point::tests::a_process_ends_where_and_when_the_variable_says";
/// Where the process that is to crash tells how far it came.
const TOLD: &str = "PASSES_TOLD_TO";

/// Passes "wal-synced" three times, each after a "wal-appended".
fn pass_points(told: &Path) {
    let mut log = String::new();
    for letter in ["a", "b", "c"] {
        crash_point("wal-appended");
        log += letter;
        std::fs::write(told, &log).unwrap();
        crash_point("wal-synced");
    }
}

fn run(crash_at: Option<&str>) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", THIS]).env(TOLD, &told).env_remove("MILLSTREAM_CRASH_AT");
    command.envs(crash_at.map(|crash_at| ("MILLSTREAM_CRASH_AT", crash_at)));
    let output = command.output().unwrap();
    (output.status, std::fs::read_to_string(&told).unwrap_or_default())
}

#[test]
fn a_process_ends_where_and_when_the_variable_says() {
    if let Some(told) = std::env::var_os(TOLD) {
        return pass_points(Path::new(&told));
    }
    for (crash_at, progress) in [("wal-appended", ""), ("wal-synced", "a"), ("wal-synced:3", "abc")] {
        let (status, told) = run(Some(crash_at));
        assert_eq!((status.signal(), told.as_str()), (Some(SIGKILL), progress), "{crash_at}");
    }
    for crash_at in [None, Some("wal-synced:4"), Some("recovered")] {
        let (status, told) = run(crash_at);
        assert!(status.success() && told == "abc", "{crash_at:?}: {status}");
    }
    for mistake in ["wal-sunk", "wal-synced:0", "wal-synced:x", ""] {
        let (status, told) = run(Some(mistake));
        assert!(!status.success() && status.signal().is_none() && told.is_empty(), "{mistake:?}: {status}");
    }
}

#[test]
#[should_panic(expected = "none of the crash points")]
fn a_point_that_is_not_listed_is_a_mistake() {
    crash_point("no-such-point");
}

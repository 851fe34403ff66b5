//! Ends of the process while it is upgraded.

use std::os::unix::process::ExitStatusExt;

use millstream_platform::UPGRADE_POINTS;

use super::variant;
use crate::crash::trial::Trial;
use crate::process::Process;
use crate::support::command;

#[test]
fn a_pipeline_that_ends_at_any_point_of_an_upgrade_goes_on_with_one_version() {
    let mut trial = Trial::new("", 300, 0);
    // Batches are given to another version only where they wait for a function.
    let points = UPGRADE_POINTS.iter().filter(|point| **point != "batch-reassigned");
    for (version, point) in (1..).zip(points) {
        let path = variant(&trial.project, "hostile", version);
        let process = Process::start(trial.command().env("MILLSTREAM_CRASH_AT", point));
        trial.wait_acknowledged(&process, 300);
        let pipeline = trial.project.path("pipeline.toml");
        let asked = command(&["upgrade", pipeline.to_str().unwrap()])
            .arg(format!("hostile={}", path.display()))
            .output()
            .unwrap();
        assert!(!asked.status.success(), "{point}");
        let (status, log) = process.end();
        assert_eq!(status.signal(), Some(9), "{point} is not passed, {status}:\n{log}");
        trial.check();
        let process = trial.start();
        trial.wait_acknowledged(&process, 300);
        let is_adopted = process.log().contains("goes on with the version that it was upgraded to");
        let was_adopted = !["version-kept", "upgrade-ready"].contains(point);
        assert_eq!(is_adopted, was_adopted || version > 3, "{point}:\n{}", process.log());
        trial.stop(process);
        trial.check();
    }
    trial.finish();
}

//! Ends of the process while it is upgraded.

use millstream_platform::UPGRADE_POINTS;

use super::probation::failing;
use super::variant;
use crate::crash::trial::Trial;
use crate::process::Process;

#[test]
fn a_pipeline_that_ends_at_any_point_of_an_upgrade_goes_on_with_one_version() {
    let mut trial = Trial::new("", 300, 0);
    // Those of an upgrade that succeeds, where no batches wait for a function.
    let points = UPGRADE_POINTS
        .iter()
        .filter(|point| !["batch-reassigned", "going-back", "went-back"].contains(*point));
    for (version, point) in (1..).zip(points) {
        let path = variant(&trial.project, "hostile", version);
        let process = Process::start(trial.command().env("MILLSTREAM_CRASH_AT", point));
        trial.wait_acknowledged(&process, 300);
        let asked = trial.project.run("upgrade", &[&format!("hostile={}", path.display())]);
        assert!(!asked.status.success(), "{point}");
        process.killed_at(point);
        trial.check();
        let process = trial.start();
        trial.wait_acknowledged(&process, 300);
        process.wait_for("trial runs");
        let is_adopted = process.log().contains("goes on with the version that it was upgraded to");
        let was_adopted = !["version-kept", "upgrade-ready"].contains(point);
        assert_eq!(is_adopted, was_adopted || version > 3, "{point}:\n{}", process.log());
        trial.stop(process);
        trial.check();
    }
    trial.finish();
}

#[test]
fn a_pipeline_that_ends_at_any_point_of_the_way_back_goes_on_with_one_version() {
    let mut trial = Trial::new("", 300, 0);
    for (point, is_back) in [("batch-reassigned", false), ("going-back", false), ("went-back", true)] {
        let process = Process::start(trial.command().env("MILLSTREAM_CRASH_AT", point));
        trial.wait_acknowledged(&process, 300);
        failing(&trial);
        process.killed_at(point);
        trial.check();
        let process = trial.start();
        trial.wait_acknowledged(&process, 300);
        // From the version that failed there is a way back, and none from the one before.
        let rolled_back = trial.project.run("rollback", &[]);
        assert_eq!(rolled_back.status.code(), Some(if is_back { 78 } else { 0 }), "{point}");
        trial.wait_acknowledged(&process, 300);
        trial.stop(process);
        let adopted = trial.project.path("checkpoint/versions/adopted.json");
        std::fs::remove_file(adopted).unwrap();
    }
    trial.finish();
}

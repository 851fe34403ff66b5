use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Holder, Lock, holder};

#[test]
fn a_pipeline_is_refused_by_one_that_runs_and_not_by_those_that_look_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !has_ended.load(Ordering::Relaxed) {
                    holder(folder.path()).unwrap();
                }
            });
        }
        let ran: Vec<bool> = (0..500).map(|_| Lock::take(folder.path()).is_ok()).collect();
        has_ended.store(true, Ordering::Relaxed);
        assert!(ran.iter().all(|ran| *ran), "{} were refused", ran.iter().filter(|ran| !*ran).count());
    });
    let lock = Lock::take(folder.path()).unwrap();
    assert!(
        matches!(holder(folder.path()).unwrap(), Holder::Process(host) if host.pid == std::process::id())
    );
    assert!(Lock::take_if_free(folder.path()).unwrap().is_none());
    drop(lock);
    assert!(matches!(holder(folder.path()).unwrap(), Holder::Nobody));
}

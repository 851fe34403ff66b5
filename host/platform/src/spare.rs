//! Work that is nobody's hurry: on a thread of its own, which leaves the processors to the others.

use std::io;
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// By how much its priority is below that of whoever starts it, in the system's steps: it gets about a tenth of a processor
/// that others want.
const BELOW: i32 = 10;

/// Work on a thread of its own. Dropped, it is cut off where it waits next.
#[derive(Debug)]
pub struct Spare<T> {
    done: oneshot::Receiver<T>,
    _wanted: oneshot::Sender<()>,
}

impl<T: Send + 'static> Spare<T> {
    /// Starts `work` on a thread called `name`, with a runtime that is the work's own. Threads and processes that the work
    /// starts have its priority.
    ///
    /// # Errors
    /// The system has no thread for it, or none of what a runtime needs.
    pub fn start(name: &str, work: impl Future<Output = T> + Send + 'static) -> io::Result<Self> {
        let (sender, done) = oneshot::channel();
        let (_wanted, unwanted) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            lower_priority();
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ended = unwanted => {}
                    // Whoever waited for it may be gone.
                    value = work => drop(sender.send(value)),
                }
            });
            // What it waited for, such as a file that blocks, is waited for no longer.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { done, _wanted })
    }

    /// What the work came to; nothing, where it panicked.
    pub async fn done(&mut self) -> Option<T> {
        (&mut self.done).await.ok()
    }
}

/// Of this thread, and of those that it starts.
fn lower_priority() {
    // Where it cannot be had the work is done all the same.
    getpriority_process(None).and_then(|now| setpriority_process(None, now + BELOW)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_at_a_lower_priority_and_the_others_keep_theirs() {
        let of = || getpriority_process(None).unwrap();
        let before = of();
        let mut spare = Spare::start("spare", async move { of() }).unwrap();
        assert_eq!(spare.done().await, Some((before + BELOW).min(19)));
        assert_eq!(of(), before);
    }

    #[tokio::test]
    async fn work_that_nobody_wants_any_more_is_cut_off_where_it_waits() {
        let (held, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let spare = Spare::start("spare", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(spare.unwrap());
        assert_eq!(gone.recv().await, None);
    }

    #[tokio::test]
    async fn of_work_that_panics_there_is_nothing() {
        let mut spare = Spare::start("spare", async { assert_eq!(1, 2, "as it is to") }).unwrap();
        assert_eq!(spare.done().await, None);
    }
}

//! The threads of guests: where receivers and sinks run, and where every guest waits.
//!
//! On the engine's runtime for waiting, receivers and sinks would hold up ticks and commits while they compute, on the one
//! that computes they would wait behind batches, whose guests may be busy for long. So they have threads of their own, and
//! take turns there at every tick of the sandbox. A call that nobody waits for any more is dropped with its store, which
//! ends also what waits in the host for a socket; no epoch does.
//!
//! What a guest asks the system for may take as long as it likes: a pipe that nobody writes to, a name that no server
//! resolves. It takes a thread that nothing gets back before it is done. So whatever thread a guest computes on, it is
//! here that its files, sockets and timers are ([`within`]), and guests take no thread from the engine's own files.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{LazyLock, mpsc};
use std::thread::{self, available_parallelism};

use millstream_platform::Task;
use tokio::runtime::{Builder, Handle, Runtime};

/// Calls of all guests into the system that are under way at once; further ones wait.
const SYSTEM_CALLS_MAX: usize = 512;

/// The threads live as long as the process: a runtime may not be dropped where others wait for something.
static RUNTIME: LazyLock<Result<Runtime, String>> = LazyLock::new(|| {
    let threads = available_parallelism().map_or(1, usize::from);
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(threads).max_blocking_threads(SYSTEM_CALLS_MAX).thread_name("outside");
    runtime.enable_all().build().map_err(|error| format!("starting the threads of plugins: {error}"))
});

/// Does work on the threads for receivers and sinks. Dropped, it is cut off where it waits next.
pub(crate) async fn outside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    Ok(Task::spawn(handle()?, work).await)
}

/// Does a guest's work where it is asked for, but has what it waits for wait on the threads of guests.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let threads = handle()?;
    let mut work = pin!(work);
    let poll = poll_fn(|context| {
        let _entered = threads.enter();
        work.as_mut().poll(context)
    });
    Ok(poll.await)
}

/// Starts a thread from those of guests, and so with their priority: whoever sets a sandbox up may have a lower one.
pub(crate) fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let (tell, told) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    drop(handle()?.spawn(async move { tell.send(thread.spawn(work).map(drop)) }));
    let started = told.recv().map_err(|error| error.to_string())?;
    started.map_err(|error| error.to_string())
}

fn handle() -> Result<&'static Handle, String> {
    RUNTIME.as_ref().map(Runtime::handle).map_err(Clone::clone)
}

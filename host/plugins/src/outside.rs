//! Where guests run that wait for what is outside: receivers and sinks.
//!
//! On the engine's runtime for waiting they would hold up ticks and commits while they compute, on the one that computes
//! they would wait behind batches, whose guests may be busy for long. So they have threads of their own, and take turns
//! there at every tick of the sandbox. A call that nobody waits for any more is dropped with its store, which
//! ends also what waits in the host for a socket; no epoch does.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use millstream_platform::Task;
use tokio::runtime::{Builder, Runtime};

/// The threads live as long as the process: a runtime may not be dropped where others wait for something.
static RUNTIME: LazyLock<Result<Runtime, String>> = LazyLock::new(|| {
    let threads = available_parallelism().map_or(1, usize::from);
    let built =
        Builder::new_multi_thread().worker_threads(threads).thread_name("outside").enable_all().build();
    built.map_err(|error| format!("starting the threads of receivers and sinks: {error}"))
});

/// Does work on the threads for receivers and sinks. Dropped, it is cut off where it waits next.
pub(crate) async fn outside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let handle = RUNTIME.as_ref().map(Runtime::handle).map_err(Clone::clone)?;
    Ok(Task::spawn(handle, work).await)
}

//! Makes code ready for its first batch, beside the batches of the code before it: what its windows are made of is made of
//! the batches so far, and again of each batch that is applied until its own begin. The code keeps nothing else of it, and what
//! comes of its batches is the same without.

use std::sync::Arc;

use millstream_platform::{Spare, Task};
use millstream_query::Warming;
use millstream_state::States;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::application::Code;

/// So often batches may be applied while code is made ready for them, until it is ready enough.
const PASSES_MAX: usize = 8;

/// Code that is kept ready for its first batch, until this is dropped.
pub(crate) struct Warm {
    applied: Arc<Notify>,
    _work: Work,
}

/// What does that.
enum Work {
    Spare { _thread: Spare<()> },
    Here { _task: Task<()> },
}

/// Where work beside the batches is done.
#[derive(Clone)]
pub(crate) enum Beside {
    /// On a thread of its own, which leaves the processors to the batches.
    Spare,
    /// In turns with them: a simulation has one thread.
    Here(Handle),
}

impl Warm {
    /// Begins with the batches that were applied so far. Gives what completes once `code` is ready, or cannot be made so.
    pub(crate) fn start(code: &Code, beside: &Beside) -> (Option<Self>, oneshot::Receiver<()>) {
        let (ready, is_ready) = oneshot::channel();
        let applied = Arc::new(Notify::new());
        let (warming, states) = (code.programs.warming(), Arc::clone(&code.states));
        let work = keep_warm(warming, states, Arc::clone(&applied), ready);
        let work = match beside {
            Beside::Here(handle) => Work::Here { _task: Task::spawn(handle, work) },
            Beside::Spare => match Spare::start("upgrade", work) {
                Ok(_thread) => Work::Spare { _thread },
                Err(error) => {
                    tracing::warn!(
                        "starting a thread that prepares the upgrade: {error}; it goes on without"
                    );
                    return (None, is_ready);
                }
            },
        };
        (Some(Self { applied, _work: work }), is_ready)
    }

    /// A batch was applied.
    pub(crate) fn applied(&self) {
        self.applied.notify_one();
    }
}

async fn keep_warm(warming: Warming, states: Arc<States>, applied: Arc<Notify>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    for pass in 1.. {
        let time = states.applied();
        if let Some(time) = time
            && let Err(error) = warming.warm(time).await
        {
            tracing::debug!("making other code ready: {error}; its first batch does that itself");
            return;
        }
        let is_behind = states.applied() != time;
        if !is_behind || pass >= PASSES_MAX {
            // Whoever waited for it may be gone.
            ready.take().and_then(|ready| ready.send(()).ok());
        }
        if !is_behind {
            applied.notified().await;
        }
    }
}

//! What a pipeline that runs has no use for any more. To let go of it takes a while, and nothing waits for that but the end.

use std::sync::Arc;

use tokio::task::{JoinSet, spawn_blocking};

use super::Run;
use crate::application::Code;

/// What is let go of beside the batches. Dropped, it is cut off: what it would have removed, the next start does.
#[derive(Default)]
pub(crate) struct Leaving(JoinSet<()>);

impl Leaving {
    /// Does what is left to do for something that is not used any more.
    pub(crate) fn end(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        // What has come to its end takes no room.
        while self.0.try_join_next().is_some() {}
        self.0.spawn(work);
    }
}

impl Run {
    /// Lets go of code that may be nobody's any more.
    pub(crate) fn part_with(&self, code: Arc<Code>) {
        if !Arc::ptr_eq(&code, &self.code) {
            drop_beside(code);
        }
    }

    /// Waits until everything is gone that is let go of, and removes the states that an upgrade has left behind, where that
    /// was not done beside the batches yet.
    pub(super) async fn leave(&mut self) {
        while self.leaving.0.join_next().await.is_some() {}
        if let Err(error) = self.states.store().remove_retired().await {
            tracing::warn!("removing states that are needed no more: {error}; the next start does it");
        }
    }
}

/// Drops code, or what holds some, where that is in nobody's way: the system takes the memory of its instances back, and that of
/// what they were compiled to.
pub(crate) fn drop_beside(what: impl Send + 'static) {
    spawn_blocking(move || drop(what));
}

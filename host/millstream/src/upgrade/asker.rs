//! Whoever asks for a comparison of versions, and may leave before it comes to anything: then it ends. Once the new version is
//! written down as the pipeline's own it is too late for that, and the upgrade comes to its end with nobody waiting for it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_engine::{UpgradeError, Upgraded};
use tokio::sync::oneshot;

/// What an upgrade is told that nobody waits for any more.
const GONE: &str = "whoever asked for the comparison is gone";

/// Who waits, as the running pipeline sees them.
pub(crate) struct Asker {
    left: oneshot::Receiver<()>,
    pub(super) decision: Decision,
}

/// Whether the upgrade comes about or its asker leaves: whichever is first. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Decision(Arc<AtomicBool>);

impl Asker {
    /// One that stays for as long as the other end is there.
    pub(crate) fn new() -> (oneshot::Sender<()>, Self) {
        let (stays, left) = oneshot::channel();
        (stays, Self { left, decision: Decision::default() })
    }

    /// What `swapping` comes to, which is dropped where the asker leaves in time.
    pub(super) async fn stay_for(
        self,
        swapping: impl Future<Output = Result<Upgraded, UpgradeError>>,
    ) -> Result<Upgraded, UpgradeError> {
        let mut swapping = pin!(swapping);
        tokio::select! {
            biased;
            upgraded = &mut swapping => return upgraded,
            _left = self.left => {}
        }
        match self.decision.make() {
            Ok(()) => {
                tracing::warn!("{GONE}; it ends, and the pipeline goes on as it was");
                Err(UpgradeError::Refused(GONE.to_owned()))
            }
            Err(_) => swapping.await,
        }
    }
}

impl Decision {
    /// Decides, or says that the other one has.
    pub(super) fn make(&self) -> Result<(), String> {
        match self.0.swap(true, Ordering::SeqCst) {
            false => Ok(()),
            true => Err(GONE.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_comparison_ends_where_its_asker_leaves() {
        let (stays, asker) = Asker::new();
        let decision = asker.decision.clone();
        drop(stays);
        let upgraded = asker.stay_for(pending()).await;
        assert!(matches!(upgraded, Err(UpgradeError::Refused(_))));
        assert!(decision.make().is_err(), "the upgrade may not come about any more");
    }

    #[tokio::test]
    async fn an_upgrade_that_comes_about_comes_to_its_end_without_its_asker() {
        let (stays, asker) = Asker::new();
        assert_eq!(asker.decision.make(), Ok(()));
        drop(stays);
        let (end, ended) = oneshot::channel();
        let swapping = async { ended.await.expect("it is told") };
        let (upgraded, told) =
            tokio::join!(asker.stay_for(swapping), async { end.send(Ok(Upgraded::default())) });
        assert!(upgraded.is_ok() && told.is_ok());
    }

    #[tokio::test]
    async fn an_upgrade_that_somebody_waits_for_is_told_as_it_is() {
        let (_stays, asker) = Asker::new();
        let refused = UpgradeError::Refused("it does not fit".to_owned());
        assert_eq!(asker.stay_for(ready(Err(refused.clone()))).await.err(), Some(refused));
    }
}

//! How a running pipeline is told to stop.

use tokio::sync::watch;

/// What a pipeline has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Gracefully,
    Now,
}

/// The end that tells. Clones tell the same pipeline.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<Told>);

/// The end that listens. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Told>);

impl StopHandle {
    /// A pair that belongs together.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Told::Nothing);
        (Self(sender), Stop(receiver))
    }

    /// Stop receiving, process all that was received, then end.
    pub fn gracefully(&self) {
        self.tell(Told::Gracefully);
    }

    /// End without processing what is left.
    pub fn now(&self) {
        self.tell(Told::Now);
    }

    /// What was told before is never taken back.
    fn tell(&self, what: Told) {
        self.0.send_if_modified(|told| {
            let louder = what > *told;
            *told = what.max(*told);
            louder
        });
    }
}

impl Stop {
    /// Completes when the pipeline is told to stop, in whichever way.
    pub async fn told(&self) {
        self.hear(Told::Gracefully).await;
    }

    /// Completes when the pipeline is told to stop at once.
    pub async fn told_now(&self) {
        self.hear(Told::Now).await;
    }

    async fn hear(&self, what: Told) {
        let mut told = self.0.clone();
        if told.wait_for(|told| *told >= what).await.is_err() {
            // Nobody is left who could tell.
            std::future::pending::<()>().await;
        }
    }
}

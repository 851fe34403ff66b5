//! How a running pipeline is told to stop, or to pause.

use tokio::sync::watch;

/// What a pipeline has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    /// The number of the pause.
    Pause(u64),
    Gracefully,
    Now,
}

/// The end that tells. Clones tell the same pipeline.
#[derive(Clone, Debug)]
pub struct StopHandle {
    told: watch::Sender<Told>,
    paused: watch::Receiver<u64>,
}

/// The end that listens. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop {
    told: watch::Receiver<Told>,
    /// The number of the last pause that was begun.
    paused: watch::Sender<u64>,
}

/// While this lives, the pipeline receives nothing, and all that it has received is safe. Dropped, it goes on with
/// receiving, unless it was told to stop.
#[derive(Debug)]
pub struct Pause {
    told: watch::Sender<Told>,
    number: u64,
}

impl StopHandle {
    /// A pair that belongs together.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Told::Nothing);
        let (paused, begun) = watch::channel(0);
        (Self { told: sender, paused: begun }, Stop { told: receiver, paused })
    }

    /// Stop receiving, process all that was received, then end.
    pub fn gracefully(&self) {
        self.tell(Told::Gracefully);
    }

    /// End without processing what is left.
    pub fn now(&self) {
        self.tell(Told::Now);
    }

    /// Stop receiving for a while. Completes when the receivers have ended and what they have received is safe; what was
    /// received is processed meanwhile. Nothing, if the pipeline is told to stop, ends, or pauses already.
    pub async fn pause(&self) -> Option<Pause> {
        let mut number = *self.paused.borrow();
        let begun = self.told.send_if_modified(|told| {
            let is_free = *told == Told::Nothing;
            if is_free {
                number += 1;
                *told = Told::Pause(number);
            }
            is_free
        });
        let pause = begun.then(|| Pause { told: self.told.clone(), number })?;
        let (mut told, mut paused) = (self.told.subscribe(), self.paused.clone());
        let paused = tokio::select! {
            biased;
            _stopped = told.wait_for(|told| *told >= Told::Gracefully) => false,
            paused = paused.wait_for(|paused| *paused == number) => paused.is_ok(),
        };
        paused.then_some(pause)
    }

    /// What was told before is never taken back.
    fn tell(&self, what: Told) {
        self.told.send_if_modified(|told| {
            let louder = what > *told;
            *told = what.max(*told);
            louder
        });
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.told.send_if_modified(|told| {
            let is_over = *told == Told::Pause(self.number);
            if is_over {
                *told = Told::Nothing;
            }
            is_over
        });
    }
}

impl Stop {
    /// Completes when the pipeline is told to stop, in whichever way.
    pub async fn told(&self) {
        self.hear(|told| told >= Told::Gracefully).await;
    }

    /// Completes when the pipeline is told to stop at once.
    pub async fn told_now(&self) {
        self.hear(|told| told == Told::Now).await;
    }

    /// Completes when another pause than `known` is wanted, or none any more; gives which.
    pub(crate) async fn pause_other_than(&self, known: Option<u64>) -> Option<u64> {
        let wanted = |told| match told {
            Told::Nothing => Some(None),
            Told::Pause(number) => Some(Some(number)),
            Told::Gracefully | Told::Now => None,
        };
        let told = self.hear(|told| wanted(told).is_some_and(|wanted| wanted != known)).await;
        wanted(told).flatten()
    }

    /// Nothing is received any more, and all that was received is safe.
    pub(crate) fn has_paused(&self, number: u64) {
        self.paused.send_replace(number);
    }

    async fn hear(&self, wanted: impl Fn(Told) -> bool) -> Told {
        let mut told = self.told.clone();
        let heard = told.wait_for(|told| wanted(*told)).await.map(|told| *told);
        match heard {
            Ok(told) => told,
            // Nobody is left who could tell.
            Err(_) => std::future::pending().await,
        }
    }
}

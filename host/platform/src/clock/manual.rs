use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::Clock;

/// A clock that stands still until it is turned. Clones show the same time.
///
/// Sleepers wake in the order of their deadlines, and those of one deadline in the order in which they fell
/// asleep, so that a simulation on one thread goes the same way each time.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Face>>);

type Sleeper = oneshot::Sender<()>;

struct Face {
    /// The time of day when nothing had elapsed.
    day_ms: i64,
    elapsed: Duration,
    /// By deadline and then by number; all deadlines are yet to come.
    sleepers: BTreeMap<(Duration, u64), Sleeper>,
    next_number: u64,
}

impl ManualClock {
    /// A clock that shows `now_ms` as the time of day, and on which nothing has elapsed.
    pub fn new(now_ms: i64) -> Self {
        let face =
            Face { day_ms: now_ms, elapsed: Duration::ZERO, sleepers: BTreeMap::new(), next_number: 0 };
        Self(Arc::new(Mutex::new(face)))
    }

    /// Turns the time of day to `now_ms`. Where that is later, as much has elapsed; where it is earlier, only the
    /// time of day goes back.
    pub fn set(&self, now_ms: i64) {
        let mut face = self.face();
        let forward_ms = now_ms.saturating_sub(face.now_ms());
        let Ok(elapsed_ms) = u64::try_from(forward_ms) else {
            return face.step_day(forward_ms);
        };
        let due = face.advance(Duration::from_millis(elapsed_ms));
        drop(face);
        wake(due);
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let due = self.face().advance(time);
        wake(due);
    }

    /// Turns the time of day alone, forth or back, as when somebody sets the machine's clock.
    pub fn step_day(&self, ms: i64) {
        self.face().step_day(ms);
    }

    /// The earliest moment that is slept for, by [`Clock::elapsed`]: where a simulation in which nobody has
    /// anything left to do advances to. A sleep counts from its first poll until it ends or is dropped.
    pub fn next_sleeper(&self) -> Option<Duration> {
        self.face().sleepers.first_key_value().map(|((deadline, _number), _sleeper)| *deadline)
    }

    fn face(&self) -> MutexGuard<'_, Face> {
        self.0.lock().expect("nothing panics while it holds the clock")
    }
}

impl Face {
    fn now_ms(&self) -> i64 {
        self.day_ms.saturating_add(i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    fn step_day(&mut self, ms: i64) {
        self.day_ms = self.day_ms.saturating_add(ms);
    }

    /// Takes out who is to wake, in order.
    fn advance(&mut self, time: Duration) -> Vec<Sleeper> {
        self.elapsed = self.elapsed.saturating_add(time);
        let mut due = Vec::new();
        while let Some(earliest) = self.sleepers.first_entry()
            && earliest.key().0 <= self.elapsed
        {
            due.push(earliest.remove());
        }
        due
    }
}

/// Whoever is woken may look at the clock at once, so nobody holds it here.
fn wake(due: Vec<Sleeper>) {
    for sleeper in due {
        // One that has gone meanwhile does not need to wake.
        sleeper.send(()).ok();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.face().now_ms()
    }

    fn elapsed(&self) -> Duration {
        self.face().elapsed
    }

    async fn sleep_until(&self, elapsed: Duration) {
        if let Some(sleep) = Sleep::begin(self, elapsed) {
            sleep.end().await;
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let face = self.face();
        f.debug_struct("ManualClock")
            .field("now_ms", &face.now_ms())
            .field("elapsed", &face.elapsed)
            .finish_non_exhaustive()
    }
}

/// One sleep, which is forgotten when it is dropped.
struct Sleep<'a> {
    clock: &'a ManualClock,
    key: (Duration, u64),
    woken: oneshot::Receiver<()>,
}

impl<'a> Sleep<'a> {
    /// None where `deadline` has been reached.
    fn begin(clock: &'a ManualClock, deadline: Duration) -> Option<Self> {
        let mut face = clock.face();
        if face.elapsed >= deadline {
            return None;
        }
        let key = (deadline, face.next_number);
        face.next_number += 1;
        let (sleeper, woken) = oneshot::channel();
        face.sleepers.insert(key, sleeper);
        Some(Self { clock, key, woken })
    }

    async fn end(mut self) {
        (&mut self.woken).await.expect("the clock drops a sleeper only when it wakes it");
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.clock.face().sleepers.remove(&self.key);
    }
}

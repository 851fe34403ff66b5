//! One life of the process: an engine on a runtime with one thread, until it ends or is cut off.
//!
//! Time passes only when nobody has anything left to do, and then up to the next moment that somebody sleeps for. So a life
//! goes the same way each time, and one that makes no progress is found by the number of its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_platform::{Clock, FaultyDisk, ManualClock, Randomness, Seeded};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::outside::Outside;
use crate::{Application, Board, Engine, EngineError, Mode, StopHandle, Summary};

/// Steps of time in a life; one that has more makes no progress.
const STEPS_MAX: u64 = 20_000;
/// Operations of the disk in a life, likewise.
pub(super) const OPERATIONS_MAX: u64 = 50_000;
/// Room on the disk that is as good as no limit.
const PLENTY: u64 = 1 << 40;

/// What the trace says when a pipeline has waited for room.
pub(super) const FULL: &str = "until now it was in trouble";

/// How a life goes, unless it ends by itself before.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) mode: Mode,
    /// By what has elapsed since its start; they come in this order.
    pub(super) events: Vec<(Duration, Event)>,
}

/// What happens to a pipeline from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Somebody sets the machine's clock.
    ClockSet {
        ms: i64,
    },
    /// Somebody makes room on the disk.
    Room,
    /// It is told to stop when all that is to be received is acknowledged.
    StopWhenAcknowledged,
    StopGracefully,
    StopNow,
    /// It is cut off.
    Cut,
}

/// How a life ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Returned(Result<Summary, EngineError>),
    CutOff,
    /// It did not get anywhere.
    Stuck,
}

/// Lets time pass, and sees when a life is over.
struct Pulse {
    clock: ManualClock,
    disk: FaultyDisk,
    steps: AtomicU64,
    over: Notify,
}

impl Pulse {
    /// Nobody has anything left to do.
    fn beat(&self) {
        let steps = self.steps.fetch_add(1, Ordering::Relaxed);
        match self.clock.next_sleeper() {
            Some(next) if steps < STEPS_MAX && !self.disk.stopped() => {
                self.clock.advance(next.saturating_sub(self.clock.elapsed()));
            }
            _ => self.over.notify_one(),
        }
    }

    fn end(&self) -> End {
        let is_crash = self.disk.stopped() && self.disk.operations() < OPERATIONS_MAX;
        if is_crash { End::CutOff } else { End::Stuck }
    }
}

/// Runs a life. What it leaves is on the disk and outside.
pub(super) fn run(
    outside: &Arc<Outside>,
    disk: &FaultyDisk,
    course: &Course,
    application: Application,
    board: &Board,
) -> End {
    let (steps, over) = (AtomicU64::new(0), Notify::new());
    let pulse = Arc::new(Pulse { clock: outside.clock.clone(), disk: disk.clone(), steps, over });
    let beating = Arc::clone(&pulse);
    let runtime = Builder::new_current_thread().on_thread_park(move || beating.beat()).build().unwrap();
    runtime.block_on(async {
        let randomness = Arc::new(Seeded::new(outside.seeded.next_u64()));
        let engine = Engine::single(Arc::new(outside.clock.clone()), randomness);
        let (stop, told) = StopHandle::new();
        let running = Box::pin(engine.run(application, course.mode, told, board.clone()));
        tokio::select! {
            biased;
            ended = running => End::Returned(ended),
            () = pulse.over.notified() => pulse.end(),
            () = happen(outside, disk, &course.events, &stop, board) => End::CutOff,
        }
    })
    // The runtime goes, and with it all that the process was doing.
}

/// Lets everything happen that is to; completes when the life is to be cut off.
async fn happen(
    outside: &Outside,
    disk: &FaultyDisk,
    events: &[(Duration, Event)],
    stop: &StopHandle,
    board: &Board,
) {
    let start = outside.clock.elapsed();
    for (after, event) in events {
        outside.clock.sleep_until(start + *after).await;
        outside.note(format_args!("{event:?}"));
        match event {
            Event::ClockSet { ms } => outside.clock.step_day(*ms),
            Event::Room => {
                board
                    .read()
                    .trouble
                    .iter()
                    .for_each(|trouble| outside.note(format_args!("{FULL}: {trouble}")));
                disk.free(PLENTY);
            }
            Event::StopWhenAcknowledged => {
                while !outside.is_acknowledged() {
                    outside.clock.sleep_until(outside.clock.elapsed() + Duration::from_millis(500)).await;
                }
                stop.gracefully();
            }
            Event::StopGracefully => stop.gracefully(),
            Event::StopNow => stop.now(),
            Event::Cut => return,
        }
    }
    std::future::pending().await
}

//! What a pipeline that runs waits for.

use std::time::Duration;

use millstream_journal::JournalError;
use tokio::task::JoinError;

use super::Run;
use crate::commit::{Committer, Done};
use crate::process::Ran;
use crate::swap::{Opened, Stage, Swap};
use crate::upgrade::Asked;
use crate::{EngineError, Mode};

/// How old what the board shows may be.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What happens next to a pipeline that runs.
pub(super) enum Event {
    ToldNow,
    Told,
    /// Another pause is wanted than before, or none.
    Pause(Option<u64>),
    Committed(Committer, Result<Done, EngineError>),
    Ran(Ran),
    ReceiverFailed(EngineError),
    LogEnded(Result<(), JournalError>),
    Due,
    Show,
    Asked(Asked),
    Opened(Result<Opened, EngineError>),
    /// What runs beside the stream has come further.
    Rehearsed,
    /// Nobody waits for the rehearsal any more.
    Left,
    /// It is written down that the pipeline goes on with other code, or cannot be.
    Adopted(Result<(), String>),
    Retired,
    /// Code on probation has failed.
    Lost,
}

impl Run {
    /// Waits for what happens next. What is to be done first comes first, so that the order is always the same.
    pub(super) async fn next_event(&mut self) -> Event {
        let may_cut = self.may_cut();
        let show_at = self.processor.clock.elapsed() + SHOW_EVERY;
        let is_retiring = self.is_retiring();
        // One at a time: receivers make way for others, or for a while.
        let may_pause = self.retiring().is_none();
        let may_stop = !self.is_adopting();
        let (mode, ticks) = (self.mode, &mut self.ticks);
        let receivers = self.receivers.as_mut().expect("receivers are started before batches are cut");
        let closed = receivers.are_closed();
        let may_ask = self.swap.is_none() && !closed;
        let lost = self.trial.as_ref().map(|trial| Box::pin(trial.lost()));
        let (mut opening, mut understudy, mut asker, mut adopting) = (None, None, None, None);
        if let Some(Swap { stage, purpose }) = &mut self.swap {
            match stage {
                Stage::Opening(task) => opening = Some(task),
                Stage::Rehearsing(rehearsing) => {
                    (understudy, asker) = (rehearsing.understudy.as_mut(), purpose.asker());
                }
                Stage::Retiring(retiring) => match purpose.adopting() {
                    Some(task) => adopting = Some(task),
                    None => understudy = retiring.understudy.as_mut(),
                },
            }
        }
        let left = asker.map(|asker| Box::pin(asker.closed()));
        let further = understudy.map(|understudy| Box::pin(understudy.is_further()));
        let (full, failed, retired) = receivers.events();
        let due = async {
            match mode {
                _ if closed => {}
                Mode::Continuous => ticks.wait().await,
                Mode::Once => full.await,
            }
        };
        let writer = self.journal.as_mut().map(|journal| &mut journal.writer);
        tokio::select! {
            biased;
            () = self.stop.told_now() => Event::ToldNow,
            () = self.stop.told(), if may_stop && (!closed || self.paused.is_some()) => Event::Told,
            wanted = self.stop.pause_other_than(self.paused), if may_pause => Event::Pause(wanted),
            Some(()) = wait(lost) => Event::Lost,
            Some((committer, done)) = wait(self.committing.as_mut()) => {
                self.committing = None;
                Event::Committed(committer, done)
            }
            Some(ran) = wait(self.running.front_mut().map(|(_, task)| task)) => Event::Ran(ran),
            Some(ended) = wait(writer) => Event::LogEnded(ended.unwrap_or(Err(JournalError::Closed))),
            error = failed => Event::ReceiverFailed(error),
            Some(()) = wait(further) => Event::Rehearsed,
            Some(()) = wait(left) => Event::Left,
            Some(opened) = wait(opening) => Event::Opened(opened),
            Some(adopted) = wait(adopting) => Event::Adopted(value(adopted)),
            () = retired, if is_retiring => Event::Retired,
            () = due, if may_cut => Event::Due,
            asked = self.upgrades.next(), if may_ask => Event::Asked(asked),
            () = self.processor.clock.sleep_until(show_at) => Event::Show,
        }
    }
}

/// What a task came to that nobody cuts off. Where it has panicked, so does this.
fn value<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Waits for what is there; where nothing is, says so at once.
async fn wait<F: Future + Unpin>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

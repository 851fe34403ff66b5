//! How receivers make way for those of other code: each ends, and what it has received and no batch has taken is the
//! next one's, so that nothing is lost and nothing comes twice. The others receive meanwhile, and batches are cut.

use std::time::Duration;

use futures::future::join_all;
use millstream_model::Lane;
use millstream_platform::Clock;

use super::{CLOSE_TIME_MAX, Inlet, LaneStart, Receiver, Receivers};
use crate::EngineError;
use crate::application::SourceBinding;

/// What becomes of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Stays,
    /// Another takes its lane over, with what is in its queue.
    HandsOver,
    /// Its queue is for the code before alone, and is emptied before the other code begins.
    Drains,
}

impl Receivers {
    /// Lets those end that `sources` has others for, or none.
    pub(crate) fn retire(&mut self, sources: &[SourceBinding]) {
        for receiver in &mut self.lanes {
            receiver.fate = fate(receiver, sources);
            if receiver.fate != Fate::Stays {
                receiver.outlet.close();
            }
        }
        self.retired_by = Some(self.around.clock.elapsed() + CLOSE_TIME_MAX);
    }

    /// Whether all that are to end have ended.
    pub(crate) fn have_retired(&self) -> bool {
        retiring(&self.lanes).all(|receiver| receiver.outlet.has_ended())
    }

    /// Whether those have ended, and nothing is left in the queues that are to be empty.
    pub(crate) fn are_ready(&self) -> bool {
        let is_drained = |receiver: &Receiver| match receiver.fate {
            Fate::Drains => receiver.outlet.is_exhausted(),
            Fate::Stays | Fate::HandsOver => true,
        };
        self.have_retired() && self.lanes.iter().all(is_drained)
    }

    /// Cuts off those that take too long to end.
    pub(crate) fn cut_off(&mut self) {
        for receiver in retiring(&self.lanes).filter(|receiver| !receiver.outlet.has_ended()) {
            let lane = receiver.outlet.lane();
            tracing::warn!(source = %lane, "did not stop within {CLOSE_TIME_MAX:?} and is cut off");
            receiver.task.abort();
        }
        self.retired_by = None;
    }

    /// Whether one of `sources` has a lane that no receiver was on.
    pub(crate) fn lack_lanes_of(&self, sources: &[SourceBinding]) -> bool {
        let is_known = |lane: &Lane| self.lanes.iter().any(|receiver| receiver.outlet.lane() == lane);
        sources.iter().flat_map(SourceBinding::lanes).any(|lane| !is_known(&lane))
    }

    /// Starts the receivers of `sources` that do not run, each behind the one before it on its lane, or where `start`
    /// says, if there was none.
    pub(crate) fn succeed(
        &mut self,
        sources: &[SourceBinding],
        mut start: impl FnMut(&Lane) -> LaneStart,
    ) -> Result<(), EngineError> {
        self.retired_by = None;
        let mut before = std::mem::take(&mut self.lanes);
        for binding in sources {
            for lane in binding.lanes() {
                let at = before.iter().position(|receiver| receiver.outlet.lane() == &lane);
                match at.map(|at| before.swap_remove(at)) {
                    Some(receiver) if receiver.fate == Fate::Stays => self.lanes.push(receiver),
                    Some(receiver) => {
                        self.add(binding, |settings, _, _| Inlet::behind(&receiver.outlet, settings))?;
                    }
                    None => {
                        let start = start(&lane);
                        let begin =
                            |settings, wal, direct| Inlet::with(lane.clone(), settings, wal, direct, start);
                        self.add(binding, begin)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Completes when all that are to end have ended, or at the time by which they should have.
pub(super) fn retired(
    lanes: &[Receiver],
    by: Option<Duration>,
    clock: &dyn Clock,
) -> impl Future<Output = ()> {
    let ended = join_all(retiring(lanes).map(|receiver| receiver.outlet.ended()));
    async move {
        let Some(by) = by else { return std::future::pending().await };
        tokio::select! {
            biased;
            _ended = ended => {}
            () = clock.sleep_until(by) => {}
        }
    }
}

fn retiring(lanes: &[Receiver]) -> impl Iterator<Item = &Receiver> {
    lanes.iter().filter(|receiver| receiver.fate != Fate::Stays)
}

/// What becomes of a receiver where the sources are `sources`.
fn fate(receiver: &Receiver, sources: &[SourceBinding]) -> Fate {
    let (lane, binding) = (receiver.outlet.lane(), &receiver.binding);
    let next = sources.iter().find(|next| next.lanes().any(|of_next| of_next == *lane));
    match next {
        Some(next) if next.identity == binding.identity => Fate::Stays,
        Some(next) if next.format == binding.format => Fate::HandsOver,
        _ => Fate::Drains,
    }
}

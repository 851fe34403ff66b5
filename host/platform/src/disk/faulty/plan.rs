//! Which operations fail, and how.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::{Fault, Operation, Stopped};
use crate::Seeded;

/// Counts the operations and gives each its fate.
#[derive(Debug)]
pub(super) struct Plan {
    seeded: Seeded,
    asked: BTreeMap<Operation, u64>,
    /// By kind, and by number among those of its kind.
    script: BTreeMap<(Operation, u64), Fault>,
    odds: BTreeMap<Operation, u64>,
    /// How many bytes can still be appended.
    room: Option<u64>,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    after: u64,
    half_done: bool,
}

/// What becomes of an operation.
pub(super) enum Fate {
    Done,
    Refused(Failure),
    Broken { appended: u64, error: Failure },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Input,
    Full,
    Stopped,
}

impl Failure {
    pub(super) fn explain(self, operation: Operation, path: &Path) -> io::Error {
        match self {
            Self::Input => operation.explain(path, Errno::IO.into()),
            Self::Full => operation.explain(path, Errno::NOSPC.into()),
            Self::Stopped => io::Error::other(Stopped),
        }
    }
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let (asked, script, odds) = Default::default();
        Self { seeded, asked, script, odds, room: None, stop: None }
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.values().sum()
    }

    pub(super) fn asked_of(&self, operation: Operation) -> u64 {
        self.asked.get(&operation).copied().unwrap_or_default()
    }

    pub(super) fn fail(&mut self, operation: Operation, skip: u64, fault: Fault) {
        let number = self.asked_of(operation).saturating_add(skip);
        self.script.insert((operation, number), fault);
    }

    pub(super) fn fail_randomly(&mut self, operation: Operation, one_in: u64) {
        self.odds.insert(operation, one_in);
    }

    pub(super) fn heal(&mut self) {
        self.script.clear();
        self.odds.clear();
    }

    pub(super) fn limit_room(&mut self, bytes: u64) {
        self.room = Some(bytes);
    }

    pub(super) fn free(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room.saturating_add(bytes));
    }

    pub(super) fn stop_after(&mut self, operations: u64, half_done: bool) {
        self.stop = Some(Stop { after: operations, half_done });
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.asked() > stop.after)
    }

    /// What becomes of the next operation, which wants to append so many bytes.
    pub(super) fn fate(&mut self, operation: Operation, bytes: u64) -> Fate {
        let (number, number_of_all) = (self.asked_of(operation), self.asked());
        *self.asked.entry(operation).or_default() += 1;
        if let Some(stop) = self.stop.filter(|stop| number_of_all >= stop.after) {
            return self.stop_here(stop.half_done && number_of_all == stop.after, bytes);
        }
        match self.script.remove(&(operation, number)).or_else(|| self.chance_fault(operation, bytes)) {
            Some(Fault::Refused) => Fate::Refused(Failure::Input),
            Some(Fault::Broken { appended }) => {
                let appended = appended.min(bytes).min(self.room.unwrap_or(u64::MAX));
                self.take_room(appended);
                Fate::Broken { appended, error: Failure::Input }
            }
            None => self.fill(bytes),
        }
    }

    fn stop_here(&mut self, half_done: bool, bytes: u64) -> Fate {
        if half_done {
            let appended = self.seeded.below(bytes.saturating_add(1));
            Fate::Broken { appended, error: Failure::Stopped }
        } else {
            Fate::Refused(Failure::Stopped)
        }
    }

    fn chance_fault(&mut self, operation: Operation, bytes: u64) -> Option<Fault> {
        let one_in = self.odds.get(&operation).copied().filter(|one_in| *one_in > 0)?;
        let broken = Fault::Broken { appended: self.seeded.below(bytes.saturating_add(1)) };
        let fault = if self.seeded.chance(1, 2) { broken } else { Fault::Refused };
        self.seeded.chance(1, one_in).then_some(fault)
    }

    fn fill(&mut self, bytes: u64) -> Fate {
        match self.room {
            Some(room) if room < bytes => {
                self.room = Some(0);
                Fate::Broken { appended: room, error: Failure::Full }
            }
            _ => {
                self.take_room(bytes);
                Fate::Done
            }
        }
    }

    fn take_room(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room.saturating_sub(bytes));
    }
}

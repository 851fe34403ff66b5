//! What the records that are left of a damaged batch log reveal about those that are lost.

use millstream_model::{BatchTime, Lane, Records};

use super::{Cut, Ledger, Record};

impl Ledger {
    /// Takes into account what a record reveals about others before it that are lost: that what it continues was begun,
    /// and what comes before it in order is done. No batch behind `committed` was committed.
    pub(crate) fn infer(&mut self, record: &Record, committed: Option<BatchTime>) {
        match record {
            Record::Begin(manifest) if self.last.is_none_or(|last| last < manifest.time) => {
                let mut manifest = manifest.clone();
                // Where nothing comes of a batch whose beginning is lost, its records are left, and this batch has them.
                if committed <= self.last {
                    manifest.inputs.iter_mut().for_each(|input| self.go_on(&input.lane, &mut input.records));
                }
                // What it takes tells how far the batches before it came; of origins, all others stay known.
                for input in &manifest.inputs {
                    let is_same = self.lanes.get(&input.lane).is_some_and(|cut| cut.is_of(&input.records));
                    if !is_same {
                        self.lanes.remove(&input.lane);
                    }
                }
                self.begin(&manifest);
            }
            Record::Commit(commit) => {
                while self.pending.front().is_some_and(|manifest| manifest.time < commit.time) {
                    self.pending.pop_front();
                }
                self.unpublished = None;
                if self.pending.front().is_some_and(|manifest| manifest.time == commit.time) {
                    self.commit(commit);
                } else {
                    self.count(commit);
                    self.last = self.last.max(Some(commit.time));
                }
            }
            Record::Published { .. } => self.unpublished = None,
            Record::Reassigned { time, version } => self.reassign(*time, version),
            _ => {}
        }
    }

    /// Lets records of a lane begin no later than where those end that are known to have been cut.
    fn go_on(&self, lane: &Lane, records: &mut Records) {
        match (self.lanes.get(lane), records) {
            (Some(Cut::Logged { next, .. }), Records::Logged(range)) => {
                range.records.start = range.records.start.min(*next);
            }
            (Some(Cut::Direct { origins }), Records::Direct(ranges)) => {
                for range in ranges {
                    let same = origins.get(&range.origin).filter(|taken| taken.stamp == range.stamp);
                    let next = same.map_or(0, |taken| taken.records);
                    range.records.start = range.records.start.min(next);
                }
            }
            _ => {}
        }
    }
}

//! What the batch log comes to: a pure fold of its records.

mod infer;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use millstream_model::{
    BatchTime, Commit, FileEnd, Lane, LoggedRange, Manifest, OriginRange, Records, StateEnd, Version,
};
use serde::{Deserialize, Serialize};

use super::LedgerError;

/// One record of the batch log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// All records before it: the first of every segment.
    Snapshot(Box<Ledger>),
    /// A batch was cut.
    Begin(Manifest),
    /// A batch is done.
    Commit(Commit),
    /// A batch's outputs are where readers see them.
    Published {
        /// The batch.
        time: BatchTime,
    },
    /// A batch could not be run; it stays to be run.
    Failed(Failure),
    /// A batch that is pending is to be run by other code than it was begun by.
    Reassigned {
        /// The batch.
        time: BatchTime,
        /// What runs it from now on.
        version: Version,
    },
}

/// That a batch could not be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The batch.
    pub time: BatchTime,
    /// Why.
    pub error: String,
    /// How often it failed.
    pub attempts: u64,
}

/// What happened to all batches so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Ledger {
    /// How much of each lane has been cut into batches.
    #[serde(with = "pairs")]
    pub lanes: BTreeMap<Lane, Cut>,
    /// Batches that were begun and are not committed, in order.
    pub pending: VecDeque<Manifest>,
    /// The batch that is committed and not known to be published.
    pub unpublished: Option<(Manifest, Commit)>,
    /// The batch that was begun last.
    pub last: Option<BatchTime>,
    /// The pipeline's accumulators, as of the last commit.
    pub accumulators: BTreeMap<String, i64>,
    /// Records that committed batches put aside.
    pub dead_letters: u64,
    /// Where the file of dead letters ends, as of the last commit.
    pub dead_letters_end: FileEnd,
    /// Batches that are committed.
    pub batches: u64,
    /// Records that went into them.
    pub records: u64,
    /// The last failure, until that batch is committed.
    pub failure: Option<Failure>,
    /// Where the log of states ended with the last batch that changed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_end: Option<StateEnd>,
}

/// How much of a lane has been cut into batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// A receiver's lane.
    Logged {
        /// The number of the first record that no batch has.
        next: u64,
        /// Where the receiver goes on, as it said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Vec<u8>>,
    },
    /// A direct source's lane.
    Direct {
        /// What was taken of each origin that is remembered.
        origins: BTreeMap<String, Taken>,
    },
}

/// How much of an origin has been cut into batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Taken {
    /// Which state of the origin it was.
    pub stamp: String,
    /// How many of its records, from the first on.
    pub records: u64,
    /// Whether these are all.
    pub finished: bool,
}

impl Ledger {
    /// Takes one more record into account.
    ///
    /// # Errors
    /// Where the record contradicts those before it; the ledger is then as it was.
    pub fn apply(&mut self, record: &Record) -> Result<(), LedgerError> {
        self.check(record)?;
        match record {
            Record::Snapshot(ledger) => *self = Self::clone(ledger),
            Record::Begin(manifest) => self.begin(manifest),
            Record::Commit(commit) => self.commit(commit),
            Record::Published { .. } => self.unpublished = None,
            Record::Failed(failure) => self.failure = Some(failure.clone()),
            Record::Reassigned { time, version } => self.reassign(*time, version),
        }
        Ok(())
    }

    /// Whether a record can follow those before it.
    pub(crate) fn check(&self, record: &Record) -> Result<(), LedgerError> {
        match record {
            Record::Snapshot(_) => Ok(()),
            Record::Begin(manifest) => self.check_begin(manifest),
            Record::Commit(commit) => self.check_commit(commit.time),
            Record::Published { time } => {
                let unpublished = self.unpublished.as_ref().map(|(manifest, _)| manifest.time);
                in_order(*time, "published", unpublished)
            }
            Record::Failed(failure) => {
                let found = self.pending.iter().find(|manifest| manifest.time == failure.time);
                in_order(failure.time, "failed", found.map(|manifest| manifest.time))
            }
            Record::Reassigned { time, .. } => {
                let found = self.pending.iter().find(|manifest| manifest.time == *time);
                in_order(*time, "given to another version", found.map(|manifest| manifest.time))
            }
        }
    }

    /// For each receiver's lane, the first record that is needed: that a pending or unpublished batch or none has.
    pub fn released(&self) -> BTreeMap<Lane, u64> {
        let mut released = self.logged_ends();
        let unpublished = self.unpublished.iter().map(|(manifest, _)| manifest);
        for input in unpublished.chain(&self.pending).flat_map(|manifest| &manifest.inputs) {
            if let (Records::Logged(range), Some(first)) = (&input.records, released.get_mut(&input.lane)) {
                *first = range.records.start.min(*first);
            }
        }
        released
    }

    /// For each receiver's lane, the first record that no batch has.
    pub(crate) fn logged_ends(&self) -> BTreeMap<Lane, u64> {
        let mut ends = BTreeMap::new();
        for (lane, cut) in &self.lanes {
            if let Cut::Logged { next, .. } = cut {
                ends.insert(lane.clone(), *next);
            }
        }
        ends
    }

    fn check_begin(&self, manifest: &Manifest) -> Result<(), LedgerError> {
        let time = manifest.time;
        if let Some(last) = self.last.filter(|last| *last >= time) {
            return Err(LedgerError::NotLater { time, last });
        }
        // What the batch itself takes counts as well, should it name a lane or an origin twice.
        let mut lanes: BTreeMap<&Lane, Cut> = BTreeMap::new();
        for input in &manifest.inputs {
            let cut = match lanes.entry(&input.lane) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.cut_of(&input.lane, &input.records)),
            };
            match (cut, &input.records) {
                (Cut::Logged { next, .. }, Records::Logged(range)) => {
                    check_logged(time, &input.lane, *next, range)?;
                    *next = range.records.end;
                }
                (Cut::Direct { origins }, Records::Direct(ranges)) => {
                    for range in ranges {
                        check_direct(time, origins.get(&range.origin), range)?;
                        take(origins, range);
                    }
                }
                _ => return Err(LedgerError::OtherKind { time, lane: input.lane.clone() }),
            }
        }
        Ok(())
    }

    /// What was cut of a lane before, of the origins that `records` names.
    fn cut_of(&self, lane: &Lane, records: &Records) -> Cut {
        match (self.lanes.get(lane), records) {
            (Some(Cut::Direct { origins }), Records::Direct(ranges)) => {
                let known = ranges.iter().filter_map(|range| origins.get_key_value(&range.origin));
                Cut::Direct { origins: known.map(|(name, taken)| (name.clone(), taken.clone())).collect() }
            }
            (Some(Cut::Direct { .. }), _) => Cut::Direct { origins: BTreeMap::new() },
            (Some(logged), _) => logged.clone(),
            (None, records) => Cut::none(records),
        }
    }

    fn check_commit(&self, time: BatchTime) -> Result<(), LedgerError> {
        if let Some((manifest, _)) = &self.unpublished {
            let expected = format!("batch {} is to be published first", manifest.time);
            return Err(LedgerError::OutOfOrder { time, step: "committed", expected });
        }
        in_order(time, "committed", self.pending.front().map(|manifest| manifest.time))
    }

    fn begin(&mut self, manifest: &Manifest) {
        for input in &manifest.inputs {
            let cut = self.lanes.entry(input.lane.clone()).or_insert_with(|| Cut::none(&input.records));
            match (cut, &input.records) {
                (Cut::Logged { next, resume }, Records::Logged(range)) => {
                    *next = range.records.end;
                    if range.resume.is_some() {
                        resume.clone_from(&range.resume);
                    }
                }
                (Cut::Direct { origins }, Records::Direct(ranges)) => {
                    ranges.iter().for_each(|range| take(origins, range));
                }
                _ => unreachable!("the kinds were checked"),
            }
        }
        self.last = Some(manifest.time);
        self.pending.push_back(manifest.clone());
    }

    fn reassign(&mut self, time: BatchTime, version: &Version) {
        if let Some(manifest) = self.pending.iter_mut().find(|manifest| manifest.time == time) {
            manifest.version = version.clone();
        }
    }

    fn commit(&mut self, commit: &Commit) {
        let manifest = self.pending.pop_front().expect("that it is pending was checked");
        self.count(commit);
        self.unpublished = Some((manifest, commit.clone()));
    }

    fn count(&mut self, commit: &Commit) {
        for (name, amount) in &commit.accumulators {
            let sum = self.accumulators.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self.dead_letters = self.dead_letters.saturating_add(commit.dead_letters);
        if commit.dead_letters > 0 || commit.dead_letters_end != FileEnd::default() {
            self.dead_letters_end = commit.dead_letters_end;
        }
        self.state_end = commit.state_end.or(self.state_end);
        self.batches = self.batches.saturating_add(1);
        self.records = self.records.saturating_add(commit.records);
        self.failure = self.failure.take().filter(|failure| failure.time != commit.time);
    }
}

impl Cut {
    /// Whether that is of the same kind as `records`.
    pub fn is_of(&self, records: &Records) -> bool {
        matches!(
            (self, records),
            (Self::Logged { .. }, Records::Logged(_)) | (Self::Direct { .. }, Records::Direct(_))
        )
    }

    /// Nothing, of the kind of `records`.
    fn none(records: &Records) -> Self {
        match records {
            Records::Logged(_) => Self::Logged { next: 0, resume: None },
            Records::Direct(_) => Self::Direct { origins: BTreeMap::new() },
        }
    }
}

fn check_logged(time: BatchTime, lane: &Lane, next: u64, range: &LoggedRange) -> Result<(), LedgerError> {
    let records = &range.records;
    match records.start == next && records.start <= records.end {
        true => Ok(()),
        false => {
            let found = format!("{} to {}", records.start, records.end);
            Err(LedgerError::NotNext { time, of: lane.to_string(), found, expected: next })
        }
    }
}

/// An origin goes on where it was left; with another stamp it may also begin anew.
fn check_direct(time: BatchTime, taken: Option<&Taken>, range: &OriginRange) -> Result<(), LedgerError> {
    let records = &range.records;
    let expected = taken.map_or(0, |taken| taken.records);
    let is_anew = records.start == 0 && taken.is_none_or(|taken| taken.stamp != range.stamp);
    let is_over = taken.is_some_and(|taken| taken.finished && taken.stamp == range.stamp);
    let is_next = records.start == expected && !(is_over && records.start != records.end);
    match (is_anew || is_next) && records.start <= records.end {
        true => Ok(()),
        false => {
            let found = format!("{} to {}", records.start, records.end);
            Err(LedgerError::NotNext { time, of: range.origin.clone(), found, expected })
        }
    }
}

fn take(origins: &mut BTreeMap<String, Taken>, range: &OriginRange) {
    if range.forgotten {
        origins.remove(&range.origin);
        return;
    }
    let (stamp, records, finished) = (range.stamp.clone(), range.records.end, range.finished);
    origins.insert(range.origin.clone(), Taken { stamp, records, finished });
}

fn in_order(time: BatchTime, step: &'static str, expected: Option<BatchTime>) -> Result<(), LedgerError> {
    if expected == Some(time) {
        return Ok(());
    }
    let expected =
        expected.map_or("no such batch is there".to_owned(), |next| format!("batch {next} is next"));
    Err(LedgerError::OutOfOrder { time, step, expected })
}

/// A map as a list of pairs, since the keys of JSON are strings.
mod pairs {
    use std::collections::BTreeMap;

    use millstream_model::Lane;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Cut;

    pub(super) fn serialize<S: Serializer>(lanes: &BTreeMap<Lane, Cut>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(lanes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Lane, Cut>, D::Error> {
        Ok(Vec::<(Lane, Cut)>::deserialize(from)?.into_iter().collect())
    }
}

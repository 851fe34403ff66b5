//! What of a damaged journal can be saved, as segments to be written anew. Nothing here touches the disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_model::{BatchTime, Lane};

use crate::JournalError;
use crate::entry::{self, Entry, Start};
use crate::frame::Body;
use crate::log::{Ledger, Record, encode};
use crate::report::Scanned;
use crate::wal::LaneEnd;

/// What a repair comes to.
pub(crate) struct Plan {
    pub(crate) log: Mended,
    pub(crate) wal: Mended,
    /// How many records are lost of each lane.
    pub(crate) lost: BTreeMap<Lane, u64>,
}

/// Segments to be written anew, by number.
pub(crate) type Mended = Vec<(u64, Vec<Body>)>;

/// What to do about these segments of both logs.
pub(crate) fn plan(logs: &[Scanned], wals: &[Scanned]) -> Result<Plan, JournalError> {
    let (log, ledger) = mend_log(logs)?;
    let (wal, lost) = mend_wal(wals, &ledger);
    Ok(Plan { log, wal, lost })
}

/// The segments of the batch log that have to change. Behind damage, each segment goes on from what is known by then.
fn mend_log(segments: &[Scanned]) -> Result<(Mended, Ledger), JournalError> {
    let committed = last_committed(segments);
    let mut ledger = Ledger::default();
    let mut mended = Vec::new();
    for segment in segments {
        let mut is_changed = !segment.damages.is_empty();
        let mut records = Vec::new();
        for (at, frame) in segment.frames.iter().enumerate() {
            let Ok(record) = serde_json::from_slice::<Record>(&frame.body) else {
                is_changed = true;
                continue;
            };
            if at == 0 && !matches!(record, Record::Snapshot(_)) {
                records.push(snapshot(&ledger)?);
                is_changed = true;
            }
            match ledger.apply(&record) {
                Ok(()) => records.push(encode(&record)?),
                Err(_) => {
                    ledger.infer(&record, committed);
                    records.push(snapshot(&ledger)?);
                    is_changed = true;
                }
            }
        }
        if records.is_empty() {
            records.push(snapshot(&ledger)?);
            is_changed = true;
        }
        if is_changed {
            mended.push((segment.number, records));
        }
    }
    Ok((mended, ledger))
}

/// The batch that was committed last, as far as commits are left.
fn last_committed(segments: &[Scanned]) -> Option<BatchTime> {
    let records = segments.iter().flat_map(|segment| &segment.frames);
    let time = |record| match record {
        Record::Commit(commit) => Some(commit.time),
        _ => None,
    };
    records.filter_map(|frame| serde_json::from_slice(&frame.body).ok().and_then(time)).max()
}

fn snapshot(ledger: &Ledger) -> Result<Body, JournalError> {
    encode(&Record::Snapshot(Box::new(ledger.clone())))
}

/// The segments of the write-ahead log that have to change, and how many records are lost of each lane.
fn mend_wal(segments: &[Scanned], ledger: &Ledger) -> (Mended, BTreeMap<Lane, u64>) {
    let mut mender = Mender { ends: first_ends(segments, ledger), lost: BTreeMap::new() };
    let mut mended = Mended::new();
    let needed: BTreeMap<Lane, u64> = ledger.logged_ends();
    if segments.is_empty() && needed.values().any(|next| *next > 0) {
        let start = mender.start();
        let bodies = [vec![start], mender.lose_up_to(&needed)].concat();
        mended.push((1, bodies));
    }
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1);
        for missing in
            segments[..at].last().map_or(segment.number, |before| before.number + 1)..segment.number
        {
            mended.push((missing, vec![mender.start()]));
        }
        let mut bodies = vec![mender.start()];
        let mut is_changed = !segment.damages.is_empty();
        is_changed |= mender.take(segment, &mut bodies);
        // What the next segment begins with, or what batches took: as much must be here.
        let due = next.map_or_else(
            || needed.clone(),
            |next| starts(next).map_or_else(BTreeMap::new, |starts| nexts(&starts)),
        );
        let lost = mender.lose_up_to(&due);
        is_changed |= !lost.is_empty();
        bodies.extend(lost);
        if is_changed {
            mended.push((segment.number, bodies));
        }
    }
    (mended, mender.lost)
}

/// How far the lanes are while segments are gone through.
struct Mender {
    ends: BTreeMap<Lane, LaneEnd>,
    lost: BTreeMap<Lane, u64>,
}

impl Mender {
    fn start(&self) -> Body {
        let start = |(lane, end): (&Lane, &LaneEnd)| Start {
            lane: lane.clone(),
            next: end.next,
            resume: end.resume.as_ref().map(|resume| resume.to_vec()),
        };
        let begun = self.ends.iter().filter(|(_, end)| **end != LaneEnd::default());
        entry::encode_start(&begun.map(start).collect::<Vec<_>>())
    }

    /// Takes what is whole in a segment, and says whether that is not all as it should be.
    fn take(&mut self, segment: &Scanned, bodies: &mut Vec<Body>) -> bool {
        let found = starts(segment);
        let mut is_changed = found.as_ref().map(|found| nexts(found)) != Some(self.nexts());
        bodies.extend(self.lose_up_to(&found.map_or_else(BTreeMap::new, |found| nexts(&found))));
        for frame in &segment.frames {
            if frame.body.is_empty() || entry::decode_start(&frame.body).is_ok() {
                continue;
            }
            let Ok(entry) = Entry::decode(&frame.body) else {
                is_changed = true;
                continue;
            };
            let lost = self.lose_up_to(&BTreeMap::from([(entry.lane.clone(), entry.first)]));
            let next = self.ends.get(&entry.lane).map_or(0, |end| end.next);
            is_changed |= !lost.is_empty() || entry.first != next;
            bodies.extend(lost);
            if entry.first == next {
                self.ends.entry(entry.lane.clone()).or_default().pass(entry.end(), entry.resume.as_ref());
                bodies.push(frame.body.clone().into());
            }
        }
        is_changed
    }

    /// Entries that say which records are lost, for lanes that are to be as far.
    fn lose_up_to(&mut self, due: &BTreeMap<Lane, u64>) -> Vec<Body> {
        let mut bodies = Vec::new();
        for (lane, due) in due {
            let end = self.ends.entry(lane.clone()).or_default();
            if *due > end.next {
                bodies.push(Entry::lost(lane, end.next, due - end.next).encode());
                *self.lost.entry(lane.clone()).or_default() += due - end.next;
                end.next = *due;
            }
        }
        bodies
    }

    fn nexts(&self) -> BTreeMap<Lane, u64> {
        let begun = self.ends.iter().filter(|(_, end)| end.next > 0);
        begun.map(|(lane, end)| (lane.clone(), end.next)).collect()
    }
}

/// How far the lanes were before the first segment: as it says, but no further than the first records that are needed.
/// Where it does not say, as far as its entries and the records that are needed tell.
fn first_ends(segments: &[Scanned], ledger: &Ledger) -> BTreeMap<Lane, LaneEnd> {
    let released = ledger.released();
    let Some(first) = segments.first() else {
        let end = |(lane, next)| (lane, LaneEnd { next, resume: None });
        return released.into_iter().map(end).collect();
    };
    let mut ends = BTreeMap::new();
    match starts(first) {
        Some(starts) => ends.extend(starts.into_iter().map(|start| {
            let next = start.next.min(released.get(&start.lane).copied().unwrap_or(0));
            (start.lane, LaneEnd { next, resume: start.resume.map(Bytes::from) })
        })),
        None => {
            for entry in first.frames.iter().filter_map(|frame| Entry::decode(&frame.body).ok()) {
                let next =
                    released.get(&entry.lane).map_or(entry.first, |released| entry.first.min(*released));
                ends.entry(entry.lane).or_insert(LaneEnd { next, resume: None });
            }
            for (lane, next) in released {
                ends.entry(lane).or_insert(LaneEnd { next, resume: None });
            }
        }
    }
    ends
}

fn starts(segment: &Scanned) -> Option<Vec<Start>> {
    entry::decode_start(&segment.frames.first()?.body).ok()
}

fn nexts(starts: &[Start]) -> BTreeMap<Lane, u64> {
    let begun = starts.iter().filter(|start| start.next > 0);
    begun.map(|start| (start.lane.clone(), start.next)).collect()
}

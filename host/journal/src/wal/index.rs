//! What the write-ahead log knows in memory: where the records are that may still be read.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use millstream_model::Lane;

use crate::entry::{Entry, Start};

/// Records that lie together in the log, and may still be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Their numbers in the lane.
    pub records: Range<u64>,
    /// How many bytes they take.
    pub bytes: usize,
}

/// How far a lane has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneEnd {
    /// The number that the next record gets.
    pub next: u64,
    /// Where its receiver goes on, as it said last.
    pub resume: Option<Bytes>,
}

impl LaneEnd {
    /// Goes on behind an entry.
    pub(crate) fn pass(&mut self, end: u64, resume: Option<&Bytes>) {
        self.next = end;
        if resume.is_some() {
            self.resume = resume.cloned();
        }
    }
}

/// Where an entry lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) records: Range<u64>,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Of the whole frame.
    pub(crate) length: usize,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Entries that may still be read.
    held: usize,
}

/// Segments, and lanes with the places of their entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Rising by number.
    pub(crate) segments: VecDeque<Segment>,
    lanes: BTreeMap<Lane, LanePlaces>,
}

/// A record is needed until both have let it go: whoever runs batches, and the batch log as it is on disk.
#[derive(Clone, Debug, Default)]
struct LanePlaces {
    /// Behind all that is written.
    written: LaneEnd,
    released: u64,
    settled: u64,
    places: VecDeque<Place>,
}

impl Index {
    /// An index that knows only from where on records are needed.
    pub(crate) fn new(released: BTreeMap<Lane, u64>) -> Self {
        let places = |below| LanePlaces { released: below, settled: below, ..LanePlaces::default() };
        let lanes = released.into_iter().map(|(lane, below)| (lane, places(below))).collect();
        Self { segments: VecDeque::new(), lanes }
    }

    /// The number of the next segment to be made.
    pub(crate) fn next_segment(&self) -> u64 {
        self.segments.back().map_or(1, |segment| segment.number + 1)
    }

    /// A segment begins behind those that are there.
    pub(crate) fn add_segment(&mut self, number: u64, bytes: u64) {
        self.segments.push_back(Segment { number, bytes, held: 0 });
    }

    /// An entry of the last segment is on disk. An entry that nobody needs is only passed.
    pub(crate) fn add(&mut self, entry: &Entry, offset: u64, length: usize) {
        let segment = self.segments.back_mut().expect("entries are added to a segment");
        segment.bytes = segment.bytes.max(offset + length as u64);
        let lane = self.lanes.entry(entry.lane.clone()).or_default();
        lane.written.pass(entry.end(), entry.resume.as_ref());
        if entry.rows > 0 && entry.end() > lane.floor() {
            segment.held += 1;
            let records = entry.first..entry.end();
            lane.places.push_back(Place { records, segment: segment.number, offset, length });
        }
    }

    /// How far each lane is written.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&Lane, &LaneEnd)> {
        self.lanes.iter().map(|(lane, places)| (lane, &places.written))
    }

    /// The number of the next record of a lane to be written.
    pub(crate) fn next_of(&self, lane: &Lane) -> u64 {
        self.lanes.get(lane).map_or(0, |places| places.written.next)
    }

    /// Sets how far lanes were before the first entry that is added.
    pub(crate) fn begin(&mut self, starts: &[Start]) {
        for start in starts {
            let resume = start.resume.clone().map(Bytes::from);
            self.lanes.entry(start.lane.clone()).or_default().written = LaneEnd { next: start.next, resume };
        }
    }

    /// How far each lane is written, for the start of a segment.
    pub(crate) fn starts(&self) -> Vec<Start> {
        let written = self.ends().filter(|(_, end)| **end != LaneEnd::default());
        let start = |(lane, end): (&Lane, &LaneEnd)| Start {
            lane: lane.clone(),
            next: end.next,
            resume: end.resume.as_ref().map(|resume| resume.to_vec()),
        };
        written.map(start).collect()
    }

    /// All records that may still be read, by lane.
    pub(crate) fn unreleased(&self) -> Vec<(Lane, Vec<Extent>)> {
        let held = self.lanes.iter().filter(|(_, lane)| !lane.places.is_empty());
        held.map(|(lane, held)| (lane.clone(), held.extents())).collect()
    }

    /// The places of `records`, if they are all there.
    pub(crate) fn places(&self, lane: &Lane, records: &Range<u64>) -> Option<Vec<Place>> {
        if records.is_empty() {
            return Some(Vec::new());
        }
        let places = &self.lanes.get(lane)?.places;
        let first = places.partition_point(|place| place.records.end <= records.start);
        let end = places.partition_point(|place| place.records.start < records.end);
        let found: Vec<Place> = places.range(first..end.max(first)).cloned().collect();
        let is_whole =
            found.first()?.records.start <= records.start && records.end <= found.last()?.records.end;
        is_whole.then_some(found)
    }

    /// Whoever runs batches never reads records of the lane below that again.
    pub(crate) fn release(&mut self, lane: &Lane, below: u64) {
        if let Some(places) = self.lanes.get_mut(lane) {
            places.released = places.released.max(below);
            self.drop_released(lane);
        }
    }

    /// The batch log is on disk and needs no records below these.
    pub(crate) fn settle(&mut self, below: &BTreeMap<Lane, u64>) {
        for (lane, below) in below {
            let Some(places) = self.lanes.get_mut(lane) else { continue };
            if *below > places.settled {
                places.settled = *below;
                self.drop_released(lane);
            }
        }
    }

    /// The oldest segment, if none of its entries is needed and such segments take more than `history_bytes` together.
    /// The newest always stays: it knows how far the lanes are.
    pub(crate) fn removable(&self, history_bytes: u64) -> Option<u64> {
        let newest = self.segments.back()?.number;
        let released =
            self.segments.iter().take_while(|segment| segment.held == 0 && segment.number != newest);
        let bytes: u64 = released.map(|segment| segment.bytes).sum();
        let oldest = self.segments.front().filter(|_| bytes > history_bytes)?;
        Some(oldest.number)
    }

    /// The oldest segment is gone.
    pub(crate) fn removed(&mut self, number: u64) {
        self.segments.retain(|segment| segment.number != number);
    }

    /// What all segments take.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn drop_released(&mut self, lane: &Lane) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let floor = lane.floor();
        while let Some(place) = lane.places.pop_front_if(|place| place.records.end <= floor) {
            let found = self.segments.binary_search_by_key(&place.segment, |segment| segment.number);
            let at = found.expect("a segment with entries that are needed is not removed");
            self.segments[at].held -= 1;
        }
    }
}

impl LanePlaces {
    fn floor(&self) -> u64 {
        self.released.min(self.settled)
    }

    fn extents(&self) -> Vec<Extent> {
        let floor = self.floor();
        let extent = |place: &Place| Extent {
            records: place.records.start.max(floor)..place.records.end,
            bytes: place.length,
        };
        self.places.iter().map(extent).collect()
    }
}

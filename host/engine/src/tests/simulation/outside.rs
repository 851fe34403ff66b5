//! What is outside of the pipeline and survives it: records to be received, what was acknowledged, and what is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use millstream_model::{Block, Position};
use millstream_platform::{Clock, ManualClock, Seeded};

use super::sources::{RECEIVER, SHELF};

/// The world, and what happened in it.
pub(super) struct Outside {
    pub(super) clock: ManualClock,
    pub(super) seeded: Seeded,
    /// What receivers are given, then what the direct source finds.
    pub(super) streams: Vec<Stream>,
    pub(super) origins: Vec<Stream>,
    /// Whether the pipeline numbers the rows of each, which takes states.
    pub(super) numbered: bool,
    facts: Mutex<Facts>,
}

/// Records in order, each there from a moment on.
pub(super) struct Stream {
    pub(super) name: String,
    records: Vec<Record>,
}

struct Record {
    kind: Kind,
    text: String,
    from: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// The decoder rejects it.
    Bad,
    /// The source rejects it.
    Rejected,
}

/// What has happened.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) trace: Vec<String>,
    /// By stream, how many of its records are safe as the pipeline says.
    pub(super) acknowledged: BTreeMap<String, u64>,
    /// By stream, how many of its records were handed to the pipeline in this life or an earlier one.
    pub(super) sent: BTreeMap<String, u64>,
    /// Origins that the pipeline, when it started, knew it had whole.
    pub(super) finished: BTreeSet<String>,
    /// Files that were seen: a batch's time and its rows.
    pub(super) files: BTreeMap<i64, Vec<String>>,
    /// What a database has that takes a batch as a whole.
    pub(super) base: BTreeMap<i64, Vec<String>>,
    /// What must not be.
    pub(super) violations: Vec<String>,
}

impl Stream {
    fn new(name: &str, seeded: &Seeded) -> Self {
        let mut from = Duration::ZERO;
        let records = (0..seeded.below(30)).map(|number| {
            if seeded.chance(1, 3) {
                from += Duration::from_millis(seeded.below(2_000));
            }
            let kind = match seeded.below(12) {
                0 => Kind::Bad,
                1 => Kind::Rejected,
                _ => Kind::Good,
            };
            let pad = "x".repeat(seeded.below(20) as usize);
            let word = if kind == Kind::Bad { "bad " } else { "" };
            Record { kind, text: format!("{word}{name}:{number}:{pad}"), from }
        });
        Self { records: records.collect(), name: name.to_owned() }
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// How many records are there now.
    pub(super) fn available(&self, clock: &ManualClock) -> u64 {
        self.records.partition_point(|record| record.from <= clock.elapsed()) as u64
    }

    /// When record `number` will be there.
    pub(super) fn from(&self, number: u64) -> Duration {
        self.records[number as usize].from
    }

    /// When all are there.
    pub(super) fn complete_from(&self) -> Duration {
        self.records.last().map_or(Duration::ZERO, |record| record.from)
    }

    /// A block of records from `first` on, not beyond `end`; its `resume` names the stream and the record behind it.
    pub(super) fn block(&self, first: u64, end: u64) -> Block {
        let records = &self.records[first as usize..end as usize];
        let position = Position { origin: self.name.as_str().into(), record: first };
        let block = match &records[0] {
            Record { kind: Kind::Rejected, text, .. } => {
                Block::rejected("no end", text.clone().into(), position)
            }
            _ => {
                let lines = records.iter().take_while(|record| record.kind != Kind::Rejected);
                let lines: Vec<String> = lines.map(|record| format!("{}\n", record.text)).collect();
                Block::lines(lines.concat().into(), lines.len(), position)
            }
        };
        let resume = self.resume(first + block.rows as u64);
        Block { resume: Some(resume.into()), ..block }
    }

    /// What a receiver leaves to itself for going on at `record`.
    pub(super) fn resume(&self, record: u64) -> String {
        format!("{} {record}", self.name)
    }

    pub(super) fn good(&self) -> impl Iterator<Item = String> {
        let good = self.records.iter().filter(|record| record.kind == Kind::Good);
        good.map(|record| record.text.clone())
    }

    pub(super) fn rejected(&self) -> impl Iterator<Item = String> {
        let rejected = self.records.iter().filter(|record| record.kind != Kind::Good);
        rejected.map(|record| record.text.clone())
    }
}

impl Outside {
    /// A world with up to three streams to be received, or up to four origins, or both.
    pub(super) fn new(seed: u64, clock: ManualClock) -> Self {
        let seeded = Seeded::new(seed);
        let (streams, origins) = match seeded.below(3) {
            0 => (1 + seeded.below(3), 0),
            1 => (0, 1 + seeded.below(4)),
            _ => (1 + seeded.below(2), 1 + seeded.below(3)),
        };
        let streams = (0..streams).map(|number| Stream::new(&format!("peer-{number}"), &seeded)).collect();
        let origins = (0..origins).map(|number| Stream::new(&format!("file-{number}"), &seeded)).collect();
        let numbered = seeded.chance(1, 4);
        Self { clock, streams, origins, numbered, seeded, facts: Mutex::default() }
    }

    /// The names of the sources that there are.
    pub(super) fn sources(&self) -> Vec<&'static str> {
        let receiver = (!self.streams.is_empty()).then_some(RECEIVER);
        receiver.into_iter().chain((!self.origins.is_empty()).then_some(SHELF)).collect()
    }

    /// Both kinds of streams.
    pub(super) fn all(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().chain(&self.origins)
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap()
    }

    pub(super) fn note(&self, event: impl Display) {
        let at = self.clock.elapsed().as_millis();
        self.facts().trace.push(format!("{at:>7} {event}"));
    }

    pub(super) fn violate(&self, what: impl Display) {
        self.note(format!("VIOLATION {what}"));
        self.facts().violations.push(what.to_string());
    }

    pub(super) fn acknowledged(&self, stream: &str) -> u64 {
        self.facts().acknowledged.get(stream).copied().unwrap_or_default()
    }

    /// Whether all that is to be received is safe, as the pipeline says.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.streams.iter().all(|stream| self.acknowledged(&stream.name) == stream.len())
    }

    /// From when on every record is there.
    pub(super) fn complete_from(&self) -> Duration {
        self.all().map(Stream::complete_from).max().unwrap_or_default()
    }
}

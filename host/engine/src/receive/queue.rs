//! What a receiver has sent and no batch has taken: its blocks in order, and what bounds them.
//!
//! Every block has its place in the lane: its records are numbered on from those before. A block that is logged may be
//! taken once the write-ahead log has it on disk, and may be left out of memory then: what is not in memory is read
//! from the log when a batch takes it. Blocks found in the log after a restart are the same thing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millstream_journal::{Extent, Wal};
use millstream_model::{Block, Lane, LoggedRange, OriginRange, Records};

use super::budget::{Budget, Lease};
use super::settings::InletSettings;

/// What has been taken of one origin of a direct source.
pub use millstream_journal::Taken;

/// A block in the queue.
#[derive(Debug)]
struct Held {
    /// The number of its first record in the lane.
    first: u64,
    rows: usize,
    bytes: usize,
    /// Its number in the write-ahead log; 0 without one.
    entry: u64,
    resume: Option<Bytes>,
    /// Where it is in memory: its payload and what that uses of the budget.
    block: Option<(Block, Arc<Lease>)>,
}

/// What is in the queue, in order.
#[derive(Debug)]
enum Item {
    Block(Held),
    Mark(Mark),
}

/// What a direct source says between blocks.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    Opened { origin: String, stamp: String },
    Finished { origin: String },
    Forgotten { origin: String },
}

/// What a batch takes from a lane.
#[derive(Debug)]
pub struct Cut {
    /// Which records they are.
    pub records: Records,
    /// Those that are in memory, in order.
    pub blocks: Vec<Block>,
    /// Whether all of them are.
    pub complete: bool,
    /// How many records there are.
    pub rows: usize,
    /// What the blocks use of the lane's memory.
    pub(crate) leases: Vec<Arc<Lease>>,
}

/// The queue of one lane.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) lane: Lane,
    items: VecDeque<Item>,
    pub(super) rows: usize,
    /// Bytes of the blocks that are queued, in memory or not.
    pub(super) bytes: usize,
    /// Bytes of those that are not in memory.
    pub(super) spilled_bytes: usize,
    /// The number that the next record gets.
    next: u64,
    /// The log's number of the last block.
    pub(super) last_entry: u64,
    /// The last block's.
    pub(super) resume: Option<Bytes>,
    /// What the source has delivered of each origin, if it is direct.
    pub(super) origins: BTreeMap<String, Taken>,
    /// The stamps that ranges of the next batches carry: those of the origins as the cut goes through them.
    cut_origins: BTreeMap<String, (String, u64)>,
    direct: bool,
}

/// Where a lane begins: behind what batches and the log have of it.
#[derive(Clone, Debug, Default)]
pub struct LaneStart {
    /// The number of the lane's next record.
    pub next: u64,
    /// Where a reliable receiver goes on.
    pub resume: Option<Bytes>,
    /// What batches have taken of each origin of a direct source.
    pub origins: BTreeMap<String, Taken>,
    /// Runs of records that are in the log and that no batch has taken.
    pub logged: Vec<Extent>,
}

impl LaneStart {
    /// Behind what batches have taken.
    pub(crate) fn behind(taken: millstream_journal::Cut) -> Self {
        match taken {
            millstream_journal::Cut::Logged { next, resume } => {
                Self { next, resume: resume.map(Bytes::from), ..Self::default() }
            }
            millstream_journal::Cut::Direct { origins } => Self { origins, ..Self::default() },
        }
    }
}

impl Queue {
    pub(super) fn new(lane: Lane, direct: bool, start: LaneStart) -> Self {
        let mut queue = Self {
            lane,
            items: VecDeque::new(),
            rows: 0,
            bytes: 0,
            spilled_bytes: 0,
            next: start.next,
            last_entry: 0,
            resume: start.resume,
            cut_origins: start
                .origins
                .iter()
                .map(|(name, taken)| (name.clone(), (taken.stamp.clone(), taken.records)))
                .collect(),
            origins: start.origins,
            direct,
        };
        for Extent { records, bytes } in start.logged {
            let rows = usize::try_from(records.end - records.start).unwrap_or(usize::MAX);
            queue.next = queue.next.max(records.end);
            queue.push_held(Held { first: records.start, rows, bytes, entry: 0, resume: None, block: None });
        }
        queue
    }

    /// Takes a block in: into the log, if there is one, and into memory unless it is to stay on disk alone.
    pub(super) fn push(&mut self, block: Block, wal: Option<&Wal>, memory: Option<&Arc<Budget>>) {
        if block.rows == 0 {
            return;
        }
        let (first, rows, bytes) = (self.next, block.rows, block.size_bytes());
        let entry = wal.map_or(0, |wal| wal.submit(&self.lane, first, &block));
        self.last_entry = entry;
        self.next += rows as u64;
        if block.resume.is_some() {
            self.resume.clone_from(&block.resume);
        }
        if self.direct
            && let Some(taken) = self.origins.get_mut(&*block.position.origin)
        {
            taken.records = block.position.record + rows as u64;
        }
        let resume = block.resume.clone();
        let block = memory.map(|budget| (block, Arc::new(budget.lease(bytes))));
        self.push_held(Held { first, rows, bytes, entry, resume, block });
    }

    fn push_held(&mut self, held: Held) {
        self.rows += held.rows;
        self.bytes += held.bytes;
        if held.block.is_none() {
            self.spilled_bytes += held.bytes;
        }
        self.items.push_back(Item::Block(held));
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        match &mark {
            Mark::Opened { origin, stamp } => {
                self.origins.entry(origin.clone()).or_default().stamp.clone_from(stamp);
            }
            Mark::Finished { origin } => self.origins.entry(origin.clone()).or_default().finished = true,
            Mark::Forgotten { origin } => drop(self.origins.remove(origin)),
        }
        self.items.push_back(Item::Mark(mark));
    }

    /// The same queue, for another holder; this one is empty from now on, and is not to be used any more.
    pub(super) fn hand_over(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.lane.clone(), self.direct, LaneStart::default()))
    }

    /// The number that the next record gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whole blocks from the front that are on disk where they must be, and a part of one where it would be too many.
    pub(super) fn cut(&mut self, durable: u64, settings: &InletSettings) -> Cut {
        let mut cutting = Cutting::new(self.direct, self.next_cut());
        while cutting.rows < settings.batch_rows_max && cutting.bytes < settings.batch_bytes_max() {
            match self.items.pop_front() {
                None => break,
                Some(Item::Mark(mark)) => cutting.mark(&mut self.cut_origins, mark),
                Some(Item::Block(held)) if held.entry > durable => {
                    self.items.push_front(Item::Block(held));
                    break;
                }
                Some(Item::Block(mut held)) => {
                    let room = settings.batch_rows_max - cutting.rows;
                    self.forget_held(&held);
                    if held.rows > room {
                        let rest = held.split_off(room);
                        self.unforget_held(&rest);
                        self.items.push_front(Item::Block(rest));
                    }
                    cutting.block(&mut self.cut_origins, held);
                }
            }
        }
        while let Some(Item::Mark(_)) = self.items.front()
            && let Some(Item::Mark(mark)) = self.items.pop_front()
        {
            cutting.mark(&mut self.cut_origins, mark);
        }
        cutting.finish()
    }

    /// The first record that no batch has taken.
    fn next_cut(&self) -> u64 {
        let first = self.items.iter().find_map(|item| match item {
            Item::Block(held) => Some(held.first),
            Item::Mark(_) => None,
        });
        first.unwrap_or(self.next)
    }

    fn forget_held(&mut self, held: &Held) {
        self.rows -= held.rows;
        self.bytes -= held.bytes;
        if held.block.is_none() {
            self.spilled_bytes -= held.bytes;
        }
    }

    fn unforget_held(&mut self, held: &Held) {
        self.rows += held.rows;
        self.bytes += held.bytes;
        if held.block.is_none() {
            self.spilled_bytes += held.bytes;
        }
    }
}

impl Held {
    /// Leaves the first `rows` records and gives the others.
    fn split_off(&mut self, rows: usize) -> Self {
        let rest_block = self
            .block
            .as_mut()
            .map(|(block, lease)| (millstream_journal::split_off(block, rows), Arc::clone(lease)));
        let share = self.bytes / self.rows.max(1) * rows;
        let rest = Self {
            first: self.first + rows as u64,
            rows: self.rows - rows,
            bytes: self.bytes - share,
            entry: self.entry,
            resume: self.resume.take(),
            block: rest_block,
        };
        (self.rows, self.bytes) = (rows, share);
        rest
    }
}

/// A cut in the making.
struct Cutting {
    direct: bool,
    start: u64,
    end: u64,
    rows: usize,
    bytes: usize,
    resume: Option<Bytes>,
    ranges: Vec<OriginRange>,
    blocks: Vec<Block>,
    leases: Vec<Arc<Lease>>,
    complete: bool,
}

impl Cutting {
    fn new(direct: bool, start: u64) -> Self {
        Self {
            direct,
            start,
            end: start,
            rows: 0,
            bytes: 0,
            resume: None,
            ranges: Vec::new(),
            blocks: Vec::new(),
            leases: Vec::new(),
            complete: true,
        }
    }

    fn mark(&mut self, origins: &mut BTreeMap<String, (String, u64)>, mark: Mark) {
        match mark {
            Mark::Opened { origin, stamp } => origins.entry(origin).or_default().0 = stamp,
            Mark::Finished { origin } => self.range(origins, &origin, 0).finished = true,
            Mark::Forgotten { origin } => {
                self.range(origins, &origin, 0).forgotten = true;
                origins.remove(&origin);
            }
        }
    }

    fn block(&mut self, origins: &mut BTreeMap<String, (String, u64)>, held: Held) {
        self.rows += held.rows;
        self.bytes += held.bytes;
        self.end = held.first + held.rows as u64;
        self.resume = held.resume.or(self.resume.take());
        let Some((block, lease)) = held.block else {
            self.complete = false;
            return;
        };
        if self.direct {
            self.range(origins, &block.position.origin, block.rows as u64);
        }
        self.blocks.push(block);
        self.leases.push(lease);
    }

    /// The range of `origin` that is being cut, `rows` longer.
    fn range(
        &mut self,
        origins: &mut BTreeMap<String, (String, u64)>,
        origin: &str,
        rows: u64,
    ) -> &mut OriginRange {
        let (stamp, taken) = origins.entry(origin.to_owned()).or_default();
        let start = *taken;
        *taken += rows;
        let known = self
            .ranges
            .iter()
            .rposition(|range| range.origin == origin && range.stamp == *stamp && !range.forgotten);
        let at = known.unwrap_or_else(|| {
            let (origin, stamp) = (origin.to_owned(), stamp.clone());
            let range =
                OriginRange { origin, stamp, records: start..start, finished: false, forgotten: false };
            self.ranges.push(range);
            self.ranges.len() - 1
        });
        self.ranges[at].records.end += rows;
        &mut self.ranges[at]
    }

    fn finish(self) -> Cut {
        let records = match self.direct {
            true => Records::Direct(self.ranges),
            false => Records::Logged(LoggedRange {
                records: self.start..self.end,
                resume: self.resume.map(|resume| resume.to_vec()),
            }),
        };
        let Self { rows, blocks, leases, complete, .. } = self;
        Cut { records, blocks, complete, rows, leases }
    }
}

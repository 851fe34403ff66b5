//! What a batch computes from, as data: the unit of recovery and of replay.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::BatchTime;

/// One receiver of a source: what is received in order, numbered without gaps and acknowledged in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The source's name in the pipeline.
    pub source: String,
    /// The receiver among the source's, from 0.
    pub receiver: u32,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.receiver {
            0 => f.write_str(&self.source),
            receiver => write!(f, "{}#{receiver}", self.source),
        }
    }
}

/// What a batch computes from: with the state that it starts from, it alone decides what comes out.
/// Written before the batch runs, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The batch's time and name.
    pub time: BatchTime,
    /// What the batch takes from each lane.
    pub inputs: Vec<LaneInput>,
    /// The code that computes it.
    pub version: Version,
}

/// What a batch takes from one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LaneInput {
    /// The lane.
    pub lane: Lane,
    /// Its records.
    pub records: Records,
}

/// Which records of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Records {
    /// A receiver's, by their numbers in the write-ahead log.
    Logged(LoggedRange),
    /// A direct source's, to be read again where they came from.
    Direct(Vec<OriginRange>),
}

/// A run of a receiver's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoggedRange {
    /// Counted from 0 since the lane began.
    pub records: Range<u64>,
    /// Where a reliable receiver goes on behind them, if it said so: bytes of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Vec<u8>>,
}

/// A run of records of one origin of a direct source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OriginRange {
    /// A file's path, a partition's name.
    pub origin: String,
    /// What tells whether the origin still holds the same records, such as a file's size and time.
    pub stamp: String,
    /// Counted from 0 in the origin.
    pub records: Range<u64>,
    /// Whether the origin ends with them.
    #[serde(default)]
    pub finished: bool,
    /// Whether the origin is gone and need not be remembered.
    #[serde(default)]
    pub forgotten: bool,
}

/// What is granted to a plugin: by the key of the pipeline file, such as `http`; folders as absolute paths.
pub type Granted = BTreeMap<String, Vec<String>>;

/// The code of a batch, by digests: hexadecimal SHA-256; and what it may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Version {
    /// The pipeline file's text.
    pub pipeline: String,
    /// The component of each plugin.
    pub plugins: BTreeMap<String, String>,
    /// What each plugin may touch that may touch something. Manifests of before this was kept have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, Granted>,
}

/// That a batch is done: what came out, and what else changes with it. Once it is on disk, the batch has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Commit {
    /// The batch.
    pub time: BatchTime,
    /// Records in.
    pub records: u64,
    /// What each sink was given.
    pub outputs: BTreeMap<String, RowsDigest>,
    /// What the batch adds to the pipeline's accumulators.
    #[serde(default)]
    pub accumulators: BTreeMap<String, i64>,
    /// How many records were put aside.
    #[serde(default)]
    pub dead_letters: u64,
    /// Where the file of dead letters ends with them.
    #[serde(default)]
    pub dead_letters_end: FileEnd,
    /// Why the batch gave no output, if it failed and the pipeline goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Where the log of states ends with what the batch changed of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_end: Option<StateEnd>,
}

/// A place in the log of states, between two records: where the log ended with a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateEnd {
    /// Which of the generations of states the log is of: each has a log of its own. States are of the first, 0, until an
    /// upgrade makes others of them.
    #[serde(default, skip_serializing_if = "is_first")]
    pub generation: u32,
    /// The segment's number, from 1; 0, where there is none yet.
    pub segment: u64,
    /// The offset in its file.
    pub offset: u64,
}

fn is_first(generation: &u32) -> bool {
    *generation == 0
}

impl fmt::Display for StateEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of segment {}", self.offset, self.segment)?;
        if is_first(&self.generation) { Ok(()) } else { write!(f, " of generation {}", self.generation) }
    }
}

/// How far a file that is replaced when it has grown is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEnd {
    /// How often it was replaced.
    pub generation: u64,
    /// Its length.
    pub bytes: u64,
}

/// Rows, in whatever order, in a few bytes: equal for equal multisets of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RowsDigest {
    /// How many there are.
    pub rows: u64,
    /// The sum of the rows' hashes.
    pub hash: u64,
}

impl RowsDigest {
    /// The digest of both together.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

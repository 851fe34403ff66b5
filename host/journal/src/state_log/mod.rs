//! The state log and its snapshots: what batches change in the states of keys and the contents of windows.
//!
//! Each segment begins with a [`StateStart`], which says what tables and panes there are; the records of batches follow
//! it. A record is the body of one frame. All numbers are little-endian.
//!
//! ```text
//! 0      1           4       8      16
//! ┌──────┬───────────┬───────┬──────┬─────────┐
//! │ kind │ 0         │ table │ time │ content │
//! └──────┴───────────┴───────┴──────┴─────────┘
//! ```
//!
//! By kind:
//!
//! - 0, start: the content is a [`StateStart`] as JSON; table and time are 0. It is the first of a segment, and only there;
//! - 1, tables: the content is JSON, lists of the tables `created` and the numbers of those `dropped`; table and time are 0;
//! - 2, keyed: the content is sections, each the number of a shard and a length as four bytes each, and so many bytes of
//!   [`Operations`]. What one batch does to one shard may go on in the next record;
//! - 3, pane: rows of the batch of that time, as an Arrow IPC stream of one batch, not compressed. Byte 1 of the record says
//!   how many bytes of padding are before it. A pane may go on in the next record;
//! - 4, expire: the panes before that time are gone.
//!
//! Whether a batch's records count is not written here: the batch's commit record says where the log ended with them, a
//! [`StateEnd`]. What is behind the last commit's end was never real, and is cut off.
//!
//! # Snapshots
//! A snapshot file holds some shards of keyed tables, each as it was at some place of the log. It appears under its name when
//! it is whole. Its first frame is JSON, a list of [`SnapshotPart`]s; behind it are the bytes of the parts' operations, in
//! order, each in as many frames as it takes.
//!
//! # Generations
//! Each generation of states has a folder with a log and snapshots of its own: `state` is generation 0, `state-1` is
//! generation 1, and so on. Which of them is real is for the batch's commit record to say as well, by the generation of its
//! [`StateEnd`]; the others are removed when nobody needs them.
//!
//! What always holds: what is read is what was written, or reading is refused with the file and the place. Nothing here
//! knows what is needed; [`StateFiles::remove_segments_below`] and [`StateFiles::remove_snapshots`] do as they are told.

mod catalogue;
mod files;
mod generation;
mod operations;
mod record;
mod snapshot;
mod writer;

pub use millstream_model::StateEnd;
use serde::{Deserialize, Serialize};

pub use catalogue::{StateStart, StoredField, StoredKind, StoredPane, StoredTable};
pub use files::{StateFiles, StateSegment};
pub use generation::SCRATCH;
pub use operations::{Operation, Operations};
pub use record::{Oversized, StateRecord, StateRecords};
pub use snapshot::{ShardSnapshot, SnapshotPart};
pub use writer::{Appended, PanePlace, StateLog};

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Where the frame begins in its file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

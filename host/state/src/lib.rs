//! Keyed states and window contents: tables in memory and, where that is short, on disk; durable through a log and rolling
//! snapshots.
//!
//! A [`Store`] holds all tables of a pipeline. A [`Keyed`] table has a state for each key, a [`Panes`] table the rows of
//! the batches that windows still need. A batch reads them as the batch before left them, and builds a [`Change`].
//! [`Store::write`] makes the change durable; once the batch's commit record is on disk, with the [`StateEnd`] that the write
//! gave, [`Store::apply`] makes it what is read. A batch that fails drops its change, and the next write replaces what it
//! had written.
//!
//! ```text
//! read ─▶ Change ─▶ write ──StateEnd──▶ commit record ─▶ apply ─▶ what the next batch reads
//!                     │                                    │
//!                     ▼                                    ▼ now and then, some shards
//!                 state log                            maintain ─▶ snapshot
//! ```
//!
//! For an upgrade, [`Tables::fork`] gives all tables as they are, which is copied beside the batches that follow ([`Fork`]).
//! The [`Copies`] go into another [`Store`], table by table: as they are, by [`Copies::fill`], or made into other rows, through a
//! [`Target`]. [`Store::begin`] makes such a store beside the one that is used, a *generation* of states; which of them is real,
//! the last commit record says with its `StateEnd`.
//!
//! What always holds:
//!
//! - What is read is what the changes come to that were applied, all of each and in order. After a crash, it is what those
//!   come to that had a commit record.
//! - A key's time is the time of the last batch that gave it a state or touched it.
//! - Keys and states are bytes in arrow's row format, in memory and on disk. What is written is never written in another
//!   form under the same number of the encoding, which every table has.
//! - Keys that were not seen for the longest time go to a scratch file when memory is short, and come back when they are seen.
//!   What is read does not depend on it, nor does what is durable.
//! - A fork is what the tables were when it was made, or fails; it changes nothing that is read, nor what fits into memory.
//! - A snapshot is of a few shards at a time and copied in memory while nothing else changes them, so no batch waits for all
//!   of the state to be copied or for a disk.

mod change;
mod cold;
mod difference;
mod error;
mod fork;
mod keyed;
mod loss;
pub mod names;
mod panes;
mod rows;
mod spec;
mod states;
mod store;
mod target;
#[cfg(test)]
mod tests;

pub use change::{Change, KeyedChange, PaneChange};
pub use difference::Difference;
pub use error::StateError;
pub use fork::{Copies, Fork, KeyedReader, KeyedRows};
pub use keyed::{Encoded, Entries, KeySet, Keyed, SHARDS, shard_of};
pub use loss::Loss;
pub use millstream_journal::StateEnd;
pub use panes::{Pane, Panes};
pub use rows::decode_rows;
pub use spec::{KeyedSpec, PaneSpec, Spec};
pub use states::{KeyedTable, PaneTable, States, Tables};
pub use store::{Limits, Statistics, Store, TableStatistics};
pub use target::{Collisions, Target};

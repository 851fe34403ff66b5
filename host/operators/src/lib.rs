//! Relations that the host computes itself: reduces, windows, states by key.
//!
//! Each is an [`Operator`](millstream_query::Operator) of a program. What they keep from batch to batch is in the tables of
//! a [`States`](millstream_state::States): a batch reads them as the batch before left them, and stages what it changes; whoever commits the batch
//! takes that, writes it and applies it. An attempt that failed is forgotten when the next one begins.
//!
//! Reading order: `grouping` and `folding`, by which rows of a key become one; `window` gives the rows of
//! several batches, and `sliding` merges their results; `event` has windows over the rows' own time; `update` keeps a state for
//! each key, a `part` of them on each thread, and `initial` says which it begins with.

mod columns;
mod event;
mod folding;
mod grouping;
mod initial;
mod inverse;
mod merging;
mod part;
mod reduce;
mod repartition;
mod sliding;
mod snapshot;
mod span;
mod stuck;
#[cfg(test)]
mod testing;
mod update;
mod window;

pub use event::{Assignment, EventSpan, EventWindow, Gathering, Watermark, Watermarks};
pub use folding::Folding;
pub use initial::Initial;
pub use inverse::InverseWindow;
pub use merging::{Merging, Reducing};
pub use reduce::KeyedReduce;
pub use repartition::Repartition;
pub use sliding::Sliding;
pub use snapshot::Snapshot;
pub use span::Span;
pub use update::{StateUpdate, UpdateColumns, UpdateSettings};
pub use window::Window;

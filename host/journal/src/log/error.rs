use millstream_model::{BatchTime, Lane};
use thiserror::Error;

/// Why a record cannot follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Times rise.
    #[error("batch {time} begins after batch {last}")]
    NotLater {
        /// The batch.
        time: BatchTime,
        /// The last one.
        last: BatchTime,
    },
    /// Batches take the records of a lane in order, each once.
    #[error("batch {time} takes records {found} of {of}, and {expected} is next")]
    NotNext {
        /// The batch.
        time: BatchTime,
        /// Whose records.
        of: String,
        /// Which it takes.
        found: String,
        /// Which it should begin with.
        expected: u64,
    },
    /// A lane is a receiver's or a direct source's for good.
    #[error(
        "batch {time} takes records of {lane} as of another kind of source than before; give it another name"
    )]
    OtherKind {
        /// The batch.
        time: BatchTime,
        /// The lane.
        lane: Lane,
    },
    /// Only what has begun goes on, in order.
    #[error("batch {time} cannot be {step} now: {expected}")]
    OutOfOrder {
        /// The batch.
        time: BatchTime,
        /// What happens to it.
        step: &'static str,
        /// What should.
        expected: String,
    },
}

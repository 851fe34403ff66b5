//! The rows that a function fails on, found by calling it on fewer and fewer.
//!
//! A call that failed is divided into [`PIECES`], and each of these that fails again, until single units stand alone: rows, or
//! the groups and keys that belong together. A piece that passes is done. So one bad row of ten thousand costs a few
//! dozen calls on three times the rows, and as many failing ones as the logarithm says; that counts, since a failing call may
//! well be one that takes all of its time. The pieces of a batch are always the same, and so are its rows when it
//! is run again.
//!
//! What may be lost in failing calls is bounded, for each function and batch. A function that goes beyond that has no bad rows:
//! it is itself broken, and the batch is to wait.

use std::iter;
use std::ops::Range;
use std::time::Duration;

use millstream_model::pipeline::OnError;
use millstream_model::{CallContext, FunctionError};

use crate::batch::Run;
use crate::{Caller, QueryError};

/// Into how many pieces the rows of a failing call are divided.
const PIECES: usize = 16;
/// Calls of a function that may fail in one batch.
pub(crate) const FAILED_CALLS_MAX: u32 = 10_000;
/// How long the failing calls of a function may take in one batch, all together.
pub(crate) const FAILED_TIME_MAX: Duration = Duration::from_secs(300);
/// Above this, chunks are numbered that are pieces of others.
const PIECE: u32 = 1 << 31;

/// One chunk of rows on its way through a function. Whoever calls it takes the [`next`](Self::next) piece, calls the function, and
/// says where that has [`failed`](Self::failed), until there are no more.
#[derive(Debug)]
pub struct Isolation<'r> {
    run: &'r Run,
    caller: &'r Caller,
    units: usize,
    /// Whether it may be divided.
    is_divisible: bool,
    /// Whether all of it was called once more.
    was_repeated: bool,
    /// What is to be called, the first last.
    pending: Vec<Range<usize>>,
    current: Range<usize>,
    since: Duration,
}

/// A unit that the function fails on, and on nothing beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Which, of the units of the chunk.
    pub unit: usize,
    /// What the function fails with.
    pub error: FunctionError,
}

impl<'r> Isolation<'r> {
    /// So many units, each of which may be called without the others.
    pub(crate) fn of_units(run: &'r Run, caller: &'r Caller, units: usize) -> Self {
        let is_divisible = caller.on_error != OnError::Stop && units > 0;
        Self {
            run,
            caller,
            units,
            is_divisible,
            was_repeated: false,
            pending: iter::once(0..units).collect(),
            current: 0..0,
            since: Duration::ZERO,
        }
    }

    /// Units that mean something only together. Where the function fails on them the batch does.
    pub(crate) fn of_all(run: &'r Run, caller: &'r Caller, units: usize) -> Self {
        Self { is_divisible: false, ..Self::of_units(run, caller, units) }
    }

    /// The units to call the function on; none, when all are done.
    #[allow(clippy::should_implement_trait, reason = "what comes next depends on how the call went")]
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.current = self.pending.pop()?;
        self.since = self.run.elapsed();
        Some(self.current.clone())
    }

    /// The place of the piece at hand, where `chunk` is that of all.
    pub fn place(&self, chunk: CallContext) -> CallContext {
        match self.current.len() == self.units {
            true => chunk,
            false => CallContext { chunk: piece_number(chunk.chunk, self.current.start), ..chunk },
        }
    }

    /// The function failed on the piece. Gives the unit if it was called on that alone.
    ///
    /// # Errors
    /// Where the batch fails, or is to wait.
    pub fn failed(&mut self, error: FunctionError) -> Result<Option<Poison>, QueryError> {
        if self.caller.on_error == OnError::Stop {
            return Err(error.into());
        }
        if let FunctionError::Unavailable { function, reason } = error {
            return Err(QueryError::Unusable { function, reason: format!("is not available: {reason}") });
        }
        let took = self.run.elapsed().saturating_sub(self.since);
        self.run.note_failure(&self.caller.function, took, &error)?;
        let is_broken = matches!(error, FunctionError::Broken { .. });
        if is_broken && !self.was_repeated {
            // It may have been the instance, which is gone.
            self.was_repeated = true;
            self.pending.push(self.current.clone());
            return Ok(None);
        }
        match self.current.len() {
            _ if !self.is_divisible => Err(error.into()),
            1 => Ok(Some(Poison { unit: self.current.start, error })),
            _ => {
                self.was_repeated = true;
                self.pending.extend(pieces(&self.current).rev());
                Ok(None)
            }
        }
    }
}

/// A range in pieces that differ by one at most.
fn pieces(range: &Range<usize>) -> impl DoubleEndedIterator<Item = Range<usize>> + use<> {
    let (start, length) = (range.start, range.len());
    let count = length.min(PIECES);
    let boundary = move |piece: usize| start + length * piece / count;
    (0..count).map(move |piece| boundary(piece)..boundary(piece + 1))
}

/// A number for the piece of a chunk that begins at `start`, by which the function's randomness is another one in each piece.
/// It differs from those of all chunks, and from those of other pieces but for accidents.
fn piece_number(chunk: u32, start: usize) -> u32 {
    // The finaliser of splitmix64.
    let mut number = (u64::from(chunk) << 32) ^ start as u64;
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    PIECE | ((number >> 32) as u32)
}

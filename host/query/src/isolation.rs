//! The rows that a function fails on, found by calling it on fewer and fewer.
//!
//! A call that failed is divided into [`PIECES`], and each of these that fails again, until single units stand alone: rows, or
//! the groups and keys that belong together. A piece that passes is done. So one bad row of ten thousand costs a few
//! dozen calls on three times the rows, and as many failing ones as the logarithm says; that counts, since a failing call may
//! well be one that takes all of its time. The pieces of a batch are always the same, and so are its rows when it
//! is run again.
//!
//! What breaks a function may also pass: memory was short, the clock was late. So a call that broke is made once more before
//! it is divided, and so is one on a single unit before that is given up.
//!
//! What may be lost in failing calls is bounded, for each function and batch. A function that goes beyond that has no bad rows:
//! it is itself broken, and the batch is to wait.

use std::ops::Range;
use std::time::Duration;

use millstream_model::pipeline::OnError;
use millstream_model::{CallContext, FunctionError};

use crate::batch::Run;
use crate::{Caller, QueryError};

/// Into how many pieces the rows of a failing call are divided.
const PIECES: usize = 16;
/// Calls of a function that may fail in one batch.
const FAILED_CALLS_MAX: u32 = 10_000;
/// How long the failing calls of a function may take in one batch, all together, but see [`failed_time_max`].
const FAILED_TIME_MAX: Duration = Duration::from_secs(300);
/// Failing calls that may each be as long as a call may be, however long that is. The division of the largest chunk down to one
/// unit has seven: the chunk's two, one on each of four levels, and the unit's second try.
const FAILED_LONG_CALLS_MIN: u32 = 30;
/// Second tries of single units in one batch. They are for what passes, and not for what most rows do.
const SECOND_TRIES_MAX: u32 = 1_000;
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
    /// What is to be called, the first last.
    pending: Vec<Piece>,
    current: Piece,
    since: Duration,
}

/// Some of the units.
#[derive(Clone, Debug)]
struct Piece {
    units: Range<usize>,
    /// Whether it was called before.
    is_repeated: bool,
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
            pending: vec![Piece::new(0..units)],
            current: Piece::new(0..0),
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
        Some(self.current.units.clone())
    }

    /// The place of the piece at hand, where `chunk` is that of all.
    pub fn place(&self, chunk: CallContext) -> CallContext {
        match self.is_whole() {
            true => chunk,
            false => CallContext { chunk: piece_number(chunk.chunk, self.current.units.start), ..chunk },
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
        self.run.note_failure(self.caller, took, &error)?;
        let units = self.current.units.clone();
        if matches!(error, FunctionError::Broken { .. }) && self.may_repeat() {
            self.pending.push(Piece { units, is_repeated: true });
            return Ok(None);
        }
        match units.len() {
            _ if !self.is_divisible => Err(error.into()),
            1 => Ok(Some(Poison { unit: units.start, error })),
            _ => {
                self.pending.extend(pieces(&units).rev().map(Piece::new));
                Ok(None)
            }
        }
    }

    /// Whether the piece is called once more as it is: it may have been the instance, which is gone.
    fn may_repeat(&self) -> bool {
        let may_be_repeated =
            || self.is_whole() || (self.current.units.len() == 1 && self.run.may_try_again(self.caller));
        !self.current.is_repeated && may_be_repeated()
    }

    fn is_whole(&self) -> bool {
        self.current.units.len() == self.units
    }
}

impl Piece {
    fn new(units: Range<usize>) -> Self {
        Self { units, is_repeated: false }
    }
}

/// What failing calls of a function come to in one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    calls: u32,
    second_tries: u32,
    time: Duration,
}

impl Failures {
    /// Counts a call that took so long. Says what they come to where more have failed than can be for the rows' sake.
    pub(crate) fn note(&mut self, took: Duration, call_time_max: Duration) -> Result<(), String> {
        self.calls += 1;
        self.time += took;
        match self.calls <= FAILED_CALLS_MAX && self.time <= failed_time_max(call_time_max) {
            true => Ok(()),
            false => Err(format!("{} calls of one batch in {} s", self.calls, self.time.as_secs())),
        }
    }

    /// Counts a second try of a single unit, if there may be one: at most half of what may be lost goes into failures before it.
    pub(crate) fn try_again(&mut self, call_time_max: Duration) -> bool {
        let may_try = self.second_tries < SECOND_TRIES_MAX && 2 * self.time <= failed_time_max(call_time_max);
        self.second_tries += u32::from(may_try);
        may_try
    }
}

/// How long the failing calls of a function may take in one batch, where each may take so long.
fn failed_time_max(call_time_max: Duration) -> Duration {
    FAILED_TIME_MAX.max(call_time_max.saturating_mul(FAILED_LONG_CALLS_MIN))
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

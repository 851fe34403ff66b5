//! Which batches a window spans.

use std::time::Duration;

use millstream_model::BatchTime;

/// The length of a window and how often it is looked at, both multiples of the batch interval.
///
/// At a batch time `t` that is a multiple of the slide, counted from 1970, the window is of the batches after `t - length` up
/// to `t`. At other times there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    length_ms: i64,
    slide_ms: i64,
}

impl Span {
    /// A window; a length or slide of less than a millisecond counts as one.
    pub fn new(length: Duration, slide: Duration) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).max(1);
        Self { length_ms: ms(length), slide_ms: ms(slide) }
    }

    /// Whether there is a window at the batch `time`.
    pub fn is_due(self, time: BatchTime) -> bool {
        time.as_ms().rem_euclid(self.slide_ms) == 0
    }

    /// The first batch time that a window at `time` may have.
    pub(crate) fn first(self, time: BatchTime) -> BatchTime {
        BatchTime::from_ms(time.as_ms().saturating_sub(self.length_ms).saturating_add(1))
    }

    /// The first batch time that the next window after `time` may have: panes before it are not needed any more.
    pub(crate) fn needed_from(self, time: BatchTime) -> BatchTime {
        let next = (time.as_ms().div_euclid(self.slide_ms) + 1).saturating_mul(self.slide_ms);
        self.first(BatchTime::from_ms(next))
    }

    /// Whether a later window has the batch `time`.
    pub(crate) fn keeps(self, time: BatchTime) -> bool {
        time >= self.needed_from(time)
    }

    /// Whether any window has the batch `time`: where windows are shorter than their slide, some batches are in none.
    pub(crate) fn covers(self, time: BatchTime) -> bool {
        self.is_due(time) || self.keeps(time)
    }

    /// The pieces that windows are made of: each window is some whole pieces.
    pub(crate) fn piece_ms(self) -> i64 {
        let (mut a, mut b) = (self.length_ms, self.slide_ms);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// How many pieces a window has.
    pub(crate) fn pieces(self) -> i64 {
        self.length_ms / self.piece_ms()
    }

    /// The number of the piece that a batch belongs to: piece `n` ends with the batch time `n * piece_ms`.
    pub(crate) fn piece_of(self, time: BatchTime) -> i64 {
        let piece = self.piece_ms();
        time.as_ms().div_euclid(piece) + i64::from(time.as_ms().rem_euclid(piece) != 0)
    }
}

//! Where windows over event time begin and end.

use std::time::Duration;

/// The length of windows and how far each begins after the one before. Event times are microseconds since 1970.
///
/// Windows begin at the multiples of the slide, and have the times from their start up to, and without, their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpan {
    length: i64,
    slide: i64,
}

impl EventSpan {
    /// Windows of `length`, which is a multiple of `slide`.
    pub fn new(length: Duration, slide: Duration) -> Self {
        let slide = micros(slide).max(1);
        let panes = (micros(length) / slide).max(1);
        Self { length: slide.saturating_mul(panes), slide }
    }

    /// From one window's start to the next one's, which is how long a pane is.
    pub(crate) fn slide(self) -> i64 {
        self.slide
    }

    /// The start of the pane that a time is in; none at the ends of all time, where windows would go beyond it.
    pub(crate) fn pane_of(self, time: i64) -> Option<i64> {
        let pane = time.checked_sub(time.rem_euclid(self.slide))?;
        let fits = pane.checked_sub(self.length).is_some() && pane.checked_add(self.length).is_some();
        fits.then_some(pane)
    }

    /// Whether all windows that have a pane have ended at or before the watermark.
    pub(crate) fn is_over(self, pane: i64, watermark: Option<i64>) -> bool {
        watermark.is_some_and(|watermark| pane.saturating_add(self.length) <= watermark)
    }

    /// Whether any window ends as the watermark goes from `before` to `now`.
    pub(crate) fn any_ends(self, before: Option<i64>, now: Option<i64>) -> bool {
        let slides = |watermark: i64| watermark.div_euclid(self.slide);
        now.is_some_and(|now| before.is_none_or(|before| slides(now) > slides(before)))
    }

    /// The ends of the windows that have a pane and that end as the watermark goes from `before` to `now`.
    pub(crate) fn ends(self, pane: i64, before: Option<i64>, now: Option<i64>) -> impl Iterator<Item = i64> {
        let after = before.map_or(pane, |before| before.max(pane));
        let first = after.saturating_sub(after.rem_euclid(self.slide)).saturating_add(self.slide);
        let last = now.map_or(i64::MIN, |now| now.min(pane.saturating_add(self.length)));
        let step = self.slide;
        std::iter::successors(Some(first), move |end| end.checked_add(step))
            .take_while(move |end| *end <= last)
    }

    /// The start of the window that ends there.
    pub(crate) fn start(self, end: i64) -> i64 {
        end.saturating_sub(self.length)
    }

    /// The end of the window that starts there.
    pub(crate) fn end(self, start: i64) -> i64 {
        start.saturating_add(self.length)
    }
}

/// A duration in microseconds, or the longest that is worked with.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

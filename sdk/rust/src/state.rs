//! Updates of keys' states as the host calls them: many keys at once, over flat columns.

use std::fmt::Display;
use std::ops::Range;

use crate::bits;
use crate::error::Error;
use crate::row::{Columns, ReadRow, WriteRow};
use crate::table::Table;

/// The state of a key, and what becomes of it.
///
/// Tests make one with [`State::new`] or [`State::timing_out`], call their function with it, and look at it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<S> {
    value: Option<S>,
    /// Whether the function said what becomes of it.
    touched: bool,
    timing_out: bool,
}

impl<S> State<S> {
    /// The state of a key that has one, or has none yet.
    #[must_use]
    pub fn new(value: Option<S>) -> Self {
        Self { value, touched: false, timing_out: false }
    }

    /// A state that is about to be removed, for its key had no rows for as long as the pipeline's `timeout`.
    #[must_use]
    pub fn timing_out(value: S) -> Self {
        Self { value: Some(value), touched: false, timing_out: true }
    }

    /// The state, if the key has one.
    #[must_use]
    pub fn get(&self) -> Option<&S> {
        self.value.as_ref()
    }

    /// Whether the key has a state.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the state is about to be removed, for its key had no rows for as long as the pipeline's `timeout`. Then the
    /// function is called without rows, to see the state for the last time; it cannot be set.
    #[must_use]
    pub fn is_timing_out(&self) -> bool {
        self.timing_out
    }

    /// Sets the state, be there one or not.
    ///
    /// # Panics
    /// If the state is timing out.
    #[track_caller]
    pub fn set(&mut self, value: S) {
        self.refuse_if_timing_out();
        self.value = Some(value);
        self.touched = true;
    }

    /// Removes the state. One that is timing out is removed in any case.
    pub fn remove(&mut self) {
        self.value = None;
        self.touched = true;
    }

    /// Makes a state of what there is, or removes it with `None`.
    ///
    /// ```
    /// # use millstream_sdk::State;
    /// let mut names = State::new(Some(vec!["ann"]));
    /// names.update(|names| {
    ///     let mut names = names.unwrap_or_default();
    ///     names.push("bob");
    ///     Some(names)
    /// });
    /// assert_eq!(names.get(), Some(&vec!["ann", "bob"]));
    /// ```
    ///
    /// # Panics
    /// If the state is timing out and is not removed.
    #[track_caller]
    pub fn update(&mut self, change: impl FnOnce(Option<S>) -> Option<S>) {
        match change(self.value.take()) {
            Some(value) => self.set(value),
            None => self.remove(),
        }
    }

    #[track_caller]
    fn refuse_if_timing_out(&self) {
        assert!(
            !self.timing_out,
            "the state is timing out and cannot be set: ask `is_timing_out` before, and set it only if it is not"
        );
    }
}

/// The rows that an update gives to the stream, where each stands beside its key; or those that a receiver brings in.
#[derive(Debug)]
pub struct Output<T: WriteRow> {
    builders: T::Builders,
    rows: usize,
}

impl<T: WriteRow> Output<T> {
    /// No rows yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "an output is made in tests alone")]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { builders: T::builders(rows), rows: 0 }
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, row: T) {
        self.append(row);
    }

    /// Adds a row of the same columns that borrows its values: a `&str` for a `String`, a `Line<'_>` for a `Line<'static>`.
    /// Nothing is allocated for it.
    #[inline]
    pub fn append<R: WriteRow<Builders = T::Builders>>(&mut self, row: R) {
        row.write(&mut self.builders);
        self.rows += 1;
    }

    /// How many rows were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows that were added: for tests, which read them with [`Table::read`].
    #[must_use]
    pub fn into_table(self) -> Table {
        Table::finish::<T>(self.rows, self.builders)
    }
}

/// What an update-state is called with: keys, their states, and their new rows.
#[derive(Clone, Copy, Debug)]
pub struct Updates<'a> {
    /// The columns of the key that the function reads, a row a key.
    pub keys: &'a Table,
    /// The fields of the state, a row a key; what stands there means nothing where the key has no state.
    pub states: &'a Table,
    /// A bitmap: 1 where the key has a state.
    pub present: &'a [u8],
    /// A bitmap: 1 where the key's state is timing out.
    pub timed_out: &'a [u8],
    /// The new rows of key `k` are `groups[k] .. groups[k + 1]` of `rows`.
    pub groups: &'a [u32],
    /// The new rows.
    pub rows: &'a Table,
}

/// What an update-state answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What becomes of each key's state: [`Outcome::KEEP`], [`Outcome::PUT`] or [`Outcome::REMOVE`].
    pub fates: Vec<u8>,
    /// The fields of the state, a row a key; only those that are put mean something.
    pub states: Table,
    /// Rows for the stream.
    pub output: Table,
    /// The key of each row of the output; never falling.
    pub origins: Vec<u32>,
}

impl Outcome {
    /// The state stays as it was.
    pub const KEEP: u8 = 0;
    /// The state becomes the row of `states`.
    pub const PUT: u8 = 1;
    /// The state is removed.
    pub const REMOVE: u8 = 2;
}

impl Updates<'_> {
    /// Refuses what the loop below could not walk over.
    fn check(&self) -> Result<(), Error> {
        let keys = self.keys.rows;
        let bitmap = keys.div_ceil(8);
        let fits = self.states.rows == keys
            && self.present.len() >= bitmap
            && self.timed_out.len() >= bitmap
            && self.groups.len() == keys + 1
            && self.groups.is_sorted()
            && self.groups.last().is_some_and(|&end| end as usize <= self.rows.rows);
        if fits { Ok(()) } else { Err(Error::Updates { keys, rows: self.rows.rows }) }
    }

    /// The new rows of a key.
    fn range(&self, key: usize) -> Range<usize> {
        self.groups[key] as usize..self.groups[key + 1] as usize
    }
}

/// Calls an update-state on every key; `call` gets the key's number and the range of its new rows.
///
/// # Errors
/// If the columns are not those of the state, or the first error that the function returns.
pub fn update<S, T, E>(
    updates: &Updates<'_>,
    mut call: impl FnMut(usize, Range<usize>, &mut State<S>, &mut Output<T>) -> Result<(), E>,
) -> Result<Outcome, Error>
where
    S: for<'a> ReadRow<At<'a> = S> + WriteRow + 'static,
    T: WriteRow,
    E: Display + 'static,
{
    updates.check()?;
    let before = S::open("state", &mut Columns::of_states(updates.states))?;
    let keys = updates.keys.rows;
    let mut fates = Vec::with_capacity(keys);
    let mut after = S::builders(keys);
    let mut output = Output::<T>::with_capacity(keys);
    let mut origins = Vec::with_capacity(keys);
    for key in 0..keys {
        let present = bits::get(updates.present, key);
        let mut state = State::new(present.then(|| S::read(&before, key)));
        state.timing_out = bits::get(updates.timed_out, key);
        let called = call(key, updates.range(key), &mut state, &mut output);
        called.map_err(|error| Error::key(key, error))?;
        origins.resize(output.rows, u32::try_from(key).expect("a call has less than 4 billion keys"));
        let (fate, value) = match (state.touched, state.value) {
            (true, Some(value)) => (Outcome::PUT, Some(value)),
            (true, None) => (Outcome::REMOVE, None),
            (false, _) => (Outcome::KEEP, None),
        };
        fates.push(fate);
        match value {
            Some(value) => value.write(&mut after),
            None => S::write_nothing(&mut after),
        }
    }
    let states = Table::finish::<S>(keys, after);
    Ok(Outcome { fates, states, output: output.into_table(), origins })
}

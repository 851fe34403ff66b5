//! Functions as the host calls them: by number, on a chunk of rows.
//!
//! The attributes make a `Function` of each of an author's functions: its description, and a `call` that opens the columns
//! and hands one of the loops below a closure that reads row `n` and calls the author's function. The loops are generic over
//! that closure, so that the compiler makes one tight loop of the reading, the author's code and the writing.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::accumulators;
use crate::bits::Bits;
use crate::error::Error;
use crate::fold::Groups;
use crate::migration::{Merge, Migrated, Migration};
use crate::need::Need;
use crate::outside::{Fault, Receiving, Writing};
use crate::row::WriteRow;
use crate::schema::Schema;
use crate::state::{Outcome, Updates};
use crate::table::Table;

/// How a function is called and what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A row in, a row out.
    Map,
    /// A row in, any number of rows out.
    FlatMap,
    /// A row in, yes or no.
    Filter,
    /// A whole partition in, a table out.
    Transform,
    /// Rows combined into one, two by two.
    Reduce,
    /// What a reduce took in, taken out again.
    Inverse,
    /// New rows and the state of a key in, a new state and rows out.
    UpdateState,
    /// Brings rows in from outside.
    Receiver,
    /// Takes a batch's rows out.
    Sink,
}

impl Kind {
    /// The kind as pipelines call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::FlatMap => "flat-map",
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Reduce => "reduce",
            Self::Inverse => "inverse",
            Self::UpdateState => "update-state",
            Self::Receiver => "receiver",
            Self::Sink => "sink",
        }
    }
}

/// Where a call's rows stand in the stream. A parameter of this type is no column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The batch's time in milliseconds since 1970-01-01T00:00:00Z. The only clock a function should go by:
    /// a batch that is run again has the same time.
    pub batch_time_ms: i64,
    /// The partition of the batch, from 0.
    pub partition: u32,
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// map and transform: the output columns.
    Rows(Table),
    /// flat-map: the output columns, and for each output row the input row it came from.
    Expansion {
        /// The output columns.
        rows: Table,
        /// For each output row the input row; never falling.
        origins: Vec<u32>,
    },
    /// filter: a bitmap with a bit for each input row, 1 where the row stays.
    Selection(Vec<u8>),
}

/// A function of a plugin. The attributes make these; see [`function!`](crate::function).
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The name in kebab-case.
    pub name: &'static str,
    /// How it is called.
    pub kind: Kind,
    /// One line for people.
    pub documentation: &'static str,
    /// The columns that it reads.
    pub input: Fields,
    /// The columns that it answers with.
    pub output: Fields,
    /// The columns of the key that it reads, in an update-state.
    pub keys: Fields,
    /// The fields of the state, in an update-state.
    pub state: Fields,
    /// The version of the state's meaning; 0 where there is no state.
    pub state_version: u32,
    /// How it takes over the states of other versions, in an update-state.
    pub migrations: &'static [Migration],
    /// Makes one of states whose keys a migration has made the same, if it can.
    pub merge: Option<Merge>,
    /// Calls it on many rows.
    pub call: Call,
}

/// Adds columns to a schema.
pub type Fields = fn(&mut Schema);

/// How a function is called on many rows, by its kind.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// map, flat-map, filter and transform: a chunk of rows.
    Rows(fn(&Table, Context) -> Result<Answer, Error>),
    /// reduce: rows and the groups that they are of.
    Fold(fn(&Table, Groups<'_>, Context) -> Result<Table, Error>),
    /// inverse: totals, and what is taken out of each.
    TakeOut(fn(&Table, &Table, Context) -> Result<Table, Error>),
    /// update-state: keys with their states and new rows.
    Update(fn(&Updates<'_>, Context) -> Result<Outcome, Error>),
    /// receiver: where to go on.
    Receive(fn(Option<&[u8]>) -> Started, Check),
    /// sink.
    Write(fn() -> Result<Box<dyn Writing>, Fault>, Check),
}

/// A receiver that was started, or why it was not.
pub type Started = Result<Box<dyn Receiving>, Fault>;

/// What is wrong with the configuration, if something is.
pub type Check = fn() -> Result<(), Fault>;

/// No columns.
pub fn no_fields(_: &mut Schema) {}

impl Function {
    /// The columns that the function reads.
    #[must_use]
    pub fn input(&self) -> Schema {
        Schema::of(self.input)
    }

    /// The columns that the function answers with.
    #[must_use]
    pub fn output(&self) -> Schema {
        Schema::of(self.output)
    }

    /// The columns of the key that an update-state reads.
    #[must_use]
    pub fn keys(&self) -> Schema {
        Schema::of(self.keys)
    }

    /// The fields of an update-state's state.
    #[must_use]
    pub fn state(&self) -> Schema {
        Schema::of(self.state)
    }

    /// Calls a map, flat-map, filter or transform on a chunk of rows, as the host does: what it adds to accumulators counts
    /// if it succeeds.
    ///
    /// # Errors
    /// If the columns are not those of the input, or the function returns an error.
    pub fn call(&self, rows: &Table, context: Context) -> Result<Answer, Error> {
        match self.call {
            Call::Rows(call) => accumulators::undo_if_failed(|| call(rows, context)),
            _ => Err(self.wrong_kind()),
        }
    }

    /// Folds groups of rows by a reduce, as the host does: row `g` of the answer is that of group `g`.
    ///
    /// # Errors
    /// As those of [`Function::call`], or if the groups do not fit the rows.
    pub fn fold(&self, rows: &Table, groups: Groups<'_>, context: Context) -> Result<Table, Error> {
        match self.call {
            Call::Fold(fold) => accumulators::undo_if_failed(|| fold(rows, groups, context)),
            _ => Err(self.wrong_kind()),
        }
    }

    /// Takes rows out of totals by an inverse, as the host does.
    ///
    /// # Errors
    /// As those of [`Function::call`], or if there are not as many rows as totals.
    pub fn take_out(&self, totals: &Table, taken: &Table, context: Context) -> Result<Table, Error> {
        match self.call {
            Call::TakeOut(take_out) => accumulators::undo_if_failed(|| take_out(totals, taken, context)),
            _ => Err(self.wrong_kind()),
        }
    }

    /// Updates the states of keys by an update-state, as the host does.
    ///
    /// # Errors
    /// As those of [`Function::call`], or if the parts of the update do not fit its keys.
    pub fn update(&self, updates: &Updates<'_>, context: Context) -> Result<Outcome, Error> {
        match self.call {
            Call::Update(update) => accumulators::undo_if_failed(|| update(updates, context)),
            _ => Err(self.wrong_kind()),
        }
    }

    /// Makes states of an update-state of those that another version left, as the host does. What it adds to accumulators does
    /// not count.
    ///
    /// # Errors
    /// If the function takes over no states of that version, the columns are not those of the migration, or it returns an error.
    pub fn migrate(&self, version: u32, keys: &Table, states: &Table) -> Result<Migrated, Error> {
        let migration = self.migrations.iter().find(|migration| migration.version == version);
        let migration = migration.ok_or(Error::Version { function: self.name, version })?;
        accumulators::undo(|| (migration.call)(keys, states))
    }

    /// Makes one state of those of each group, as the host does: row `g` of the answer is that of group `g`. What it adds to
    /// accumulators does not count.
    ///
    /// # Errors
    /// If the function merges no states, the columns are not those of its state, the groups do not fit them, or it returns an
    /// error.
    pub fn merge(&self, states: &Table, groups: Groups<'_>) -> Result<Table, Error> {
        let merge = self.merge.ok_or(Error::NoMerge { function: self.name })?;
        accumulators::undo(|| merge(states, groups))
    }

    /// Starts a receiver, as the host does.
    ///
    /// # Errors
    /// Those of the receiver, or if the function is none.
    pub fn start(&self, position: Option<&[u8]>) -> Started {
        match self.call {
            Call::Receive(start, _) => start(position),
            _ => Err(self.wrong_kind().into()),
        }
    }

    /// Opens a sink, as the host does.
    ///
    /// # Errors
    /// Those of the sink, or if the function is none.
    pub fn open(&self) -> Result<Box<dyn Writing>, Fault> {
        match self.call {
            Call::Write(open, _) => open(),
            _ => Err(self.wrong_kind().into()),
        }
    }

    /// Checks the configuration for a receiver or a sink, as the host does; other functions check none.
    ///
    /// # Errors
    /// What is wrong with it. That something is not available now is nothing wrong.
    pub fn check(&self) -> Result<(), String> {
        match self.call {
            Call::Receive(_, check) | Call::Write(_, check) => match check() {
                Err(Fault::Rejected(reason)) => Err(reason),
                Ok(()) | Err(Fault::Unavailable(_)) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn wrong_kind(&self) -> Error {
        Error::WrongKind { function: self.name, kind: self.kind.name() }
    }
}

/// What `export!` gathers: a plugin's description and its functions in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    /// The package's name.
    pub name: &'static str,
    /// The package's version.
    pub version: &'static str,
    /// The package's description.
    pub documentation: &'static str,
    /// The functions.
    pub functions: &'static [Function],
    /// What the plugin cannot do without.
    pub needs: &'static [Need],
}

impl Plugin {
    /// Finds a function by its number.
    ///
    /// # Errors
    /// If there is no such function.
    pub fn function(&self, function: usize) -> Result<&Function, Error> {
        let unknown = Error::UnknownFunction { function, functions: self.functions.len() };
        self.functions.get(function).ok_or(unknown)
    }
}

/// How many rows a flat-map answers for each row it gets: what it did last time, to reserve by.
#[derive(Debug)]
pub struct Growth(AtomicUsize);

/// The unit of [`Growth`]: 256 is a row for a row.
const GROWTH_ONE: usize = 256;

impl Growth {
    /// A row for a row, before the first call.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "statics need a const constructor")]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(GROWTH_ONE))
    }

    /// The rows to expect, with a little to spare.
    fn expect(&self, rows: usize) -> usize {
        rows.saturating_mul(self.0.load(Relaxed)) / GROWTH_ONE + rows / 8
    }

    fn observe(&self, rows: usize, answered: usize) {
        self.0.store((answered.saturating_mul(GROWTH_ONE)).div_ceil(rows.max(1)), Relaxed);
    }
}

/// Calls a map on every row.
///
/// # Errors
/// The first error that the function returns.
pub fn map<T: WriteRow, E: Display + 'static>(
    rows: usize,
    mut call: impl FnMut(usize) -> Result<T, E>,
) -> Result<Answer, Error> {
    let mut builders = T::builders(rows);
    for row in 0..rows {
        let answer = call(row).map_err(|error| Error::row(row, error))?;
        answer.write(&mut builders);
    }
    Ok(Answer::Rows(Table::finish::<T>(rows, builders)))
}

/// Calls a flat-map on every row.
///
/// # Errors
/// The first error that the function returns.
pub fn flat_map<I: IntoIterator<Item: WriteRow>, E: Display + 'static>(
    rows: usize,
    growth: &Growth,
    mut call: impl FnMut(usize) -> Result<I, E>,
) -> Result<Answer, Error> {
    let expected = growth.expect(rows);
    let mut builders = I::Item::builders(expected);
    let mut origins = Vec::with_capacity(expected);
    let mut count = 0;
    for row in 0..rows {
        let answers = call(row).map_err(|error| Error::row(row, error))?;
        answers.into_iter().for_each(|answer| {
            answer.write(&mut builders);
            count += 1;
        });
        origins.resize(count, u32::try_from(row).expect("a chunk has less than 4 billion rows"));
    }
    growth.observe(rows, count);
    Ok(Answer::Expansion { rows: Table::finish::<I::Item>(count, builders), origins })
}

/// Calls a filter on every row.
///
/// # Errors
/// The first error that the function returns.
pub fn filter<E: Display + 'static>(
    rows: usize,
    mut call: impl FnMut(usize) -> Result<bool, E>,
) -> Result<Answer, Error> {
    let mut selection = Bits::with_capacity(rows);
    for row in 0..rows {
        selection.push(call(row).map_err(|error| Error::row(row, error))?);
    }
    Ok(Answer::Selection(selection.into_bytes()))
}

/// Gathers what a transform answers.
///
/// # Errors
/// The error that the function returned.
pub fn transform<I: IntoIterator<Item: WriteRow>, E: Display + 'static>(
    answers: Result<I, E>,
) -> Result<Answer, Error> {
    answers.map(|rows| Answer::Rows(Table::of(rows))).map_err(Error::partition)
}

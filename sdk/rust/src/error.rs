//! What can go wrong in a call.
//!
//! Every error but [`Error::Unavailable`] rejects the call: the same rows would fail again, and the host puts the ones at fault
//! among its dead letters.

use std::any::Any;
use std::fmt::Display;

use crate::outside::Fault;

/// Why a call, or a look at the configuration, has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The function returned an error for a row, counted from 0 in the chunk.
    #[error("row {row}: {message}")]
    Row {
        /// The row, from 0.
        row: usize,
        /// What the function said.
        message: String,
    },
    /// The function returned [`Fault::Unavailable`]: what it needs may be there later, and the rows are to wait for it.
    #[error("{0}")]
    Unavailable(String),
    /// A transform returned an error for its partition.
    #[error("{0}")]
    Partition(String),
    /// An update-state or a migration returned an error for a key, counted from 0 in the call.
    #[error("key {key}: {message}")]
    Key {
        /// The key, from 0.
        key: usize,
        /// What the function said.
        message: String,
    },
    /// The groups of a fold are not groups of its rows.
    #[error("folding {rows} rows into {groups} groups: give each row a group, and each group a row")]
    Groups {
        /// How many groups there are.
        groups: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// There is not one row to take out for each total.
    #[error("taking {taken} rows out of {totals} totals: give each total its row")]
    Pairs {
        /// How many totals there are.
        totals: usize,
        /// How many rows to take out.
        taken: usize,
    },
    /// The parts of an update do not fit its keys.
    #[error(
        "updating {keys} keys by {rows} rows: give a state and the bits of each key, and one offset more than there are keys"
    )]
    Updates {
        /// How many keys there are.
        keys: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// There is not one state to migrate for each key.
    #[error("migrating {states} states of {keys} keys: give each key its state")]
    States {
        /// How many keys there are.
        keys: usize,
        /// How many states there are.
        states: usize,
    },
    /// The function takes over no states of that version.
    #[error("migrating states of version {version} of `{function}`: it has no migration from that version")]
    Version {
        /// The function's name.
        function: &'static str,
        /// The version that was asked for.
        version: u32,
    },
    /// The function does not merge states.
    #[error("merging states of `{function}`: it names no `merge`")]
    NoMerge {
        /// The function's name.
        function: &'static str,
    },
    /// A function of one kind was called as if it were of another.
    #[error("calling `{function}`: it is of the kind {kind} and is not called so")]
    WrongKind {
        /// The function's name.
        function: &'static str,
        /// Its kind.
        kind: &'static str,
    },
    /// The table has fewer columns than the function has inputs.
    #[error(
        "reading column `{column}`: the table has no such column; pass the columns in the order of the function's inputs"
    )]
    MissingColumn {
        /// The name of the input.
        column: String,
    },
    /// A column holds another type than the function reads.
    #[error(
        "reading column `{column}`: it should be {expected} but is {found}; pass a column of the type that the function describes"
    )]
    WrongType {
        /// The name of the input.
        column: String,
        /// The type that the function describes.
        expected: &'static str,
        /// The type of the column.
        found: &'static str,
    },
    /// A column is too short for the table's rows.
    #[error("reading column `{column}`: its buffers are too short for {rows} rows; pass one value a row")]
    TooShort {
        /// The name of the input.
        column: String,
        /// The rows that the column should have.
        rows: usize,
    },
    /// A column has a null that the function has no place for.
    #[error(
        "reading column `{column}`: row {row} is null; take the input as an `Option`, or filter nulls out before"
    )]
    Null {
        /// The name of the input.
        column: String,
        /// The first row that is null, from 0.
        row: usize,
    },
    /// A list column refers to an item column that cannot be its own.
    #[error(
        "reading column `{column}`: its list refers to item {item}, which the table does not have; pass one item column a list"
    )]
    MissingItem {
        /// The name of the input.
        column: String,
        /// The place of the item.
        item: usize,
    },
    /// The plugin has no function of that number.
    #[error(
        "calling function {function}: the plugin has {functions} functions; count them from 0 in the order of its description"
    )]
    UnknownFunction {
        /// The number that was called.
        function: usize,
        /// How many functions the plugin has.
        functions: usize,
    },
    /// A value of the configuration is not what was asked for.
    #[error(
        "reading `{key}` of the plugin's config: it should be {expected} but is {json}; change it in the pipeline file"
    )]
    Setting {
        /// The key in `config`.
        key: String,
        /// The kind of value that was asked for.
        expected: &'static str,
        /// The value as JSON text.
        json: String,
    },
    /// A key of the configuration is missing.
    #[error(
        "reading `{key}` of the plugin's config: there is no such key; set it in the pipeline file, like `config = {{ {key} = ... }}`"
    )]
    MissingSetting {
        /// The key in `config`.
        key: String,
    },
}

impl Error {
    /// What the function returned for a row.
    pub(crate) fn row(row: usize, error: impl Display + 'static) -> Self {
        Self::returned(&error, |message| Self::Row { row, message })
    }

    /// What a transform returned for its partition.
    pub(crate) fn partition(error: impl Display + 'static) -> Self {
        Self::returned(&error, Self::Partition)
    }

    /// What an update-state or a migration returned for a key.
    pub(crate) fn key(key: usize, error: impl Display + 'static) -> Self {
        Self::returned(&error, |message| Self::Key { key, message })
    }

    /// An error of whatever type, which says that it may pass if it is a [`Fault`].
    fn returned<E: Display + 'static>(error: &E, rejected: impl FnOnce(String) -> Self) -> Self {
        match (error as &dyn Any).downcast_ref() {
            Some(Fault::Unavailable(reason)) => Self::Unavailable(reason.clone()),
            _ => rejected(error.to_string()),
        }
    }

    pub(crate) fn wrong_type(column: &str, expected: &'static str, found: &'static str) -> Self {
        Self::WrongType { column: column.to_owned(), expected, found }
    }
}

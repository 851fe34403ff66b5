//! Migrations: states that another version of an update-state left, made into those of this one.
//!
//! A migration sees some states at a time and goes by a key and its state alone. So whoever runs one may do it in pieces, in
//! any order, beside the stream, and again after a crash. It says beforehand which states it was written for, so that
//! others are refused before the first is touched.

use std::fmt;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::{FunctionError, Groups};
use crate::{Field, Schema};

/// What an update-state says of the states of another version that it takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationDescription {
    /// The version whose states it takes; not the function's own.
    pub version: u32,
    /// The columns of the old key that it wants to see: none of them or all, in order. Their names are for people.
    pub keys: Schema,
    /// The fields of an old state.
    pub state: Schema,
    /// The columns of the new key, in order; none where keys stay as they are. Their names are for people.
    pub new_keys: Schema,
    /// Whether states whose new keys are the same can be merged. Where they cannot, such keys are an error.
    pub merges: bool,
}

impl MigrationDescription {
    /// Refuses stored states that the migration was not written for: those of a table with these keys and states, which is to
    /// have the keys `new_key`. Says the first difference.
    ///
    /// Names of keys are the pipeline's and tell nothing. Whether an old key may be null does not matter here: a migration that
    /// takes no nulls fails on the first that comes.
    ///
    /// # Errors
    /// The difference, in words that go on from "the stored states do not fit: ".
    pub fn check(&self, key: &Schema, state: &Schema, new_key: &Schema) -> Result<(), String> {
        let version = self.version;
        if *state != self.state {
            return Err(format!(
                "they have the fields {state}, and the migration from version {version} takes {}",
                self.state
            ));
        }
        if !self.keys.fields.is_empty() && !is_each(key, &self.keys, same_type) {
            return Err(format!(
                "their keys are {key}, and the migration from version {version} takes {}",
                self.keys
            ));
        }
        let stay = self.new_keys.fields.is_empty();
        let made = if stay { key } else { &self.new_keys };
        if is_each(made, new_key, |made, new| same_type(made, new) && (new.nullable || !made.nullable)) {
            return Ok(());
        }
        let made = if stay { format!("keeps the keys {key}") } else { format!("makes keys of {made}") };
        Err(format!("the migration from version {version} {made}, and the stream's are {new_key}"))
    }
}

fn is_each(left: &Schema, right: &Schema, fits: impl Fn(&Field, &Field) -> bool) -> bool {
    let (left, right) = (&left.fields, &right.fields);
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| fits(left, right))
}

fn same_type(left: &Field, right: &Field) -> bool {
    left.data_type == right.data_type
}

/// What became of some old keys and their states.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The old row that each new one was made of: rising, each at most once. The rows that are not here are dropped.
    pub origins: Vec<u32>,
    /// The whole new keys, a row for each origin. Their names are those of the migration's description, or those of the old keys
    /// where these stay.
    pub keys: RecordBatch,
    /// The new states, a row for each origin, in the fields of the function's described state.
    pub states: RecordBatch,
}

impl Migrated {
    /// The most rows of a call, of a migration as of a merge.
    pub const ROWS_MAX: usize = 8_192;
}

/// Makes states of an update-state's own version of those of one other.
///
/// An equal call gives an equal answer, at whatever time.
#[async_trait]
pub trait Migration: Send + Sync + fmt::Debug {
    /// What it takes; see [`MigrationDescription::check`].
    fn description(&self) -> &MigrationDescription;

    /// Makes new keys and states of old ones: the whole keys, and the states in the described fields, a row a key, at most
    /// [`Migrated::ROWS_MAX`] of them.
    async fn migrate(&self, keys: RecordBatch, states: RecordBatch) -> Result<Migrated, FunctionError>;

    /// Makes one state of those of each group, whose keys have become the same: associative and commutative, so that it does
    /// not matter which come together first. `states` are new ones, at most [`Migrated::ROWS_MAX`], and so is the answer, a
    /// row a group.
    ///
    /// # Errors
    /// `Rejected` where the description does not say that it merges.
    async fn merge(&self, states: RecordBatch, groups: Groups) -> Result<RecordBatch, FunctionError>;
}

#[cfg(test)]
mod tests;

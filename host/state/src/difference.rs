//! What tables hold other than what a version of a pipeline asks for: told beforehand, without making or changing anything.

use crate::{Spec, StateError, States, Tables};

/// A table that holds something else than a version of a pipeline asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// What it holds.
    pub stored: Spec,
    /// What it would have to hold.
    pub asked: Spec,
    /// The first thing in which they differ, as a person is told.
    pub what: String,
}

impl From<Difference> for StateError {
    fn from(difference: Difference) -> Self {
        Self::Mismatch { table: difference.table, what: difference.what }
    }
}

impl States {
    /// The tables that hold other things than this version asks for, each once: [`States::bind`] would refuse them.
    pub fn differences(&self, tables: &Tables) -> Vec<Difference> {
        let asked = self.asked();
        let differences =
            asked.into_iter().filter_map(|(name, spec)| tables.store().difference(&name, &spec));
        let mut differences: Vec<Difference> = differences.collect();
        differences.dedup_by(|one, other| one.table == other.table);
        differences
    }
}

//! What tables hold other than what a version of a pipeline asks for: told beforehand, without making or changing anything.

use std::sync::Arc;

use millstream_model::Migration;

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

    /// The migration by which a table that differs is made into what this version asks for.
    ///
    /// # Errors
    /// There is none, or it was written for other states: in what the table differs, as a person is told.
    pub fn taking_over(&self, difference: &Difference) -> Result<Arc<dyn Migration>, String> {
        let Difference { table, stored, asked, what } = difference;
        let (Spec::Keyed(stored), Spec::Keyed(asked)) = (stored, asked) else { return Err(what.clone()) };
        // Version 0 is that of what the host keeps for itself.
        let (from, to) = (stored.version, asked.version);
        if from == to || from == 0 || to == 0 {
            return Err(what.clone());
        }
        let migration = self.migration(table, from).ok_or_else(|| {
            format!(
                "it is of version {from}, and of version {to} is asked for, which has no migration from version {from} \
                 (in Rust, #[migrate(from = {from})])"
            )
        })?;
        let fits = migration.description().check(&stored.key, &stored.state, &asked.key);
        fits.map_err(|what| format!("its states are of version {from}: {what}"))?;
        Ok(migration)
    }
}

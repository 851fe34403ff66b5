//! States that other versions of a pipeline left, made into those of one: what there is to do, and doing it.
//!
//! ```text
//! tables that are ──fork, copy──▶ Copies ──carry_out──▶ tables of another generation
//!        └── plan: what differs, and by which migration ──┘
//! ```
//!
//! Nothing of the tables that are is changed. What is made of them is a generation of states beside them, which counts from the
//! first commit on that names it. So a migration that fails, or a process that ends, leaves everything as it was, and the
//! first look at all keys is the only one that there has to be: nothing is seen of it before it has come to its end.
//!
//! It costs no more memory than a call of a migration, and what the two stores may have.

mod error;
mod start;
mod table;

use std::fmt;
use std::sync::Arc;

use millstream_model::Migration;
use millstream_state::{Copies, Difference, KeyedSpec, Spec, States, Store, Tables};
use serde::{Deserialize, Serialize};

pub use error::MigrateError;
pub(crate) use start::take_over;

/// What has to be done so that the states of a version can be bound to what tables hold.
#[derive(Debug)]
pub(crate) struct Plan {
    tables: Vec<TablePlan>,
}

/// A table whose states are to be of another version.
#[derive(Debug)]
struct TablePlan {
    table: String,
    /// The version whose states it holds.
    from: u32,
    /// What it has to hold.
    spec: KeyedSpec,
    migration: Arc<dyn Migration>,
}

/// What has become of a table. Keys that are neither kept nor dropped have become those of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MigratedTable {
    /// The table.
    pub table: String,
    /// The version that its states were of.
    pub from: u32,
    /// The version that they are of.
    pub to: u32,
    /// How many keys there were.
    pub keys: u64,
    /// How many there are.
    pub kept: u64,
    /// By how many there are fewer as their keys have become the same.
    pub merged: u64,
    /// How many the migration left out.
    pub dropped: u64,
}

/// What has to be done so that `states` can be bound to what `tables` hold: nothing, where they can be as they are. What
/// cannot be taken over is left out.
pub(crate) fn plan(states: &States, tables: &Tables) -> Plan {
    let plan = |difference: Difference| {
        let migration = states.taking_over(&difference).ok()?;
        let (Spec::Keyed(stored), Spec::Keyed(spec)) = (difference.stored, difference.asked) else {
            return None;
        };
        Some(TablePlan { table: difference.table, from: stored.version, spec, migration })
    };
    Plan { tables: states.differences(tables).into_iter().filter_map(plan).collect() }
}

impl Plan {
    /// Whether nothing has to be done.
    pub(crate) fn is_nothing(&self) -> bool {
        self.tables.is_empty()
    }

    /// The tables whose states change.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.tables.iter().map(|plan| plan.table.as_str()).collect()
    }

    /// Puts all that `copies` hold into `store`, which is empty: what changes through its migration, and everything else as it
    /// is, be it asked for or not. Tells of each migrated table how many of its keys are done. To be awaited where functions
    /// may compute; others go on between two calls.
    ///
    /// # Errors
    /// The store is of no use, and is to be discarded.
    pub(crate) async fn carry_out(
        &self,
        copies: &Copies,
        store: &Store,
        mut progress: impl FnMut(&str, u64) + Send,
    ) -> Result<Vec<MigratedTable>, MigrateError> {
        let mut migrated = Vec::new();
        for (name, _) in copies.tables() {
            match self.tables.iter().find(|plan| plan.table == name) {
                None => copies.fill(name, store).await?,
                Some(plan) => {
                    migrated.push(table::migrate(plan, copies, store, |keys| progress(name, keys)).await?);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(migrated)
    }
}

impl fmt::Display for MigratedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, from, to, keys, kept, merged, dropped } = self;
        let [keys, kept, merged, dropped] = [keys, kept, merged, dropped].map(|count| grouped(*count));
        write!(
            f,
            "states of \"{table}\": version {from} to {to}, {keys} keys to {kept} ({merged} merged, {dropped} dropped)"
        )
    }
}

/// A count with its digits in groups of three.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;

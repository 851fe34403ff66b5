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
use millstream_state::{Copies, Difference, KeyedSpec, Spec, StateError, States, Store, Tables};
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

/// What has to be done so that `states` can be bound to what `tables` hold; nothing, where they can be as they are.
///
/// # Errors
/// `Mismatch`: the first table that cannot be taken over, and why.
pub(crate) fn plan(states: &States, tables: &Tables) -> Result<Option<Plan>, StateError> {
    let plans = states.differences(tables).into_iter().map(|difference| plan_table(states, difference));
    let tables = plans.collect::<Result<Vec<_>, _>>()?;
    Ok((!tables.is_empty()).then_some(Plan { tables }))
}

fn plan_table(states: &States, difference: Difference) -> Result<TablePlan, StateError> {
    let (Spec::Keyed(stored), Spec::Keyed(asked)) = (&difference.stored, &difference.asked) else {
        return Err(difference.into());
    };
    // Version 0 is that of what the host keeps for itself.
    let (from, to) = (stored.version, asked.version);
    if from == to || from == 0 || to == 0 {
        return Err(difference.into());
    }
    let Difference { table, .. } = &difference;
    let mismatch = |what| StateError::Mismatch { table: table.clone(), what };
    let migration = states.migration(table, from).ok_or_else(|| {
        mismatch(format!(
            "it is of version {from}, and of version {to} is asked for, which has no migration from version {from} \
             (in Rust, #[migrate(from = {from})])"
        ))
    })?;
    let fits = migration.description().check(&stored.key, &stored.state, &asked.key);
    fits.map_err(|what| mismatch(format!("its states are of version {from}: {what}")))?;
    Ok(TablePlan { table: table.clone(), from, spec: asked.clone(), migration })
}

impl Plan {
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

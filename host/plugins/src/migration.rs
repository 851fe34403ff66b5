//! Migrations of states: lower, cross, check, lift.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{
    BatchTime, CallContext, FunctionError, Groups, Migrated, Migration, MigrationDescription,
};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::callee::Callee;
use crate::contract::{self, MIGRATE_STATE};
use crate::exports::export;
use crate::lift::{check_origins, lift};
use crate::reduce::check;

/// Migrations are called between batches: what a call takes is counted with the next batch. The guest's clock and randomness
/// are the same in every call, so that its answer does not depend on when and in which pieces it is asked.
const NO_BATCH: CallContext = CallContext { batch_time: BatchTime::from_ms(0), partition: 0, chunk: 0 };

/// The functions of the interface.
pub(crate) struct MigrationExports {
    migrate: ComponentExportIndex,
    merge: ComponentExportIndex,
}

impl MigrationExports {
    /// Those of a component, if it has both.
    pub(crate) fn of(component: &Component) -> Option<Self> {
        Some(Self {
            migrate: export(component, MIGRATE_STATE, "migrate")?,
            merge: export(component, MIGRATE_STATE, "merge")?,
        })
    }
}

/// A migration of a plugin.
#[derive(Debug)]
pub(crate) struct PluginMigration {
    /// The update-state that takes the states over.
    callee: Callee,
    description: MigrationDescription,
}

impl PluginMigration {
    pub(crate) fn new(callee: Callee, description: MigrationDescription) -> Self {
        Self { callee, description }
    }

    fn exports(&self) -> &MigrationExports {
        let exports = self.callee.plugin.migration_exports();
        exports.expect("a plugin that describes migrations and does not export them is refused")
    }

    fn keeps_keys(&self) -> bool {
        self.description.new_keys.fields.is_empty()
    }

    /// Believes an answer for the old `keys` only if it is what the description says.
    fn check(&self, answer: contract::Migrated, keys: &RecordBatch) -> Result<Migrated, String> {
        let contract::Migrated { origins, keys: new_keys, states } = answer;
        check_origins(&origins, states.rows as usize, keys.num_rows(), "keys")?;
        if let Some(pair) = origins.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("makes two states of key {}; one at most is right", pair[0]));
        }
        if new_keys.rows != states.rows {
            let (keys, states) = (new_keys.rows, states.rows);
            return Err(format!("answered with {keys} keys for {states} states; one for each is right"));
        }
        let own = &self.callee.description.state;
        let states = lift(states, own).map_err(|wrong| format!("its states: {wrong}"))?;
        let new_keys =
            lift(new_keys, &self.description.new_keys).map_err(|wrong| format!("its keys: {wrong}"))?;
        if !self.keeps_keys() {
            return Ok(Migrated { origins, keys: new_keys, states });
        }
        let kept = take_record_batch(keys, &UInt32Array::from(origins.clone()));
        Ok(Migrated { origins, keys: kept.map_err(|error| error.to_string())?, states })
    }
}

#[async_trait]
impl Migration for PluginMigration {
    fn description(&self) -> &MigrationDescription {
        &self.description
    }

    async fn migrate(&self, keys: RecordBatch, states: RecordBatch) -> Result<Migrated, FunctionError> {
        debug_assert!(states.num_rows() <= Migrated::ROWS_MAX, "{} rows in a call", states.num_rows());
        let Self { callee, description } = self;
        let columns = if description.keys.fields.is_empty() { 0 } else { keys.num_columns() };
        let seen =
            keys.project(&(0..columns).collect::<Vec<_>>()).expect("the columns are those of the keys");
        let (seen, states) = (callee.lower(&seen)?, callee.lower(&states)?);
        let (seen, states) = (seen.table(), states.table());
        let given = states.volume().and(seen.volume().bytes);
        let input = (callee.index, description.version, seen, states);
        let check = |answer| self.check(answer, &keys);
        let (migrated, _) = callee.cross_to(&self.exports().migrate, NO_BATCH, given, input, check).await?;
        Ok(migrated)
    }

    async fn merge(&self, states: RecordBatch, groups: Groups) -> Result<RecordBatch, FunctionError> {
        debug_assert!(states.num_rows() <= Migrated::ROWS_MAX, "{} rows in a call", states.num_rows());
        let Self { callee, description } = self;
        if !description.merges {
            return Err(callee.rejected("does not merge states"));
        }
        let lowered = callee.lower(&states)?;
        let table = lowered.table();
        let given = table.volume().and(size_of_val(groups.of.as_slice()) as u64);
        let input = (callee.index, table, groups.of.as_slice(), groups.count);
        let check = |answer| check(answer, &callee.description.state, groups.count as usize, "groups");
        let (merged, _) = callee.cross_to(&self.exports().merge, NO_BATCH, given, input, check).await?;
        Ok(merged)
    }
}

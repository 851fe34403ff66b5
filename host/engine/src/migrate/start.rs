//! Before a pipeline starts: its states are taken over into another generation of them.
//!
//! The one before stays what counts until the first commit that names the new one, which the next batch's is. A process that ends
//! before that has done nothing: the next one begins anew.

use std::sync::Arc;

use millstream_platform::crash_point;
use millstream_state::{Limits, Store, Tables};

use super::{MigrateError, Plan};
use crate::application::Checkpoint;

/// Keys that are migrated between two lines of the log.
const TELL_EVERY: u64 = 1 << 20;

/// Makes a generation of states in the checkpoint folder with what `tables` hold, as the plan says.
///
/// # Errors
/// The tables are as they were, and nothing is left of the other generation.
pub(crate) async fn take_over(
    plan: &Plan,
    tables: &Tables,
    checkpoint: &Checkpoint,
    limits: Limits,
) -> Result<Arc<Tables>, MigrateError> {
    let store = Store::begin(Arc::clone(&checkpoint.disk), &checkpoint.folder, limits).await?;
    match fill(plan, tables, &store).await {
        Ok(()) => {
            crash_point("states-migrated");
            Ok(Arc::new(Tables::new(store)))
        }
        Err(error) => {
            if let Err(error) = store.discard().await {
                tracing::warn!(
                    "removing states that were not migrated whole: {error}; the next start does it"
                );
            }
            Err(error)
        }
    }
}

async fn fill(plan: &Plan, tables: &Tables, store: &Store) -> Result<(), MigrateError> {
    tracing::info!("migrating the states of {}, which are of another version", plan.names().join(", "));
    let copies = tables.fork().copy().await?;
    crash_point("states-copied");
    let mut told = 0;
    let tell = |table: &str, keys: u64| {
        if keys >= told + TELL_EVERY {
            tracing::info!("states of \"{table}\": {keys} keys are migrated");
        }
        told = keys / TELL_EVERY * TELL_EVERY;
    };
    for table in plan.carry_out(&copies, store, tell).await? {
        tracing::info!("{table}");
    }
    Ok(())
}

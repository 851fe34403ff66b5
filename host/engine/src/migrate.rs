//! Stub until merged.
use millstream_state::{Copies, StateError, States, Store, Tables};

use crate::EngineError;

/// A migrated table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigratedTable {}
#[derive(Clone)]
pub(crate) struct Plan {}

pub(crate) fn plan(states: &States, tables: &Tables) -> Result<Option<Plan>, StateError> {
    match states.differences(tables).into_iter().next() {
        Some(difference) => Err(difference.into()),
        None => Ok(None),
    }
}

impl Plan {
    #[allow(clippy::unused_async)]
    pub(crate) async fn carry_out(
        &self,
        _copies: &Copies,
        _store: &Store,
        _progress: impl FnMut(&str, u64),
    ) -> Result<Vec<MigratedTable>, EngineError> {
        Ok(Vec::new())
    }
}

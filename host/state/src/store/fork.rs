//! Forks of a store.

use std::collections::BTreeMap;

use millstream_model::BatchTime;

use super::Store;
use super::tables::Content;
use crate::Fork;
use crate::fork::PaneCopy;
use crate::keyed::before::Allowance;
use crate::keyed::fork::KeyedFork;
use crate::panes::Panes;

/// What a fork may take of the memory for states: one of so many parts.
const MEMORY_PARTS: u64 = 4;

impl Store {
    /// All tables as they are, after the batch `applied`, which is known to the caller alone.
    pub(crate) fn fork(&self, applied: Option<BatchTime>) -> Fork {
        // No batch is applied while this is held.
        let mut tables = self.tables();
        let allowance = Allowance::new(self.limits.memory_bytes / MEMORY_PARTS);
        tables.watch(&allowance);
        let (mut keyed, mut panes) = (BTreeMap::new(), BTreeMap::new());
        for (name, table) in tables.iter() {
            match &table.content {
                Content::Keyed(table) => {
                    keyed.insert(name.clone(), KeyedFork::new(table, &allowance));
                }
                Content::Panes(table, kind) => {
                    panes.insert(name.clone(), copy(table, kind));
                }
            }
        }
        Fork { applied, keyed, panes, allowance, scratch: tables.cold().another() }
    }
}

fn copy(panes: &Panes, kind: &millstream_journal::StoredKind) -> PaneCopy {
    PaneCopy { spec: panes.spec().clone(), kind: kind.clone(), panes: panes.range(..) }
}

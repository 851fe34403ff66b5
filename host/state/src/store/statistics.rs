//! What states take.

use super::Store;

/// What states take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Each table, by its name.
    pub tables: Vec<TableStatistics>,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes of snapshots on disk.
    pub snapshot_bytes: u64,
    /// Bytes of the scratch file with the keys for which there is no memory.
    pub cold_bytes: u64,
}

/// What one table takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStatistics {
    /// The table's name.
    pub name: String,
    /// How many keys have a state.
    pub keys: u64,
    /// How many of them are on disk alone.
    pub cold_keys: u64,
    /// How many batches have rows.
    pub panes: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Bytes of the keys and states that are on disk alone.
    pub cold_bytes: u64,
}

impl Store {
    /// What the tables take, and their files.
    pub fn statistics(&self) -> Statistics {
        let (log_bytes, snapshot_bytes) = self.disk.as_ref().map_or((0, 0), |disk| disk.files.bytes());
        let tables = self.tables();
        Statistics {
            tables: tables.iter().map(|(name, table)| table.content.statistics(name)).collect(),
            log_bytes,
            snapshot_bytes,
            cold_bytes: tables.cold().bytes(),
        }
    }
}

//! Which tables there are, as the state log knows them.

use millstream_model::BatchTime;
use serde::{Deserialize, Serialize};

use super::{Place, StateEnd};

/// Everything that a segment of the state log has to know of those before it, but for the states themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateStart {
    /// Where the segment before it ends; none, for the first.
    pub before: Option<StateEnd>,
    /// The number of the next table that is made. None is used twice.
    pub next_table: u32,
    /// The tables there are.
    pub tables: Vec<StoredTable>,
    /// The panes there are, and where in the log.
    pub panes: Vec<StoredPane>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredTable {
    /// Its number, by which changes and snapshots name it.
    pub id: u32,
    /// Its name, unique among the tables there are at a time.
    pub name: String,
    /// All that was ever done to it is behind this place.
    pub since: StateEnd,
    /// What it holds.
    pub kind: StoredKind,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum StoredKind {
    /// A state for each key.
    Keyed {
        /// The key's fields.
        key: Vec<StoredField>,
        /// The state's fields.
        state: Vec<StoredField>,
        /// The version of the state, by which code knows what it means.
        version: u32,
        /// In how many shards the keys are.
        shards: u32,
        /// In which form keys and states are encoded, and keys are put into shards.
        encoding: u32,
    },
    /// Rows by batch.
    Panes {
        /// The rows' columns.
        columns: Vec<StoredField>,
    },
}

/// A field of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredField {
    /// Its name.
    pub name: String,
    /// The name of its type: in keyed tables the pipeline's, in panes Arrow's.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether there may be nulls.
    #[serde(default)]
    pub nullable: bool,
}

/// The rows of one batch in a table of panes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredPane {
    /// The table's number.
    pub table: u32,
    /// The batch.
    pub time: BatchTime,
    /// The frames with its rows, in order.
    pub places: Vec<Place>,
}

use millstream_model::FunctionError;
use millstream_state::StateError;
use thiserror::Error;

/// Why states could not be made into those of another version. Those that there are have not changed.
#[derive(Clone, Debug, Error)]
pub enum MigrateError {
    /// They cannot be read, or the new ones not be written.
    #[error("migrating states: {0}")]
    State(#[from] StateError),
    /// The function failed, on one key alone.
    #[error(
        "migrating the states of \"{table}\" from version {from}, at the key {key}: {error}; the states are as they were: \
         mend the migration, or go on with the version before"
    )]
    Function {
        /// The table.
        table: String,
        /// The version that its states are of.
        from: u32,
        /// The key, as people read it.
        key: String,
        /// What the function failed with.
        error: FunctionError,
    },
    /// Keys have become the same, and their states cannot be merged.
    #[error(
        "migrating the states of \"{table}\" from version {from} makes {keys} keys the same as others, such as {key}, and its \
         function merges no states; the states are as they were: add a merge to the migration (in Rust, #[merge]), let it \
         leave keys apart, or go on with the version before"
    )]
    Clash {
        /// The table.
        table: String,
        /// The version that its states are of.
        from: u32,
        /// By how many there would be fewer.
        keys: u64,
        /// One of the new keys, as people read it.
        key: String,
    },
}

impl MigrateError {
    /// Whether the disk has no room: it may be done again when there is some.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::State(error) if error.is_full())
    }
}

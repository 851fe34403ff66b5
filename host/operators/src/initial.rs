//! The states that a stream begins with: rows of a table, put before the stream's first batch.
//!
//! They are part of that batch's change, and so of its commit. That the stream has begun is kept as a state of its own, in
//! the same change: so no later batch, and no later process, puts them again, whatever has become of the keys meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use millstream_model::{BatchTime, DataType, Field, Schema};
use millstream_query::QueryError;
use millstream_state::{Change, Keyed, KeyedSpec, KeyedTable, Limits, States, Store, names};

use crate::columns::pick;
use crate::snapshot::state_error;

/// The states to begin with, by key, both encoded.
pub(crate) type InitialStates = BTreeMap<Vec<u8>, Vec<u8>>;

/// The states that a stream begins with.
#[derive(Clone, Debug)]
pub struct Initial {
    /// The table, an input of the program.
    pub(crate) table: String,
    /// Which of the table's columns are the key's and then the state's.
    columns: Vec<usize>,
    stream: String,
    /// Has one key once the stream has begun.
    begun: Arc<KeyedTable>,
}

impl Initial {
    /// Those of the stream `stream` in the table `table`, whose `columns` are the key's and then the state's.
    pub fn new(stream: &str, table: &str, columns: Vec<usize>, states: &States) -> Self {
        let spec = KeyedSpec {
            key: Schema::new([Field::new("stream", DataType::Utf8)]),
            state: Schema::new([Field::new("batch", DataType::Timestamp)]),
            version: 0,
        };
        let begun = states.keyed(&names::initial(stream), spec);
        Self { table: table.to_owned(), columns, stream: stream.to_owned(), begun }
    }

    /// Whether `rows` of the table can be states as `spec` has them; if not, why.
    ///
    /// # Errors
    /// What is wrong with which row, and what to do.
    pub fn check(&self, spec: &KeyedSpec, rows: &[RecordBatch]) -> Result<(), String> {
        let store = Store::in_memory(Limits { memory_bytes: u64::MAX, ..Limits::default() });
        let keyed = store.keyed(&self.stream, spec.clone()).map_err(|error| error.to_string())?;
        self.states(&keyed, rows).map(drop)
    }

    /// What the stream whose states are in `keyed` begins with in this batch; nothing, where it has begun. A stream with
    /// states that were kept before there was a table for it begins with these.
    pub(crate) fn begin(
        &self,
        keyed: &Keyed,
        rows: impl FnOnce() -> Vec<RecordBatch>,
    ) -> Result<Option<InitialStates>, QueryError> {
        if !self.begun.table().is_empty() {
            return Ok(None);
        }
        if !keyed.is_empty() {
            return Ok(Some(InitialStates::default()));
        }
        let states = self.states(keyed, &rows());
        let failed = |message| QueryError::Run { relation: self.stream.clone(), message };
        states.map(Some).map_err(failed)
    }

    /// Notes that the stream begins with the batch of that time.
    pub(crate) fn note(&self, time: BatchTime, change: &mut Change) -> Result<(), QueryError> {
        let name: ArrayRef = Arc::new(StringViewArray::from_iter_values([&self.stream]));
        let batch: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from_value(time.as_ms().saturating_mul(1_000), 1));
        let key = self.begun.table().encode_keys(&[name]).map_err(state_error)?;
        let state = self.begun.table().encode_states(&[batch]).map_err(state_error)?;
        change.keyed(&self.begun.name).put(key.row(0).data(), state.row(0).data());
        Ok(())
    }

    fn states(&self, keyed: &Keyed, rows: &[RecordBatch]) -> Result<InitialStates, String> {
        let mut states = InitialStates::default();
        let mut before = 0;
        for rows in rows {
            self.add_states(keyed, rows, before, &mut states)?;
            before += rows.num_rows();
        }
        Ok(states)
    }

    /// Adds the states of `rows`, of which `before` are before them in the table.
    fn add_states(
        &self,
        keyed: &Keyed,
        rows: &RecordBatch,
        before: usize,
        states: &mut InitialStates,
    ) -> Result<(), String> {
        let spec = keyed.spec();
        let rows = pick(rows, &self.columns, keyed.schema()).map_err(|error| error.to_string())?;
        let at = |row: usize| format!("row {} of the table \"{}\"", before + row + 1, self.table);
        let is_required = |column: usize| {
            let of_state = column.checked_sub(spec.key.fields.len()).map(|column| &spec.state.fields[column]);
            of_state.is_none_or(|field| !field.nullable)
        };
        let null = |(column, values): (usize, &ArrayRef)| {
            let row = (0..values.len()).find(|row| values.is_null(*row))?;
            is_required(column).then(|| (row, rows.schema().field(column).name().clone()))
        };
        if let Some((row, column)) = rows.columns().iter().enumerate().find_map(null) {
            return Err(format!("{} has no \"{column}\", which a state to begin with must have", at(row)));
        }
        let (key_columns, state_columns) = rows.columns().split_at(spec.key.fields.len());
        let encoded =
            keyed.encode_keys(key_columns).and_then(|keys| Ok((keys, keyed.encode_states(state_columns)?)));
        let (keys, encoded) = encoded.map_err(|error| error.to_string())?;
        for (row, (key, state)) in keys.iter().zip(&encoded).enumerate() {
            if states.insert(key.data().to_vec(), state.data().to_vec()).is_some() {
                return Err(format!("{} has the key of a row before it; a key has one state", at(row)));
            }
        }
        Ok(())
    }
}

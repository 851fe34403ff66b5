//! All states of a table, with what the batch that runs changes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{Encoded, Keyed, KeyedChange, SHARDS, StateError};

use crate::StateUpdate;
use crate::columns::misfit;

/// What a batch makes of some keys: their new states, or that they have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Overlay {
    /// What becomes of a key; the last word on it counts.
    pub(crate) fn set(&mut self, key: &[u8], state: Option<&[u8]>) {
        self.0.insert(key.to_vec(), state.map(<[u8]>::to_vec));
    }

    /// What the batch makes of a key; nothing, where it leaves it as it is.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.0.get(key).map(|state| state.as_deref())
    }

    /// The keys that have a state.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().filter_map(|(key, state)| Some((key.as_slice(), state.as_deref()?)))
    }

    /// Puts another one's words over these.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(key, state)| (key.clone(), state.clone())));
    }

    /// Stages it all.
    pub(crate) fn stage(&self, change: &mut KeyedChange) {
        for (key, state) in &self.0 {
            match state {
                Some(state) => change.put(key, state),
                None => change.remove(key),
            }
        }
    }

    /// All keys and states of a table as they are with this, in the columns of its schema.
    pub(crate) fn scan(&self, keyed: &Keyed) -> Result<Vec<RecordBatch>, QueryError> {
        let mut all = Vec::new();
        for entries in (0..SHARDS).map(|shard| keyed.entries(shard)).filter(|entries| !entries.is_empty()) {
            let rows = keyed.decode(&entries).map_err(state_error)?;
            let untouched =
                entries.keys.iter().map(|key| Some(key.is_some_and(|key| !self.0.contains_key(key))));
            let untouched: BooleanArray = untouched.collect();
            all.push(filter_record_batch(&rows, &untouched).map_err(misfit)?);
        }
        let (mut keys, mut states) = (Encoded::default(), Encoded::default());
        for (key, state) in self.present() {
            keys.push(key);
            states.push(state);
        }
        let mut columns = keyed.decode_keys(&keys).map_err(state_error)?;
        columns.extend(keyed.decode_states(&states).map_err(state_error)?);
        all.push(RecordBatch::try_new(Arc::clone(keyed.schema()), columns).map_err(misfit)?);
        all.retain(|rows| rows.num_rows() > 0);
        Ok(all)
    }
}

pub(crate) fn state_error(error: StateError) -> QueryError {
    QueryError::Run { relation: "states".to_owned(), message: error.to_string() }
}

/// All keys and states of a stream with states, after each batch.
pub struct Snapshot(Arc<StateUpdate>);

impl Snapshot {
    /// Of that stream, which it reads, so that it runs after it.
    pub fn new(of: Arc<StateUpdate>) -> Self {
        Self(of)
    }
}

#[async_trait]
impl Operator for Snapshot {
    fn schema(&self) -> SchemaRef {
        self.0.state_columns()
    }

    async fn run(
        &self,
        _context: &OperatorContext,
        _rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        Ok(Some(vec![self.0.latest().scan(self.0.keyed())?]))
    }
}

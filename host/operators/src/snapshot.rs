//! All states of a table, with what the batch that runs changes of them: it has staged that when they are read.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use hashbrown::HashMap;
use millstream_model::BatchTime;
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{Entries, Keyed, KeyedChange, SHARDS, StateError};

use crate::StateUpdate;
use crate::columns::misfit;

/// All keys and states of a table as they are with a change, in the columns of its schema.
pub(crate) fn scan(keyed: &Keyed, change: &KeyedChange) -> Result<Vec<RecordBatch>, QueryError> {
    // The last word on a key counts.
    let words: HashMap<&[u8], Option<&[u8]>> = change.words().collect();
    let mut all = Vec::new();
    for entries in (0..SHARDS).map(|shard| keyed.entries(shard)).filter(|entries| !entries.is_empty()) {
        let rows = keyed.decode(&entries).map_err(state_error)?;
        let untouched = entries.keys.iter().map(|key| Some(key.is_some_and(|key| !words.contains_key(key))));
        let untouched: BooleanArray = untouched.collect();
        all.push(filter_record_batch(&rows, &untouched).map_err(misfit)?);
    }
    let mut changed = Entries::default();
    for (key, state) in change.words() {
        let counts = |state: &[u8]| words[key].is_some_and(|last| std::ptr::eq(last, state));
        if let Some(state) = state.filter(|state| counts(state)) {
            changed.push(key, state, BatchTime::default());
        }
    }
    all.push(keyed.decode(&changed).map_err(state_error)?);
    all.retain(|rows| rows.num_rows() > 0);
    Ok(all)
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
        Ok(Some(vec![self.0.look(|change| scan(self.0.keyed(), change))?]))
    }
}

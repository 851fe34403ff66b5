//! A state for each key, made anew by a plugin from what it was and the key's new rows.
//!
//! A batch looks at the keys that have rows in it, at those that had none for too long, and, where that is asked for, at all.
//! The keys of a large batch are in several parts, each on a thread of its own; which part a key is in is for its shard to say,
//! so that parts have nothing to do with each other until their changes are put together.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use millstream_model::{BatchTime, UpdateState};
use millstream_query::{Caller, Operator, OperatorContext, Partitions, QueryError, in_parallel};
use millstream_state::{Keyed, KeyedChange, KeyedTable, States};

use crate::initial::{Initial, InitialStates};
use crate::part::{Arrived, Binding, Part, Updater};
use crate::stuck::Stuck;

/// How states are updated.
#[derive(Clone, Debug, Default)]
pub struct UpdateSettings {
    /// What to begin with.
    pub initial: Option<Initial>,
    /// A key without rows for longer than this loses its state.
    pub timeout: Option<Duration>,
    /// Whether every key is visited in every batch.
    pub every_key: bool,
    /// Who calls the function, and what happens to keys that it fails on.
    pub caller: Arc<Caller>,
}

/// The rows that a function is called with.
#[derive(Clone, Debug)]
pub struct UpdateColumns {
    /// The columns of the rows.
    pub input: SchemaRef,
    /// Those of the key.
    pub keys: Vec<usize>,
    /// Those that the function takes, in the order of its input.
    pub values: Vec<usize>,
}

/// A stream with a state for each key.
pub struct StateUpdate {
    updater: Arc<Updater>,
    states: Arc<States>,
}

impl StateUpdate {
    /// A stream whose states are in `keyed`.
    pub fn new(
        function: Arc<dyn UpdateState>,
        columns: UpdateColumns,
        keyed: Arc<KeyedTable>,
        states: Arc<States>,
        settings: UpdateSettings,
    ) -> Self {
        let UpdateColumns { input, keys, values } = columns;
        let description = function.description();
        let key_schema = Arc::new(keyed.spec.key.to_arrow());
        let key_fields = keys
            .iter()
            .zip(key_schema.fields())
            .map(|(&column, field)| Arc::new(field.as_ref().clone().with_name(input.field(column).name())));
        let output = description.output.to_arrow();
        let fields = key_fields.chain(output.fields().iter().cloned());
        let binding = Binding {
            output: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            described_keys: Arc::new(description.keys.to_arrow()),
            value_schema: Arc::new(description.input.to_arrow()),
            state_schema: Arc::new(description.state.to_arrow()),
            input,
            key_schema,
            keys,
            values,
        };
        let stuck = Stuck::default();
        Self { updater: Arc::new(Updater { function, keyed, settings, binding, stuck }), states }
    }

    pub(crate) fn keyed(&self) -> &Keyed {
        self.updater.keyed.table()
    }

    /// The columns of keys and states.
    pub fn state_columns(&self) -> SchemaRef {
        self.updater.keyed.spec.schema()
    }

    /// Looks at what the batch that runs does to the states.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&KeyedChange) -> T) -> T {
        self.states.stage(|change| look(change.keyed(&self.updater.keyed.name)))
    }

    /// The states to begin with, in the stream's first batch.
    fn initial(&self, context: &OperatorContext) -> Result<Option<InitialStates>, QueryError> {
        match &self.updater.settings.initial {
            Some(initial) => initial.begin(self.keyed(), || context.table_rows()),
            None => Ok(None),
        }
    }

    /// Stages what the batch does to the table: what parts do comes after what there is to begin with.
    fn stage(
        &self,
        time: BatchTime,
        initial: Option<&InitialStates>,
        parts: Vec<KeyedChange>,
    ) -> Result<(), QueryError> {
        let begins = initial.zip(self.updater.settings.initial.as_ref());
        self.states.stage(|change| {
            let keys = change.keyed(&self.updater.keyed.name);
            if let Some((states, _)) = begins {
                states.iter().for_each(|(key, state)| keys.put(key, state));
            }
            parts.into_iter().for_each(|part| *keys += part);
            begins.map_or(Ok(()), |(_, initial)| initial.note(time, change))
        })
    }

    /// Runs all parts, each on a thread of its own if there are several.
    async fn run_parts(
        &self,
        context: &OperatorContext,
        arrived: &Arc<Arrived>,
        parts: Vec<Part>,
    ) -> Result<(Partitions, Vec<KeyedChange>), QueryError> {
        let piece = |part: Part| {
            let (updater, context, arrived) =
                (Arc::clone(&self.updater), context.clone(), Arc::clone(arrived));
            async move { updater.run(&context, &arrived, &part).await }
        };
        let done = in_parallel(&self.updater.keyed.name, parts.into_iter().map(piece)).await?;
        Ok(done.into_iter().unzip())
    }
}

#[async_trait]
impl Operator for StateUpdate {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.updater.binding.output)
    }

    fn table(&self) -> Option<&str> {
        self.updater.settings.initial.as_ref().map(|initial| initial.table.as_str())
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (initial, partitions) = (self.initial(context)?, rows.len());
        let (arrived, parts) = self.updater.arrive(&rows.concat(), initial, partitions)?;
        let arrived = Arc::new(arrived);
        let (mut output, changes) = self.run_parts(context, &arrived, parts).await?;
        self.stage(context.time(), arrived.initial.as_ref(), changes)?;
        output.iter_mut().for_each(|chunks| chunks.retain(|rows| rows.num_rows() > 0));
        Ok(Some(output))
    }
}

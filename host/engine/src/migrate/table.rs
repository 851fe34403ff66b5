//! One table's states, taken through a migration a few thousand keys at a time.
//!
//! ```text
//! old rows ──migrate──▶ new rows ──keys that others have as well? merge──▶ put
//! ```
//!
//! Where a call fails its rows are halved, and the halves called anew: so too much for one call is none for two, and what fails in
//! the end fails on one key, which the error names.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use millstream_model::{FunctionError, Migrated};
use millstream_state::{Collisions, Copies, KeyedRows, StateError, Store, Target};

use super::{MigrateError, MigratedTable, TablePlan};

/// What an error says of a key, at most.
const KEY_BYTES_MAX: usize = 200;

/// Puts what `copies` hold of a table into `store`, migrated.
pub(super) async fn migrate(
    plan: &TablePlan,
    copies: &Copies,
    store: &Store,
    mut progress: impl FnMut(u64) + Send,
) -> Result<MigratedTable, MigrateError> {
    let target = Target::new(store, &plan.table, plan.spec.clone())?;
    // Where new keys are all there already, what is to be merged is twice as much.
    let rows_max = match plan.migration.description().merges {
        true => Migrated::ROWS_MAX / 2,
        false => Migrated::ROWS_MAX,
    };
    let mut moving = Moving { plan, target, keys: 0, dropped: 0, clash: None };
    let mut reader =
        copies.read(&plan.table)?.ok_or_else(|| StateError::Unknown { table: plan.table.clone() })?;
    while let Some(rows) = reader.next(rows_max)? {
        let keys = rows.times.len() as u64;
        moving.migrate(rows).await?;
        moving.keys += keys;
        progress(moving.keys);
        tokio::task::yield_now().await;
    }
    moving.end(store)
}

/// A table on its way.
struct Moving<'a> {
    plan: &'a TablePlan,
    target: Target<'a>,
    keys: u64,
    dropped: u64,
    /// A new key that others have as well, where they cannot be merged. The others are counted to the end, for the error to
    /// tell how many they are.
    clash: Option<String>,
}

impl Moving<'_> {
    /// Takes in old rows.
    async fn migrate(&mut self, rows: KeyedRows) -> Result<(), MigrateError> {
        let state = Arc::new(self.plan.migration.description().state.to_arrow());
        let mut pieces = vec![rows];
        while let Some(piece) = pieces.pop() {
            let states = self.retyped(&piece.states, &state)?;
            match self.plan.migration.migrate(piece.keys.clone(), states).await {
                Ok(migrated) => {
                    self.dropped += (piece.times.len() - migrated.origins.len()) as u64;
                    self.put(self.new_rows(&migrated, &piece)?).await?;
                }
                Err(error) => pieces.extend(self.divided(&piece, error)?),
            }
        }
        Ok(())
    }

    /// Takes in new rows.
    async fn put(&mut self, rows: KeyedRows) -> Result<(), MigrateError> {
        let mut pieces = vec![rows];
        while let Some(piece) = pieces.pop() {
            let rows = match self.target.collisions(&piece)? {
                None => piece,
                Some(collisions) if !self.plan.migration.description().merges => {
                    self.clash.get_or_insert_with(|| shown(&piece.keys, collisions.row()));
                    piece
                }
                Some(collisions) => match self.merged(&collisions).await? {
                    Ok(rows) => rows,
                    Err(error) => {
                        pieces.extend(self.divided(&piece, error)?);
                        continue;
                    }
                },
            };
            self.target.put(&rows).await?;
        }
        Ok(())
    }

    /// The rows that there are when those with one key are merged.
    async fn merged(
        &self,
        collisions: &Collisions,
    ) -> Result<Result<KeyedRows, FunctionError>, MigrateError> {
        let state = Arc::new(self.plan.spec.state.to_arrow());
        let states = self.retyped(&collisions.states, &state)?;
        let merged = match self.plan.migration.merge(states, collisions.groups.clone()).await {
            Ok(merged) => merged,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(collisions.merged(&merged).map_err(|error| self.misfit(&error))?))
    }

    /// What was made of old rows, in the columns of the table.
    fn new_rows(&self, migrated: &Migrated, old: &KeyedRows) -> Result<KeyedRows, MigrateError> {
        let spec = &self.plan.spec;
        Ok(KeyedRows {
            keys: self.retyped(&migrated.keys, &spec.key_schema())?,
            states: self.retyped(&migrated.states, &spec.state_schema())?,
            times: migrated.origins.iter().map(|origin| old.times[*origin as usize]).collect(),
        })
    }

    /// The rows of a call that failed in two halves, the first one last; or what is to be told, where that is of no use.
    fn divided(&self, rows: &KeyedRows, error: FunctionError) -> Result<[KeyedRows; 2], MigrateError> {
        let count = rows.times.len();
        if count > 1 && !matches!(error, FunctionError::Unavailable { .. }) {
            let (half, rest) = (count / 2, count - count / 2);
            return Ok([slice(rows, half, rest), slice(rows, 0, half)]);
        }
        let TablePlan { table, from, .. } = self.plan;
        Err(MigrateError::Function { table: table.clone(), from: *from, key: shown(&rows.keys, 0), error })
    }

    fn end(self, store: &Store) -> Result<MigratedTable, MigrateError> {
        let Self { plan: TablePlan { table, from, spec, .. }, keys, dropped, clash, .. } = self;
        let kept = store.statistics().tables.into_iter().find(|found| found.name == *table);
        let kept = kept.map_or(0, |found| found.keys);
        let merged = keys - dropped - kept;
        match clash {
            Some(key) => Err(MigrateError::Clash { table: table.clone(), from: *from, keys: merged, key }),
            None => {
                let (table, to) = (table.clone(), spec.version);
                Ok(MigratedTable { table, from: *from, to, keys, kept, merged, dropped })
            }
        }
    }

    /// The same columns, as those of `schema`.
    fn retyped(&self, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StateError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let (schema, columns) = (Arc::<ArrowSchema>::clone(schema), rows.columns().to_vec());
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| self.misfit(&error))
    }

    fn misfit(&self, error: &ArrowError) -> StateError {
        StateError::Columns { table: self.plan.table.clone(), what: error.to_string() }
    }
}

fn slice(rows: &KeyedRows, from: usize, count: usize) -> KeyedRows {
    KeyedRows {
        keys: rows.keys.slice(from, count),
        states: rows.states.slice(from, count),
        times: rows.times[from..from + count].to_vec(),
    }
}

/// The beginning of a key as people read it.
fn shown(keys: &RecordBatch, row: usize) -> String {
    let value = |column: &ArrayRef| match column.is_null(row) {
        true => "null".to_owned(),
        false => array_value_to_string(column, row).unwrap_or_default(),
    };
    let schema = keys.schema();
    let columns = schema.fields().iter().zip(keys.columns());
    let columns = columns.map(|(field, column)| format!("{} = {:?}", field.name(), value(column)));
    let mut text = columns.collect::<Vec<_>>().join(", ");
    if text.len() > KEY_BYTES_MAX {
        text.truncate(text.floor_char_boundary(KEY_BYTES_MAX));
        text.push_str("...");
    }
    text
}

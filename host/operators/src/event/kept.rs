//! What panes come to, in a table by pane and key.
//!
//! The columns of keys and of what is kept of them are of any types that arrow's row format knows, and those of partial aggregates
//! are for nobody else to read. So the table has the pane, and the others as bytes in that format. The names of its fields say
//! what the bytes are, so that bytes of other columns are never taken for them:
//!
//! ```text
//! key:   pane of 20000ms: timestamp │ customer: Utf8View: binary
//! state: sum(amount)[sum]: Float64: binary
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use millstream_model::{DataType, Field, Schema};
use millstream_query::QueryError;
use millstream_state::{
    Encoded, Entries, KeySet, KeyedChange, KeyedSpec, KeyedTable, SHARDS, States, decode_rows,
};

use super::{EventSpan, times};
use crate::columns::{gather, misfit, table};
use crate::grouping::number;
use crate::snapshot::state_error;

/// Tables of rows by pane and key. Their first column is the pane, then come the rest of the key and what is kept of it.
pub(crate) struct Kept {
    table: Arc<KeyedTable>,
    schema: SchemaRef,
    /// How many columns the key has, the pane included.
    key_columns: usize,
    keys: RowBytes,
    states: RowBytes,
}

/// What was found in a scan.
#[derive(Default)]
pub(crate) struct Scanned {
    /// The rows of the panes that were asked for.
    pub(crate) rows: Vec<RecordBatch>,
    /// The keys that are to go.
    pub(crate) gone: Vec<Vec<u8>>,
}

/// Columns as bytes, a value for each row, which sort as the columns do.
struct RowBytes(Option<RowConverter>);

impl Kept {
    /// The table of that name, for event times of the column `on`, of rows with the columns `schema`, of which the first `key_columns` are the key.
    ///
    /// # Errors
    /// Where a column is of a type that cannot be kept.
    pub(crate) fn new(
        name: &str,
        on: &str,
        span: EventSpan,
        schema: SchemaRef,
        key_columns: usize,
        states: &States,
    ) -> Result<Self, QueryError> {
        let (keys, kept) = schema.fields().split_at(key_columns);
        let pane = format!("pane of {}ms by {on}", span.slide() / 1_000);
        let spec = KeyedSpec {
            key: Schema::new([
                Field::new(&*pane, DataType::Timestamp),
                Field::new(listed(&keys[1..]), DataType::Binary),
            ]),
            state: Schema::new([Field::new(listed(kept), DataType::Binary)]),
            version: 0,
        };
        let (keys, kept) = (RowBytes::of(&keys[1..])?, RowBytes::of(kept)?);
        Ok(Self { table: states.keyed(name, spec), schema, key_columns, keys, states: kept })
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &str {
        &self.table.name
    }

    /// The keys of rows without their panes, as bytes that sort as the keys do.
    pub(crate) fn sortable(&self, rows: &RecordBatch) -> Result<BinaryViewArray, QueryError> {
        self.keys.encode(&rows.columns()[1..self.key_columns], rows.num_rows())
    }

    /// The keys of rows, in the form in which they are looked up and changed.
    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Rows, QueryError> {
        let panes: ArrayRef = Arc::new(times(rows.column(0))?);
        let keys: ArrayRef = Arc::new(self.sortable(rows)?);
        self.table.table().encode_keys(&[panes, keys]).map_err(state_error)
    }

    /// What was kept of the keys of `rows`; keys of which nothing was kept are not there.
    pub(crate) fn lookup(&self, keys: &Rows, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let found = self.table.table().lookup(&keys.iter().map(|key| key.data()).collect::<Vec<_>>());
        let (mut states, mut of) = (Encoded::default(), Vec::new());
        for (row, state) in found.iter().enumerate() {
            if let Some(state) = state {
                states.push(state);
                of.push(number(row));
            }
        }
        let columns = gather(&rows.columns()[..self.key_columns], &UInt32Array::from(of))?;
        self.rows(columns, &states)
    }

    /// Stages that `rows` are what is kept of their keys from now on, but for those of panes that are `over`: of these nothing is
    /// kept, which is said of those of which something was, which are in `known`.
    pub(crate) fn stage(
        &self,
        change: &mut KeyedChange,
        rows: &RecordBatch,
        known: &KeySet<'_>,
        over: impl Fn(i64) -> bool,
    ) -> Result<(), QueryError> {
        let (keys, panes) = (self.keys(rows)?, times(rows.column(0))?);
        let (mut stays, mut of) = (Vec::new(), Vec::new());
        for (row, key) in keys.iter().enumerate() {
            if !over(panes.value(row)) {
                stays.push(key);
                of.push(number(row));
            } else if known.contains(key.data()) {
                change.remove(key.data());
            }
        }
        let columns = gather(&rows.columns()[self.key_columns..], &UInt32Array::from(of))?;
        let bytes: ArrayRef = Arc::new(self.states.encode(&columns, stays.len())?);
        let states = self.table.table().encode_states(&[bytes]).map_err(state_error)?;
        stays.iter().zip(&states).for_each(|(key, state)| change.put(key.data(), state.data()));
        Ok(())
    }

    /// Looks at all that is kept of keys that are not in `except`: gives the rows of panes that are `due`, and the keys of those
    /// that are `over`.
    pub(crate) fn scan(
        &self,
        except: &KeySet<'_>,
        due: impl Fn(i64) -> bool,
        over: impl Fn(i64) -> bool,
    ) -> Result<Scanned, QueryError> {
        let mut scanned = Scanned::default();
        for shard in 0..SHARDS {
            let entries = self.table.table().entries(shard);
            if !entries.is_empty() {
                self.scan_entries(&entries, except, (&due, &over), &mut scanned)?;
            }
        }
        Ok(scanned)
    }

    fn scan_entries(
        &self,
        entries: &Entries,
        except: &KeySet<'_>,
        (due, over): (&impl Fn(i64) -> bool, &impl Fn(i64) -> bool),
        scanned: &mut Scanned,
    ) -> Result<(), QueryError> {
        let keys = self.table.table().decode_keys(&entries.keys).map_err(state_error)?;
        let panes = keys[0].as_primitive::<TimestampMicrosecondType>().values();
        let (mut chosen, mut states) = (Vec::new(), Encoded::default());
        for (row, (key, state)) in entries.keys.iter().zip(entries.states.iter()).enumerate() {
            let (Some(key), Some(state)) = (key.filter(|key| !except.contains(key)), state) else { continue };
            if over(panes[row]) {
                scanned.gone.push(key.to_vec());
            }
            if due(panes[row]) {
                chosen.push(number(row));
                states.push(state);
            }
        }
        if chosen.is_empty() {
            return Ok(());
        }
        let chosen = UInt32Array::from(chosen);
        let bytes = take(&keys[1], &chosen, None).map_err(misfit)?;
        let mut columns = vec![take(&keys[0], &chosen, None).map_err(misfit)?];
        columns.extend(self.keys.decode(bytes.as_binary_view())?);
        scanned.rows.push(self.rows(columns, &states)?);
        Ok(())
    }

    /// Keys with what is kept of them.
    fn rows(&self, mut columns: Vec<ArrayRef>, states: &Encoded) -> Result<RecordBatch, QueryError> {
        let bytes = self.table.table().decode_states(states.iter()).map_err(state_error)?;
        columns.extend(self.states.decode(bytes[0].as_binary_view())?);
        table(Arc::clone(&self.schema), columns, states.len())
    }
}

impl RowBytes {
    fn of(fields: &[FieldRef]) -> Result<Self, QueryError> {
        if fields.is_empty() {
            return Ok(Self(None));
        }
        for field in fields {
            Self::check(field)?;
        }
        Ok(Self(Some(converter(fields)?)))
    }

    /// Refuses a type that does not come back from the row format as it was.
    fn check(field: &FieldRef) -> Result<(), QueryError> {
        let refused = || QueryError::Sql {
            message: format!(
                "\"{}\" is {}, which cannot be kept; cast it in sql first",
                field.name(),
                field.data_type()
            ),
            place: None,
        };
        let converter = converter(std::slice::from_ref(field)).map_err(|_| refused())?;
        let back = converter.convert_rows(std::iter::empty()).map_err(|_| refused())?;
        match back[0].data_type() == field.data_type() {
            true => Ok(()),
            false => Err(refused()),
        }
    }

    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<BinaryViewArray, QueryError> {
        match &self.0 {
            None => Ok(BinaryViewArray::from_iter_values(std::iter::repeat_n([], rows))),
            Some(converter) => {
                let rows = converter.convert_columns(columns).map_err(misfit)?;
                Ok(BinaryViewArray::from_iter_values(rows.iter().map(|row| row.data())))
            }
        }
    }

    fn decode(&self, bytes: &BinaryViewArray) -> Result<Vec<ArrayRef>, QueryError> {
        let Some(converter) = &self.0 else { return Ok(Vec::new()) };
        decode_rows(converter, bytes.iter().flatten()).map_err(misfit)
    }
}

fn converter(fields: &[FieldRef]) -> Result<RowConverter, QueryError> {
    let fields = fields.iter().map(|field| SortField::new(field.data_type().clone()));
    RowConverter::new(fields.collect()).map_err(misfit)
}

fn listed(fields: &[FieldRef]) -> String {
    let field = |field: &FieldRef| format!("{}: {}", field.name(), field.data_type());
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

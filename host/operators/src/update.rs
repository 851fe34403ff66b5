//! A state for each key, made anew by a plugin from what it was and the key's new rows.
//!
//! A batch looks at the keys that have rows in it, at those that had none for too long, and, where that is asked for, at all.
//! Keys and states stay encoded but for those that are shown to the function.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::Rows;
use async_trait::async_trait;
use millstream_model::{BatchTime, CallContext, Fate, Update, UpdateState, Updated};
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{Encoded, KeySet, Keyed, KeyedTable, SHARDS, States};

use crate::columns::{gather, gather_rows, pick, table, whole};
use crate::folding::CALL_ROWS_MAX;
use crate::grouping::{Grouping, number};
use crate::initial::Initial;
use crate::snapshot::{Overlay, state_error};

/// Keys that time out in one batch at most; others do in the next.
const TIMED_OUT_MAX: usize = 1 << 20;

/// How states are updated.
#[derive(Clone, Debug, Default)]
pub struct UpdateSettings {
    /// What to begin with.
    pub initial: Option<Initial>,
    /// A key without rows for longer than this loses its state.
    pub timeout: Option<Duration>,
    /// Whether every key is visited in every batch.
    pub every_key: bool,
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
    function: Arc<dyn UpdateState>,
    keyed: Arc<KeyedTable>,
    states: Arc<States>,
    settings: UpdateSettings,
    binding: Binding,
    /// What the batch that ran last made of the states.
    latest: Mutex<Overlay>,
}

/// Which columns of the input are used for what.
struct Binding {
    keys: Vec<usize>,
    values: Vec<usize>,
    key_schema: SchemaRef,
    described_keys: SchemaRef,
    value_schema: SchemaRef,
    state_schema: SchemaRef,
    input: SchemaRef,
    output: SchemaRef,
}

/// Keys to be updated, with what is known of them.
struct Keys {
    columns: Vec<ArrayRef>,
    encoded: Rows,
    states: Encoded,
    timed_out: bool,
    /// The keys' rows one after the other, and where each key's begin.
    rows: RecordBatch,
    starts: Vec<u32>,
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
        Self { function, keyed, states, settings, binding, latest: Mutex::default() }
    }

    pub(crate) fn keyed(&self) -> &Keyed {
        self.keyed.table()
    }

    /// The columns of keys and states.
    pub fn state_columns(&self) -> SchemaRef {
        self.keyed.spec.schema()
    }

    /// What the batch that ran last made of the states.
    pub(crate) fn latest(&self) -> Overlay {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The states to begin with, in the stream's first batch.
    fn initial(&self, context: &OperatorContext) -> Result<Option<Overlay>, QueryError> {
        match &self.settings.initial {
            Some(initial) => initial.begin(self.keyed(), || context.table_rows()),
            None => Ok(None),
        }
    }

    /// The keys of a batch's rows.
    fn touched(&self, chunks: &[RecordBatch], initial: Option<&Overlay>) -> Result<Keys, QueryError> {
        let binding = &self.binding;
        let all = whole(&binding.input, chunks)?;
        let columns = pick(&all, &binding.keys, &binding.key_schema)?;
        let grouping =
            Grouping::of_keys(&self.keyed.table().encode_keys(columns.columns()).map_err(state_error)?);
        let (order, starts) = grouping.sorted();
        let columns = gather(columns.columns(), &grouping.firsts())?;
        let values = pick(&all, &binding.values, &binding.value_schema)?;
        let rows = gather_rows(&values, &UInt32Array::from(order))?;
        let encoded = self.keyed.table().encode_keys(&columns).map_err(state_error)?;
        let states = self.lookup(&encoded, initial);
        Ok(Keys { columns, encoded, states, timed_out: false, rows, starts })
    }

    fn lookup(&self, keys: &Rows, initial: Option<&Overlay>) -> Encoded {
        let mut found = self.keyed.table().lookup(keys);
        if let Some(initial) = initial {
            for (row, key) in keys.iter().enumerate() {
                if found.get(row).is_none()
                    && let Some(Some(state)) = initial.get(key.data())
                {
                    found.set(row, state);
                }
            }
        }
        found
    }

    /// Keys without rows.
    fn without_rows(&self, keys: &Encoded, states: Encoded, timed_out: bool) -> Result<Keys, QueryError> {
        let columns = self.keyed.table().decode_keys(keys).map_err(state_error)?;
        let encoded = self.keyed.table().encode_keys(&columns).map_err(state_error)?;
        let rows = RecordBatch::new_empty(Arc::clone(&self.binding.value_schema));
        let starts = vec![0; keys.len() + 1];
        Ok(Keys { columns, encoded, states, timed_out, rows, starts })
    }

    /// All keys that have a state and no rows, and are not timed out.
    fn others(&self, except: &KeySet<'_>, initial: Option<&Overlay>) -> Result<Vec<Keys>, QueryError> {
        let mut others = Vec::new();
        for shard in 0..SHARDS {
            let entries = self.keyed.table().entries(shard);
            let (mut keys, mut states) = (Encoded::default(), Encoded::default());
            for (key, state) in entries.keys.iter().zip(entries.states.iter()) {
                if let (Some(key), Some(state)) = (key, state)
                    && !except.contains(key)
                {
                    keys.push(key);
                    states.push(state);
                }
            }
            if !keys.is_empty() {
                others.push(self.without_rows(&keys, states, false)?);
            }
        }
        let (mut keys, mut states) = (Encoded::default(), Encoded::default());
        for (key, state) in initial.into_iter().flat_map(Overlay::present) {
            if !except.contains(key) {
                keys.push(key);
                states.push(state);
            }
        }
        if !keys.is_empty() {
            others.push(self.without_rows(&keys, states, false)?);
        }
        Ok(others)
    }

    /// Updates keys in as many calls as they need, and gives the stream's rows.
    async fn update(
        &self,
        context: &OperatorContext,
        keys: &Keys,
        calls: &mut u32,
        changed: &mut Changed,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let mut output = Vec::new();
        let count = keys.encoded.num_rows();
        let mut from = 0;
        while from < count {
            let fits = |to: &usize| {
                *to == from + 1
                    || (to - from <= CALL_ROWS_MAX
                        && (keys.starts[*to] - keys.starts[from]) as usize <= CALL_ROWS_MAX)
            };
            let to = (from + 1..=count).take_while(fits).last().unwrap_or(count);
            let call = CallContext { batch_time: context.time(), partition: 0, chunk: *calls };
            *calls += 1;
            let updated = self.function.update(call, self.request(keys, from, to)?).await?;
            context.add(updated.added.clone())?;
            self.settle(keys, from, &updated, changed)?;
            output.push(self.rows(keys, from, &updated)?);
            from = to;
        }
        Ok(output)
    }

    fn request(&self, keys: &Keys, from: usize, to: usize) -> Result<Update, QueryError> {
        let binding = &self.binding;
        let length = to - from;
        let sliced: Vec<_> = keys.columns.iter().map(|column| column.slice(from, length)).collect();
        let sliced = table(Arc::clone(&binding.key_schema), sliced, length)?;
        let wanted: Vec<usize> = (0..binding.described_keys.fields().len()).collect();
        let mut states = Encoded::default();
        let mut present = BooleanBufferBuilder::new(length);
        for key in from..to {
            let state = keys.states.get(key);
            present.append(state.is_some());
            states.push_or_absent(state);
        }
        let states = self.keyed.table().decode_states(&states).map_err(state_error)?;
        let fields =
            binding.state_schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (first, end) = (keys.starts[from], keys.starts[to]);
        let mut timed_out = BooleanBufferBuilder::new(length);
        timed_out.append_n(length, keys.timed_out);
        Ok(Update {
            keys: pick(&sliced, &wanted, &binding.described_keys)?,
            states: table(nullable, states, length)?,
            present: present.finish(),
            timed_out: timed_out.finish(),
            starts: keys.starts[from..=to].iter().map(|start| start - first).collect(),
            rows: keys.rows.slice(first as usize, (end - first) as usize),
        })
    }

    /// Notes what becomes of the states.
    fn settle(
        &self,
        keys: &Keys,
        from: usize,
        updated: &Updated,
        changed: &mut Changed,
    ) -> Result<(), QueryError> {
        let states = self.keyed.table().encode_states(updated.states.columns()).map_err(state_error)?;
        for (at, fate) in updated.fates.iter().enumerate() {
            let key = keys.encoded.row(from + at);
            let was = keys.states.get(from + at);
            match fate {
                _ if keys.timed_out => changed.states.set(key.data(), None),
                Fate::Put => changed.states.set(key.data(), Some(states.row(at).data())),
                Fate::Remove => changed.states.set(key.data(), None),
                Fate::Keep if was.is_some() && keys.starts[from + at] < keys.starts[from + at + 1] => {
                    changed.seen.push(key.data().to_vec());
                }
                Fate::Keep => {}
            }
        }
        Ok(())
    }

    /// The stream's rows of a call: the key's columns, then the function's.
    fn rows(&self, keys: &Keys, from: usize, updated: &Updated) -> Result<RecordBatch, QueryError> {
        let origins = updated.origins.iter().map(|key| *key + number(from));
        let mut columns = gather(&keys.columns, &UInt32Array::from_iter_values(origins))?;
        columns.extend(updated.output.columns().iter().cloned());
        table(Arc::clone(&self.binding.output), columns, updated.output.num_rows())
    }

    /// The keys that had no rows for too long, but for those that have some now.
    fn timed_out(&self, time: BatchTime, except: &KeySet<'_>) -> Result<Option<Keys>, QueryError> {
        let Some(timeout) = self.settings.timeout else { return Ok(None) };
        let ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let before = BatchTime::from_ms(time.as_ms().saturating_sub(ms));
        let entries = self.keyed.table().timed_out(before, except, TIMED_OUT_MAX);
        if entries.is_empty() {
            return Ok(None);
        }
        self.without_rows(&entries.keys, entries.states, true).map(Some)
    }

    /// Stages what the batch does to the table.
    fn stage(&self, time: BatchTime, changed: Changed, initial: Option<Overlay>) -> Result<(), QueryError> {
        let begins = self.settings.initial.as_ref().filter(|_| initial.is_some());
        let with_initial = initial.map(|mut all| {
            all.extend(&changed.states);
            all
        });
        let states = with_initial.unwrap_or(changed.states);
        self.states.stage(|change| {
            let keys = change.keyed(&self.keyed.name);
            changed.seen.iter().for_each(|key| keys.touch(key));
            states.stage(keys);
            begins.map_or(Ok(()), |initial| initial.note(time, change))
        })?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = states;
        Ok(())
    }
}

/// What a batch does to the states.
#[derive(Default)]
struct Changed {
    states: Overlay,
    /// Keys that had rows and keep their state as it is.
    seen: Vec<Vec<u8>>,
}

#[async_trait]
impl Operator for StateUpdate {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.binding.output)
    }

    fn table(&self) -> Option<&str> {
        self.settings.initial.as_ref().map(|initial| initial.table.as_str())
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let (mut changed, mut calls) = (Changed::default(), 0);
        let initial = self.initial(context)?;
        let touched = self.touched(&rows.concat(), initial.as_ref())?;
        let mut output = self.update(context, &touched, &mut calls, &mut changed).await?;
        let with_rows: KeySet<'_> = touched.encoded.iter().map(|key| key.data()).collect();
        let timed_out = self.timed_out(context.time(), &with_rows)?;
        if self.settings.every_key {
            let gone = timed_out.iter().flat_map(|keys| keys.encoded.iter()).map(|key| key.data());
            let except: KeySet<'_> = touched.encoded.iter().map(|key| key.data()).chain(gone).collect();
            for keys in self.others(&except, initial.as_ref())? {
                output.extend(self.update(context, &keys, &mut calls, &mut changed).await?);
            }
        }
        if let Some(keys) = timed_out {
            output.extend(self.update(context, &keys, &mut calls, &mut changed).await?);
        }
        self.stage(context.time(), changed, initial)?;
        output.retain(|rows| rows.num_rows() > 0);
        Ok(Some(vec![output]))
    }
}

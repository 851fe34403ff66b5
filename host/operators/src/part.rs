//! Some shards' keys, updated: what a batch does to them, and what it gives to the stream.
//!
//! Keys and states stay encoded but for those that are shown to the function.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use millstream_model::pipeline::OnError;
use millstream_model::{
    Accumulated, BatchTime, CALL_ROWS_MAX, CallContext, Fate, FunctionError, Update, UpdateState, Updated,
};
use millstream_query::{OperatorContext, Poison, QueryError};
use millstream_state::{Encoded, Entries, KeySet, Keyed, KeyedChange, KeyedTable, SHARDS, shard_of};

use crate::UpdateSettings;
use crate::columns::{gather, gather_rows, pick, table, whole};
use crate::grouping::{Grouping, number};
use crate::initial::InitialStates;
use crate::snapshot::state_error;
use crate::stuck::Stuck;

/// Keys that time out in one batch at most; others do in the next.
const TIMED_OUT_MAX: usize = 1 << 20;

/// What updates states.
pub(crate) struct Updater {
    pub(crate) function: Arc<dyn UpdateState>,
    pub(crate) keyed: Arc<KeyedTable>,
    pub(crate) settings: UpdateSettings,
    pub(crate) binding: Binding,
    pub(crate) stuck: Stuck,
}

/// Which columns of the input are used for what.
pub(crate) struct Binding {
    pub(crate) keys: Vec<usize>,
    pub(crate) values: Vec<usize>,
    pub(crate) key_schema: SchemaRef,
    pub(crate) described_keys: SchemaRef,
    pub(crate) value_schema: SchemaRef,
    pub(crate) state_schema: SchemaRef,
    pub(crate) input: SchemaRef,
    pub(crate) output: SchemaRef,
}

/// All rows of a batch.
pub(crate) struct Arrived {
    /// The columns of the key.
    keys: Vec<ArrayRef>,
    /// The columns that the function takes.
    values: RecordBatch,
    shards: Vec<ShardRows>,
    /// The states to begin with, where the batch is the first.
    pub(crate) initial: Option<InitialStates>,
}

/// The rows of a shard's keys. Those of a large batch lie far apart; their keys, one behind the other, fit into a cache.
#[derive(Clone, Default)]
struct ShardRows {
    rows: Vec<u32>,
    /// The encoded keys, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Every `of`th shard from `number` on.
pub(crate) struct Part {
    pub(crate) number: usize,
    of: usize,
}

/// Keys to be updated, with what is known of them.
struct Keys<'a> {
    columns: Vec<ArrayRef>,
    encoded: Vec<&'a [u8]>,
    states: Encoded,
    timed_out: bool,
    /// The keys' rows one after the other, and where each key's begin.
    rows: RecordBatch,
    starts: Vec<u32>,
}

/// What has come of a part.
struct Done<'a> {
    context: &'a OperatorContext,
    part: &'a Part,
    calls: u32,
    rows: Vec<RecordBatch>,
    change: KeyedChange,
}

impl ShardRows {
    fn push(&mut self, row: u32, key: &[u8]) {
        self.rows.push(row);
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn key(&self, at: usize) -> &[u8] {
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[from..self.ends[at]]
    }
}

impl Part {
    fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        (self.number..SHARDS).step_by(self.of)
    }

    fn has(&self, key: &[u8]) -> bool {
        shard_of(key) % self.of == self.number
    }
}

impl Updater {
    fn table(&self) -> &Keyed {
        self.keyed.table()
    }

    /// The rows of a batch, in so many parts.
    pub(crate) fn arrive(
        &self,
        chunks: &[RecordBatch],
        initial: Option<InitialStates>,
        parts: usize,
    ) -> Result<(Arrived, Vec<Part>), QueryError> {
        let binding = &self.binding;
        let all = whole(&binding.input, chunks)?;
        let keys = pick(&all, &binding.keys, &binding.key_schema)?.columns().to_vec();
        let encoded = self.table().encode_keys(&keys).map_err(state_error)?;
        let mut shards = vec![ShardRows::default(); SHARDS];
        for (row, key) in encoded.iter().enumerate() {
            shards[shard_of(key.data())].push(number(row), key.data());
        }
        let values = pick(&all, &binding.values, &binding.value_schema)?;
        let of = parts.clamp(1, SHARDS);
        let parts = (0..of).map(|number| Part { number, of }).collect();
        Ok((Arrived { keys, values, shards, initial }, parts))
    }

    /// Updates the keys of a part. Gives the stream's rows, and what becomes of the states.
    pub(crate) async fn run(
        &self,
        context: &OperatorContext,
        arrived: &Arrived,
        part: &Part,
    ) -> Result<(Vec<RecordBatch>, KeyedChange), QueryError> {
        let mut done = Done { context, part, calls: 0, rows: Vec::new(), change: KeyedChange::default() };
        let touched = self.touched(arrived, part)?;
        self.update(&touched, &mut done).await?;
        if !self.settings.every_key && self.settings.timeout.is_none() {
            return Ok((done.rows, done.change));
        }
        let with_rows: KeySet<'_> = touched.encoded.iter().copied().collect();
        let timed_out = self.timed_out(context.time(), part, &with_rows);
        if self.settings.every_key {
            let mut except = with_rows;
            except.extend(timed_out.keys.iter().flatten());
            for known in self.others(arrived, part, &except) {
                self.update(&self.without_rows(&known, false)?, &mut done).await?;
            }
        }
        self.update(&self.without_rows(&timed_out, true)?, &mut done).await?;
        Ok((done.rows, done.change))
    }

    /// The keys of a part's rows.
    fn touched<'a>(&self, arrived: &'a Arrived, part: &Part) -> Result<Keys<'a>, QueryError> {
        let (mut order, mut starts) = (Vec::new(), vec![0]);
        let (mut firsts, mut encoded) = (Vec::new(), Vec::new());
        for shard in part.shards().map(|shard| &arrived.shards[shard]) {
            let grouping = Grouping::of_keys(shard.rows.len(), |at| shard.key(at));
            let (before, (sorted, of_shard)) = (number(order.len()), grouping.sorted());
            order.extend(sorted.iter().map(|at| shard.rows[*at as usize]));
            starts.extend(of_shard[1..].iter().map(|start| before + start));
            firsts.extend(grouping.first.iter().map(|at| shard.rows[*at as usize]));
            encoded.extend(grouping.first.iter().map(|at| shard.key(*at as usize)));
        }
        Ok(Keys {
            columns: gather(&arrived.keys, &UInt32Array::from(firsts))?,
            states: self.lookup(&encoded, arrived.initial.as_ref()),
            encoded,
            timed_out: false,
            rows: gather_rows(&arrived.values, &UInt32Array::from(order))?,
            starts,
        })
    }

    fn lookup(&self, keys: &[&[u8]], initial: Option<&InitialStates>) -> Encoded {
        let mut found = self.table().lookup(keys);
        if let Some(initial) = initial {
            for (row, key) in keys.iter().enumerate() {
                if found.get(row).is_none()
                    && let Some(state) = initial.get(*key)
                {
                    found.set(row, state);
                }
            }
        }
        found
    }

    /// Keys without rows.
    fn without_rows<'a>(&self, known: &'a Entries, timed_out: bool) -> Result<Keys<'a>, QueryError> {
        Ok(Keys {
            columns: self.table().decode_keys(&known.keys).map_err(state_error)?,
            encoded: known.keys.iter().flatten().collect(),
            states: known.states.clone(),
            timed_out,
            rows: RecordBatch::new_empty(Arc::clone(&self.binding.value_schema)),
            starts: vec![0; known.len() + 1],
        })
    }

    /// The keys that had no rows for too long, but for those that have some now.
    fn timed_out(&self, time: BatchTime, part: &Part, except: &KeySet<'_>) -> Entries {
        let Some(timeout) = self.settings.timeout else { return Entries::default() };
        let ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let before = BatchTime::from_ms(time.as_ms().saturating_sub(ms));
        self.table().timed_out(part.shards(), before, except, TIMED_OUT_MAX / part.of)
    }

    /// All keys that have a state and no rows, and are not timed out.
    fn others<'a>(
        &'a self,
        arrived: &'a Arrived,
        part: &'a Part,
        except: &'a KeySet<'_>,
    ) -> impl Iterator<Item = Entries> + 'a {
        let others = part.shards().map(|shard| self.table().entries_but(shard, except));
        let new = std::iter::once_with(move || {
            let mut new = Entries::default();
            let initial = arrived.initial.iter().flatten();
            for (key, state) in initial.filter(|(key, _)| part.has(key) && !except.contains(key.as_slice())) {
                new.push(key, state, BatchTime::default());
            }
            new
        });
        others.chain(new)
    }

    /// Updates keys in as many calls as they need.
    async fn update(&self, keys: &Keys<'_>, done: &mut Done<'_>) -> Result<(), QueryError> {
        let count = keys.encoded.len();
        let mut from = 0;
        while from < count {
            // As many keys as fit, and one at least.
            let rows_end = keys.starts[from].saturating_add(number(CALL_ROWS_MAX));
            let fit = keys.starts[from + 1..=count.min(from + CALL_ROWS_MAX)]
                .partition_point(|end| *end <= rows_end);
            let to = from + fit.max(1);
            let call = CallContext {
                batch_time: done.context.time(),
                partition: number(done.part.number),
                chunk: done.calls,
            };
            done.calls += 1;
            self.call(keys, from..to, call, done).await?;
            from = to;
        }
        Ok(())
    }

    /// Updates some keys, but for those that the function fails on: their states stay as they were.
    async fn call(
        &self,
        keys: &Keys<'_>,
        range: Range<usize>,
        place: CallContext,
        done: &mut Done<'_>,
    ) -> Result<(), QueryError> {
        let context = done.context;
        let mut isolation = context.isolate(&self.settings.caller, range.len());
        while let Some(piece) = isolation.next() {
            let (from, to) = (range.start + piece.start, range.start + piece.end);
            match self.function.update(isolation.place(place), self.request(keys, from, to)?).await {
                Ok(updated) => {
                    context.add(updated.added.clone())?;
                    self.stuck.free(&keys.encoded[from..to]);
                    self.settle(keys, from, &updated, &mut done.change)?;
                    done.rows.push(self.rows(keys, from, &updated)?);
                }
                Err(error) => {
                    if let Some(Poison { error, .. }) = isolation.failed(error)? {
                        self.put_aside(context, keys, from, &error)?;
                        if keys.timed_out {
                            done.change.remove(keys.encoded[from]);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts the rows of a key aside; a key that has none and stays is put aside once, however often the function fails on it.
    fn put_aside(
        &self,
        context: &OperatorContext,
        keys: &Keys<'_>,
        key: usize,
        error: &FunctionError,
    ) -> Result<(), QueryError> {
        let caller = self.settings.caller.as_ref();
        let may_come_again = !keys.timed_out && keys.starts[key] == keys.starts[key + 1];
        if caller.on_error == OnError::DeadLetter
            && may_come_again
            && !self.stuck.note(keys.encoded[key], context.time())
        {
            return context.add(Accumulated::from([(format!("{}.still-failing", caller.function), 1)]));
        }
        context.put_aside(caller, error, &self.shown(keys, key)?)
    }

    /// A key's new rows beside its columns; the key alone, where it has none.
    fn shown(&self, keys: &Keys<'_>, key: usize) -> Result<RecordBatch, QueryError> {
        let (first, end) = (keys.starts[key], keys.starts[key + 1]);
        let rows = (end - first).max(1) as usize;
        let key = UInt32Array::from_value(number(key), rows);
        let mut columns = gather(&keys.columns, &key)?;
        let mut fields = self.binding.key_schema.fields().to_vec();
        if end > first {
            columns.extend(keys.rows.slice(first as usize, rows).columns().iter().cloned());
            fields.extend(self.binding.value_schema.fields().iter().cloned());
        }
        table(Arc::new(Schema::new(fields)), columns, rows)
    }

    fn request(&self, keys: &Keys<'_>, from: usize, to: usize) -> Result<Update, QueryError> {
        let binding = &self.binding;
        let length = to - from;
        let sliced: Vec<_> = keys.columns.iter().map(|column| column.slice(from, length)).collect();
        let sliced = table(Arc::clone(&binding.key_schema), sliced, length)?;
        let wanted: Vec<usize> = (0..binding.described_keys.fields().len()).collect();
        let mut present = BooleanBufferBuilder::new(length);
        (from..to).for_each(|key| present.append(keys.states.get(key).is_some()));
        let states = (from..to).map(|key| keys.states.get(key));
        let states = self.table().decode_states(states).map_err(state_error)?;
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
        keys: &Keys<'_>,
        from: usize,
        updated: &Updated,
        change: &mut KeyedChange,
    ) -> Result<(), QueryError> {
        let states = self.table().encode_states(updated.states.columns()).map_err(state_error)?;
        for (at, fate) in updated.fates.iter().enumerate() {
            let key = keys.encoded[from + at];
            match fate {
                _ if keys.timed_out => change.remove(key),
                Fate::Put => change.put(key, states.row(at).data()),
                Fate::Remove => change.remove(key),
                Fate::Keep
                    if keys.starts[from + at] < keys.starts[from + at + 1]
                        && keys.states.get(from + at).is_some() =>
                {
                    change.touch(key);
                }
                Fate::Keep => {}
            }
        }
        Ok(())
    }

    /// The stream's rows of a call: the key's columns, then the function's.
    fn rows(&self, keys: &Keys<'_>, from: usize, updated: &Updated) -> Result<RecordBatch, QueryError> {
        let of_each = updated.origins.len() == updated.fates.len()
            && updated.origins.iter().enumerate().all(|(row, key)| row == *key as usize);
        let mut columns = if of_each {
            keys.columns.iter().map(|column| column.slice(from, updated.origins.len())).collect()
        } else {
            let origins = updated.origins.iter().map(|key| *key + number(from));
            gather(&keys.columns, &UInt32Array::from_iter_values(origins))?
        };
        columns.extend(updated.output.columns().iter().cloned());
        table(Arc::clone(&self.binding.output), columns, updated.output.num_rows())
    }
}

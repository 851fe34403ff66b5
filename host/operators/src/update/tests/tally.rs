//! A function of states that the tests know by heart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use millstream_model::{
    CallContext, DataType, Fate, Field, FunctionDescription, FunctionError, FunctionKind, Schema, Update,
    UpdateState, Updated,
};
use tokio::sync::watch;

/// An amount that takes the state away.
pub(super) const REMOVE: i64 = -1;
/// One that leaves the state as it is.
pub(super) const KEEP: i64 = 0;
/// What a visit without rows adds, where states age.
pub(super) const YEAR: i64 = 1_000;

/// The total of a key's amounts and the last of them. Gives a row for each amount with the total up to there, and one for a
/// key without rows.
#[derive(Debug)]
pub(super) struct Tally {
    description: FunctionDescription,
    /// Whether a visit without rows changes the state.
    ages: bool,
    poison: Mutex<Option<Poison>>,
    calls: watch::Sender<usize>,
    partitions: Mutex<BTreeSet<u32>>,
}

/// A call with that key fails, once so many other calls have come to their end.
#[derive(Clone, Debug)]
pub(super) struct Poison {
    pub(super) key: String,
    pub(super) after: usize,
}

/// What a call has found out so far.
#[derive(Default)]
struct Draft {
    fates: Vec<Fate>,
    totals: Vec<Option<i64>>,
    lasts: Vec<Option<i64>>,
    origins: Vec<u32>,
    reasons: Vec<&'static str>,
    shown: Vec<Option<i64>>,
}

impl Tally {
    pub(super) fn new(ages: bool) -> Self {
        let number = |name| Field::new(name, DataType::Int64);
        let total = Field { nullable: true, ..number("total") };
        let description = FunctionDescription {
            name: "tally".to_owned(),
            kind: FunctionKind::UpdateState,
            input: Schema::new([number("amount")]),
            output: Schema::new([Field::new("reason", DataType::Utf8), total]),
            keys: Schema::new([Field::new("key", DataType::Utf8)]),
            state: Schema::new([number("total"), number("last")]),
            state_version: 0,
            migrations: Vec::new(),
            documentation: String::new(),
        };
        let (calls, partitions) = (watch::Sender::new(0), Mutex::default());
        Self { description, ages, poison: Mutex::default(), calls, partitions }
    }

    pub(super) fn poison(&self, poison: Option<Poison>) {
        self.calls.send_replace(0);
        *self.poison.lock().unwrap() = poison;
    }

    /// In which partitions it was called.
    pub(super) fn partitions(&self) -> BTreeSet<u32> {
        self.partitions.lock().unwrap().clone()
    }

    async fn swallow(&self, update: &Update) -> Result<(), FunctionError> {
        let keys = update.keys.column(0).as_string_view();
        let poison = self.poison.lock().unwrap().clone();
        let Some(poison) = poison.filter(|poison| keys.iter().any(|key| key == Some(&poison.key))) else {
            return Ok(());
        };
        self.calls.subscribe().wait_for(|calls| *calls >= poison.after).await.unwrap();
        Err(FunctionError::Broken { function: "tally".to_owned(), reason: format!("ate {}", poison.key) })
    }

    fn tally(&self, update: &Update) -> Draft {
        let mut draft = Draft::default();
        let amounts = update.rows.column(0).as_primitive::<Int64Type>().values();
        let column = |column: usize| update.states.column(column).as_primitive::<Int64Type>();
        for key in 0..update.present.len() {
            let mut state = update.present.value(key).then(|| (column(0).value(key), column(1).value(key)));
            let own = &amounts[update.starts[key] as usize..update.starts[key + 1] as usize];
            let mut is_new = false;
            for amount in own {
                match *amount {
                    KEEP => {}
                    REMOVE => (state, is_new) = (None, true),
                    amount => {
                        (state, is_new) = (Some((state.map_or(0, |(total, _)| total) + amount, amount)), true)
                    }
                }
                draft.show(key, "rows", state);
            }
            if own.is_empty() && update.timed_out.value(key) {
                draft.show(key, "timeout", state);
            } else if own.is_empty() {
                is_new = self.ages;
                state = state.map(|(total, last)| (total + if self.ages { YEAR } else { 0 }, last));
                draft.show(key, "visit", state);
            }
            draft.fates.push(match (is_new, state) {
                (false, _) => Fate::Keep,
                (true, Some(_)) => Fate::Put,
                (true, None) => Fate::Remove,
            });
            draft.totals.push(state.map(|state| state.0));
            draft.lasts.push(state.map(|state| state.1));
        }
        draft
    }
}

impl Draft {
    fn show(&mut self, key: usize, reason: &'static str, state: Option<(i64, i64)>) {
        self.origins.push(u32::try_from(key).unwrap());
        self.reasons.push(reason);
        self.shown.push(state.map(|state| state.0));
    }
}

#[async_trait]
impl UpdateState for Tally {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn update(&self, context: CallContext, update: Update) -> Result<Updated, FunctionError> {
        self.partitions.lock().unwrap().insert(context.partition);
        self.swallow(&update).await?;
        let draft = self.tally(&update);
        let states: [ArrayRef; 2] =
            [draft.totals, draft.lasts].map(|column| Arc::new(Int64Array::from(column)) as _);
        let output: [ArrayRef; 2] = [
            Arc::new(StringViewArray::from_iter_values(draft.reasons)),
            Arc::new(Int64Array::from(draft.shown)),
        ];
        let output_schema = Arc::new(self.description.output.to_arrow());
        let added = [("tally.keys", draft.fates.len()), ("tally.rows", update.rows.num_rows())];
        let added = added.map(|(name, count)| (name.to_owned(), count as i64));
        self.calls.send_modify(|calls| *calls += 1);
        Ok(Updated {
            fates: draft.fates,
            states: RecordBatch::try_new(update.states.schema(), states.into()).unwrap(),
            output: RecordBatch::try_new(output_schema, output.into()).unwrap(),
            origins: draft.origins,
            added: BTreeMap::from(added),
        })
    }
}

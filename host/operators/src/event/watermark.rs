//! How far event time has come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};
use async_trait::async_trait;
use millstream_model::{BatchTime, DataType, Field, Schema};
use millstream_query::{Operator, OperatorContext, Partitions, QueryError};
use millstream_state::{KeyedSpec, KeyedTable, States, names};

use super::span::micros;
use super::{time_field, times};
use crate::columns::misfit;
use crate::snapshot::state_error;

/// Rows that are further ahead of their batch than this do not move a watermark: a clock that is wrong must not end all windows.
const FUTURE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const WATERMARK: &str = "watermark";

/// A source's watermark: the largest event time of its rows so far, less a delay. It never goes back, and there is none until
/// there was a row.
///
/// It reads the source's rows, and its relation is one row with the watermark, or none.
pub struct Watermark {
    source: String,
    /// The number of the source's column of event times.
    column: usize,
    delay: i64,
    kept: Arc<KeyedTable>,
    states: Arc<States>,
    /// The watermark after the batch that ran last.
    now: Mutex<Option<i64>>,
}

/// The least of some sources' watermarks, less the length of the windows behind them: that of a stream that is made from them.
#[derive(Clone)]
pub struct Watermarks {
    /// By their relations.
    all: Vec<(String, Arc<Watermark>)>,
    behind: i64,
}

impl Watermark {
    /// The watermark of `source`, by its column `by`, which has that number. It is kept in a table of its own, which is of no
    /// other column.
    pub fn new(source: &str, by: &str, column: usize, delay: Duration, states: &Arc<States>) -> Self {
        let spec = KeyedSpec {
            key: Schema::new([Field::new(format!("source by {by}"), DataType::Utf8)]),
            state: Schema::new([Field::new(WATERMARK, DataType::Timestamp)]),
            version: 0,
        };
        let kept = states.keyed(&names::watermark(source), spec);
        let (source, delay) = (source.to_owned(), micros(delay));
        Self { source, column, delay, kept, states: Arc::clone(states), now: Mutex::default() }
    }

    fn key(&self) -> Result<arrow::row::Rows, QueryError> {
        let key: ArrayRef = Arc::new(StringViewArray::from_iter_values([&self.source]));
        self.kept.table().encode_keys(&[key]).map_err(state_error)
    }

    /// The watermark as the batch before left it.
    fn before(&self) -> Result<Option<i64>, QueryError> {
        let table = self.kept.table();
        let found = table.lookup(&[self.key()?.row(0).data()]);
        if found.get(0).is_none() {
            return Ok(None);
        }
        let states = table.decode_states(found.iter()).map_err(state_error)?;
        Ok(states[0].as_primitive::<TimestampMicrosecondType>().iter().next().flatten())
    }

    /// The watermark as the batch that ran last has left it.
    fn now(&self) -> Option<i64> {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest event time of rows that are not too far ahead of their batch.
    fn newest(&self, time: BatchTime, rows: &Partitions) -> Result<Option<i64>, QueryError> {
        let latest = time.as_ms().saturating_mul(1_000).saturating_add(micros(FUTURE_MAX));
        let mut newest = None;
        for chunk in rows.iter().flatten() {
            let times = times(chunk.column(self.column))?;
            newest = newest.max(times.iter().flatten().filter(|time| *time <= latest).max());
        }
        Ok(newest)
    }

    fn stage(&self, watermark: i64) -> Result<(), QueryError> {
        let key = self.key()?;
        let state: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![watermark]));
        let state = self.kept.table().encode_states(&[state]).map_err(state_error)?;
        self.states.stage(|change| {
            change.keyed(&self.kept.name).put(key.row(0).data(), state.row(0).data());
        });
        Ok(())
    }
}

#[async_trait]
impl Operator for Watermark {
    fn schema(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(vec![time_field(WATERMARK, false)]))
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        let before = self.before()?;
        let reached = self.newest(context.time(), &rows)?.map(|newest| newest.saturating_sub(self.delay));
        let now = before.max(reached);
        if let Some(watermark) = now.filter(|_| now != before) {
            self.stage(watermark)?;
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(now));
        let row = RecordBatch::try_new(self.schema(), vec![column]).map_err(misfit)?;
        Ok(Some(vec![vec![row]]))
    }
}

impl Watermarks {
    /// The least of these, each under the name of its relation. What comes out of windows comes when they are over: their rows
    /// are `behind` the watermarks by the length of the windows, of those of each window after the other.
    pub fn new(all: Vec<(String, Arc<Watermark>)>, behind: Duration) -> Self {
        Self { all, behind: micros(behind) }
    }

    /// The relations that say it, which whoever asks for [`Self::now`] has to follow.
    pub(crate) fn relations(&self) -> Vec<String> {
        self.all.iter().map(|(relation, _)| relation.clone()).collect()
    }

    /// As the batch before left it; none, while a source has none.
    pub(crate) fn before(&self) -> Result<Option<i64>, QueryError> {
        let all = self.all.iter().map(|(_, watermark)| watermark.before());
        let all: Option<Vec<i64>> = all.collect::<Result<_, _>>()?;
        Ok(all.and_then(|all| self.least(all)))
    }

    /// As the batch that runs leaves it; none, while a source has none.
    pub(crate) fn now(&self) -> Option<i64> {
        let all: Option<Vec<i64>> = self.all.iter().map(|(_, watermark)| watermark.now()).collect();
        all.and_then(|all| self.least(all))
    }

    fn least(&self, all: Vec<i64>) -> Option<i64> {
        all.into_iter().min().map(|least| least.saturating_sub(self.behind))
    }
}

//! Tables: reference data that each batch is given whole, as it was last read.
//!
//! A table is read when the pipeline starts, and again by the first batch whose time is at least the table's `refresh` behind
//! the last reading. That batch waits for its rows, for a while; cutting does not. A reading that fails leaves the rows as
//! they were. A batch takes its tables once: all its attempts see the same rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::BatchTime;
use millstream_platform::Clock;
use millstream_query::Chunks;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::EngineError;

/// So long a batch waits for a table to be read again.
const REFRESH_TIME_MAX: Duration = Duration::from_secs(10);

/// Reference data that is somewhere outside.
#[async_trait]
pub trait Table: Send + Sync {
    /// Reads the table whole, or gives nothing, where it is as it was when its stamp was `known`. The rows may take
    /// `bytes_max` of memory. It does not block the thread that it is called on, and nobody may wait for its end.
    ///
    /// # Errors
    /// It cannot be read whole, or is larger than that: what is wrong, and where.
    async fn read(&self, known: Option<&str>, bytes_max: u64) -> Result<Option<TableRows>, TableError>;
}

/// What was read of a table.
#[derive(Clone, Debug, Default)]
pub struct TableRows {
    /// All rows.
    pub rows: Vec<RecordBatch>,
    /// What they take in memory.
    pub bytes: u64,
    /// Tells this content from others.
    pub stamp: String,
}

/// Why a table cannot be read: what was being done, to what, what went wrong and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct TableError(pub String);

/// A table under its name in the pipeline.
#[derive(Clone)]
pub struct TableBinding {
    /// The input's name in the program.
    pub name: String,
    /// Reads it.
    pub table: Arc<dyn Table>,
    /// How old its rows may be; of any age, where that is not said.
    pub refresh: Option<Duration>,
}

/// The tables of a pipeline, with their rows once they are open.
#[derive(Default)]
pub struct Tables {
    bindings: Vec<TableBinding>,
    bytes_max: u64,
    /// In the order of the bindings.
    held: Mutex<Vec<Held>>,
}

/// What a batch sees of the tables.
pub(crate) struct TablesNow {
    /// The rows of each, by its name.
    pub(crate) inputs: Vec<(String, Arc<dyn Chunks>)>,
    /// Which of them are older than they should be, and why.
    pub(crate) trouble: Option<String>,
}

/// Rows that are the same for many batches.
struct Reference(Vec<RecordBatch>);

/// A table's rows.
struct Held {
    rows: Arc<Reference>,
    bytes: u64,
    stamp: String,
    /// When it was read, or that was tried.
    read: BatchTime,
    trouble: Option<String>,
}

impl Tables {
    /// Tables whose rows may take `bytes_max` of memory, all together.
    pub fn new(bindings: Vec<TableBinding>, bytes_max: u64) -> Self {
        Self { bindings, bytes_max, held: Mutex::default() }
    }

    /// Reads all tables, at the time `now`. Without effect where that was done.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) async fn open(&self, now: BatchTime) -> Result<(), EngineError> {
        let mut held = self.held.lock().await;
        if !held.is_empty() {
            return Ok(());
        }
        let mut read: Vec<Held> = Vec::new();
        for binding in &self.bindings {
            let bytes_left = self.bytes_max.saturating_sub(read.iter().map(|held| held.bytes).sum());
            let rows = binding.table.read(None, bytes_left).await;
            let rows = rows.map_err(|source| EngineError::Table { name: binding.name.clone(), source })?;
            read.push(Held::new(rows.unwrap_or_default(), now));
        }
        *held = read;
        Ok(())
    }

    /// The tables for the batch of that time. Those that are due are read first.
    ///
    /// # Panics
    /// Where they are not open.
    pub(crate) async fn at(&self, time: BatchTime, clock: &dyn Clock) -> TablesNow {
        let mut held = self.held.lock().await;
        assert_eq!(held.len(), self.bindings.len(), "tables are opened before a batch runs");
        for (number, binding) in self.bindings.iter().enumerate() {
            if held[number].is_due(time, binding.refresh) {
                let others: u64 = held.iter().map(|held| held.bytes).sum::<u64>() - held[number].bytes;
                let bytes_max = self.bytes_max.saturating_sub(others);
                held[number].refresh(binding, time, bytes_max, clock).await;
            }
        }
        self.seen(&held)
    }

    /// The tables as they were read.
    pub(crate) async fn now(&self) -> TablesNow {
        self.seen(&self.held.lock().await)
    }

    fn seen(&self, held: &[Held]) -> TablesNow {
        let input = |(binding, held): (&TableBinding, &Held)| {
            (binding.name.clone(), Arc::clone(&held.rows) as Arc<dyn Chunks>)
        };
        TablesNow {
            inputs: self.bindings.iter().zip(held.iter()).map(input).collect(),
            trouble: held.iter().find_map(|held| held.trouble.clone()),
        }
    }
}

impl Chunks for Reference {
    fn rows(&self) -> Vec<usize> {
        self.0.iter().map(RecordBatch::num_rows).collect()
    }

    fn read(&self, chunk: usize) -> RecordBatch {
        self.0[chunk].clone()
    }

    fn is_of_batch(&self) -> bool {
        false
    }
}

impl Held {
    fn new(TableRows { rows, bytes, stamp }: TableRows, read: BatchTime) -> Self {
        Self { rows: Arc::new(Reference(rows)), bytes, stamp, read, trouble: None }
    }

    fn is_due(&self, time: BatchTime, refresh: Option<Duration>) -> bool {
        let age_ms = u128::try_from(time.as_ms().saturating_sub(self.read.as_ms())).unwrap_or(0);
        refresh.is_some_and(|refresh| age_ms >= refresh.as_millis())
    }

    /// Reads the table again; what cannot be read stays as it was until the next time.
    async fn refresh(&mut self, binding: &TableBinding, time: BatchTime, bytes_max: u64, clock: &dyn Clock) {
        let read = tokio::select! {
            biased;
            read = binding.table.read(Some(&self.stamp), bytes_max) => read,
            () = clock.sleep_until(clock.elapsed() + REFRESH_TIME_MAX) => {
                Err(TableError(format!("it has not been read within {} s", REFRESH_TIME_MAX.as_secs())))
            }
        };
        match read {
            Ok(Some(rows)) => *self = Self::new(rows, time),
            Ok(None) => (self.read, self.trouble) = (time, None),
            Err(error) => {
                let trouble = format!("table \"{}\" is as it was read before: {error}", binding.name);
                tracing::warn!("{trouble}; it is tried again at the next refresh");
                (self.read, self.trouble) = (time, Some(trouble));
            }
        }
    }
}

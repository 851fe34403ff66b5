//! Prints a batch's time and its first rows, as Spark does.
//!
//! Rows become text while they are staged, and only as many as are shown, so a batch of any size waits for its
//! commit in little memory. Data cannot drive the terminal: see [`table`].
//!
//! What was shown cannot be known after a crash, and a screen is for looking: a batch that was committed is not shown
//! again then. A page that could not be shown is kept while the process lives, for the next attempt.

mod json;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Recovery, Sink, SinkBatch, SinkError};
use millstream_model::BatchTime;
use tokio::task::spawn_blocking;

use crate::screen::Screen;

/// The sink of the screen.
pub(crate) struct Print {
    name: String,
    schema: SchemaRef,
    rows_max: usize,
    screen: Screen,
    unshown: Unshown,
}

/// The page that could not be shown last, and its batch.
type Unshown = Arc<Mutex<Option<(BatchTime, String)>>>;

/// A batch on its way to the screen.
struct Page {
    name: String,
    schema: SchemaRef,
    rows_max: usize,
    screen: Screen,
    unshown: Unshown,
    time: BatchTime,
    /// The first rows of each partition as text. Which of them are the batch's first shows at the end.
    partitions: BTreeMap<usize, Vec<Line>>,
    rows: usize,
}

/// A row as text: its cells in a table, or one object.
type Line = Vec<String>;

impl Print {
    pub(crate) fn new(name: &str, schema: SchemaRef, rows_max: usize, screen: Screen) -> Self {
        Self { name: name.to_owned(), schema, rows_max, screen, unshown: Unshown::default() }
    }
}

#[async_trait]
impl Sink for Print {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        Ok(Box::new(Page {
            name: self.name.clone(),
            schema: self.schema.clone(),
            rows_max: self.rows_max,
            screen: self.screen.clone(),
            unshown: Arc::clone(&self.unshown),
            time,
            partitions: BTreeMap::new(),
            rows: 0,
        }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        let unshown = lock(&self.unshown).take_if(|(unshown, _)| *unshown == time);
        if let Some((_, text)) = unshown {
            show(&self.name, time, text, &self.screen, &self.unshown).await?;
        }
        Ok(Recovery::Published)
    }
}

impl Page {
    fn lines(&self, rows: &RecordBatch) -> Result<Vec<Line>, ArrowError> {
        if self.screen.is_json() { json::objects(rows) } else { table::cells(rows) }
    }

    fn text(self) -> String {
        let shown: Vec<Line> = self.partitions.into_values().flatten().take(self.rows_max).collect();
        let more = self.rows - shown.len();
        if self.screen.is_json() {
            json::page(&self.name, self.time, &shown, more)
        } else {
            table::page(self.time, &self.schema, &shown, more)
        }
    }
}

#[async_trait]
impl SinkBatch for Page {
    async fn write(&mut self, partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.rows += rows.num_rows();
        let kept = self.partitions.get(&partition).map_or(0, Vec::len);
        let wanted = rows.num_rows().min(self.rows_max - kept);
        if wanted == 0 {
            return Ok(());
        }
        let lines =
            self.lines(&rows.slice(0, wanted)).map_err(|error| fault(&self.name, self.time, &error))?;
        self.partitions.entry(partition).or_default().extend(lines);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        let (name, time) = (self.name.clone(), self.time);
        let (screen, unshown) = (self.screen.clone(), Arc::clone(&self.unshown));
        show(&name, time, self.text(), &screen, &unshown).await
    }
}

/// Shows a page, or keeps it as unshown.
async fn show(
    name: &str,
    time: BatchTime,
    text: String,
    screen: &Screen,
    unshown: &Unshown,
) -> Result<(), SinkError> {
    let (screen, unshown) = (screen.clone(), Arc::clone(unshown));
    // A pager that waits for a key must not hold up a thread of the runtime.
    let showing = spawn_blocking(move || {
        screen.show(text.as_bytes()).inspect_err(|_| *lock(&unshown) = Some((time, text)))
    });
    match showing.await {
        Ok(shown) => shown.map_err(|error| fault(name, time, &error)),
        Err(panic) => Err(fault(name, time, &panic)),
    }
}

fn lock(unshown: &Unshown) -> MutexGuard<'_, Option<(BatchTime, String)>> {
    unshown.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault(name: &str, time: BatchTime, error: &dyn Display) -> SinkError {
    SinkError::Failed(format!("printing batch {time} of sink \"{name}\": {error}"))
}

#[cfg(test)]
mod tests;

//! A sink that keeps what it is given, and fails when it is to.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use async_trait::async_trait;
use millstream_model::BatchTime;
use tokio::sync::watch;

use crate::{Recovery, Sink, SinkBatch, SinkError};

/// Batch times and their rows.
pub(super) type Batches = Vec<(i64, Vec<String>)>;

/// What the sink has, beyond the life of a process. Tests wait for it to change.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<watch::Sender<State>>);

/// What is visible, what is prepared, and which failures are to come.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) visible: Batches,
    pub(super) prepared: BTreeMap<i64, Vec<String>>,
    /// Batches that were begun, as often as they were.
    pub(super) begun: Vec<i64>,
    pub(super) write_failures: Vec<SinkError>,
    pub(super) publish_failures: Vec<SinkError>,
    pub(super) recover_failures: Vec<SinkError>,
    /// Publishing waits.
    pub(super) held: bool,
}

impl Kept {
    pub(super) fn all(&self) -> Batches {
        self.0.borrow().visible.clone()
    }

    /// All rows that are visible, in order.
    pub(super) fn rows(&self) -> Vec<String> {
        self.all().into_iter().flat_map(|(_, rows)| rows).collect()
    }

    pub(super) fn times(&self) -> Vec<i64> {
        self.all().into_iter().map(|(time, _)| time).collect()
    }

    pub(super) fn state(&self) -> State {
        self.0.borrow().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(change);
    }

    /// Waits until so many batches are visible.
    pub(super) async fn wait_for(&self, batches: usize) {
        self.wait_until(|state| state.visible.len() >= batches).await;
    }

    pub(super) async fn wait_until(&self, is_so: impl FnMut(&State) -> bool) {
        self.0.subscribe().wait_for(is_so).await.unwrap();
    }

    fn fail(&self, failures: impl FnOnce(&mut State) -> &mut Vec<SinkError>) -> Result<(), SinkError> {
        let mut failure = None;
        self.0.send_modify(|state| failure = failures(state).pop());
        failure.map_or(Ok(()), Err)
    }

    fn publish(&self, time: i64) -> bool {
        let mut found = false;
        self.change(|state| {
            if let Some(rows) = state.prepared.remove(&time) {
                state.visible.push((time, rows));
                found = true;
            }
        });
        found
    }
}

pub(super) struct Keeping(pub(super) Kept);

struct KeepingBatch {
    kept: Kept,
    time: i64,
    rows: Vec<String>,
}

#[async_trait]
impl Sink for Keeping {
    async fn begin(&self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        let time = time.as_ms();
        self.0.change(|state| {
            state.begun.push(time);
            state.prepared.remove(&time);
        });
        Ok(Box::new(KeepingBatch { kept: self.0.clone(), time, rows: Vec::new() }))
    }

    async fn recover(&self, time: BatchTime) -> Result<Recovery, SinkError> {
        self.0.fail(|state| &mut state.recover_failures)?;
        let is_visible = self.0.all().iter().any(|(visible, _)| *visible == time.as_ms());
        match is_visible || self.0.publish(time.as_ms()) {
            true => Ok(Recovery::Published),
            false => Ok(Recovery::NeedsRows),
        }
    }
}

#[async_trait]
impl SinkBatch for KeepingBatch {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        self.kept.fail(|state| &mut state.write_failures)?;
        self.rows.extend(rows.column(0).as_string_view().iter().flatten().map(str::to_owned));
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), SinkError> {
        let rows = std::mem::take(&mut self.rows);
        self.kept.change(|state| drop(state.prepared.insert(self.time, rows)));
        Ok(())
    }

    async fn publish(self: Box<Self>) -> Result<(), SinkError> {
        self.kept.wait_until(|state| !state.held).await;
        self.kept.fail(|state| &mut state.publish_failures)?;
        self.kept.publish(self.time);
        Ok(())
    }
}

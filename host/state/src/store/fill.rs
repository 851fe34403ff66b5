//! Filling a store with tables of another one: in steps, each of which is on disk before the next begins.
//!
//! A step is of some [`STEP_BYTES`], so a stream that syncs files on the same disk never waits for much. What is filled in is in
//! the log as if batches had brought it, each key by the batch that saw it last. It is of no snapshot yet: those roll when batches
//! follow.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use millstream_journal::{PanePlace, Place, StateRecords, StoredKind};
use millstream_model::BatchTime;

use super::tables::{Content, Tables};
use super::{Store, blocking, room};
use crate::change::Change;
use crate::panes::Panes;
use crate::{Entries, Pane, StateError};

/// What is written at a time.
const STEP_BYTES: usize = 4 << 20;
/// What the keys of one time take in a step, beside their bytes.
const RUN_BYTES: usize = 2 << 10;

impl Store {
    /// Makes a table that holds what another store has under that name, if it is not there.
    pub(crate) fn add_like(&self, table: &str, kind: &StoredKind) -> Result<(), StateError> {
        self.tables().add_like(table, kind)
    }

    /// Gives keys states, in the order of their times, which are not before those of keys that are there.
    pub(crate) async fn fill_keys(&self, table: &str, entries: &Entries) -> Result<(), StateError> {
        let mut from = 0;
        while from < entries.len() {
            let (mut step, mut bytes) = (Vec::new(), 0);
            while from < entries.len() && bytes < STEP_BYTES {
                let run = run(table, entries, &mut from, STEP_BYTES - bytes);
                bytes += run.1 + RUN_BYTES;
                step.push(run.0);
            }
            self.fill_step(step, bytes as u64).await?;
        }
        Ok(())
    }

    /// Gives a table panes.
    pub(crate) async fn fill_panes(
        &self,
        table: &str,
        kind: &StoredKind,
        panes: &[Pane],
    ) -> Result<(), StateError> {
        self.add_like(table, kind)?;
        let (mut step, mut bytes, mut places) = (Vec::new(), 0, Vec::new());
        for (time, rows) in panes.iter().flat_map(pieces) {
            bytes += rows.get_array_memory_size();
            step.push((time, rows));
            if bytes >= STEP_BYTES {
                places.extend(self.write_panes(table, &step).await?);
                (step, bytes) = (Vec::new(), 0);
            }
        }
        places.extend(self.write_panes(table, &step).await?);
        let kept = self.panes_of(table)?;
        for pane in panes {
            let of_pane = places.iter().filter(|place| place.time == pane.time);
            let of_pane: Vec<Place> = of_pane.map(|place| place.place).collect();
            kept.keep(pane.time, pane.rows.to_vec(), of_pane);
        }
        Ok(())
    }

    async fn fill_step(&self, changes: Vec<Change>, bytes: u64) -> Result<(), StateError> {
        let memory_bytes = self.limits.memory_bytes.saturating_sub(2 * bytes);
        blocking(true, || room::keep_free(&self.tables(), memory_bytes))?;
        let write = |tables: &Tables, records: &mut StateRecords| {
            changes.iter().try_for_each(|change| tables.write(change, records))
        };
        self.write_records(write).await?;
        blocking(true, || changes.into_iter().for_each(|change| self.change_tables(change, &[])));
        self.check_reads()
    }

    async fn write_panes(
        &self,
        table: &str,
        rows: &[(BatchTime, RecordBatch)],
    ) -> Result<Vec<PanePlace>, StateError> {
        let write = |tables: &Tables, records: &mut StateRecords| {
            rows.iter().try_for_each(|(time, rows)| {
                let mut change = Change::new(*time);
                change.panes(table).added.push(rows.clone());
                tables.write(&change, records)
            })
        };
        self.write_records(write).await
    }

    /// Writes records that are real when they are on disk, as no commit names this log yet.
    async fn write_records(
        &self,
        write: impl FnOnce(&Tables, &mut StateRecords) -> Result<(), StateError>,
    ) -> Result<Vec<PanePlace>, StateError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let mut log = disk.log.lock().await;
        let from = disk.forget_written();
        let (records, created) = {
            let tables = self.tables();
            let (mut records, created) = (StateRecords::default(), tables.to_be_created(from));
            if !created.is_empty() {
                records.tables(created.clone(), Vec::new());
            }
            write(&tables, &mut records)?;
            (records, created)
        };
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let appended = log.append(from, &|| self.tables().start(from), &records).await?;
        let mut progress = disk.progress();
        let mut tables = self.tables();
        tables.settle(&created, &[]);
        progress.end = Some(appended.end);
        progress.rolling.note_tables(&tables, &[]);
        Ok(appended.panes)
    }

    fn panes_of(&self, table: &str) -> Result<Arc<Panes>, StateError> {
        match self.tables().get(table).map(|table| &table.content) {
            Some(Content::Panes(panes, _)) => Ok(Arc::clone(panes)),
            _ => Err(StateError::Unknown { table: table.to_owned() }),
        }
    }
}

/// The keys from `from` on that have one time, of about so many bytes, and what they take.
fn run(table: &str, entries: &Entries, from: &mut usize, bytes_max: usize) -> (Change, usize) {
    let time = entries.times[*from];
    let (mut change, mut bytes) = (Change::new(time), 0);
    let keyed = change.keyed(table);
    while *from < entries.len() && entries.times[*from] == time && bytes < bytes_max {
        let key = entries.keys.get(*from).expect("each entry has a key");
        let state = entries.states.get(*from).expect("each entry has a state");
        keyed.put(key, state);
        bytes += key.len() + state.len();
        *from += 1;
    }
    (change, bytes)
}

/// The rows of a pane in pieces, each little enough for a step.
fn pieces(pane: &Pane) -> impl Iterator<Item = (BatchTime, RecordBatch)> {
    let time = pane.time;
    pane.rows.iter().flat_map(move |rows| {
        let count = rows.get_array_memory_size().div_ceil(STEP_BYTES).max(1);
        let length = rows.num_rows().div_ceil(count).max(1);
        let starts = (0..rows.num_rows()).step_by(length);
        starts.map(move |from| (time, rows.slice(from, length.min(rows.num_rows() - from))))
    })
}

//! Finding out what the tables were at a commit, after whatever happened.
//!
//! 1. The segment in which the log ends tells which tables there are.
//! 2. Each shard is taken from its newest snapshot that can be read.
//! 3. The log from the oldest of these on is done again, on each shard what is behind its snapshot.
//! 4. The panes that are there then are read from their places.
//!
//! Nothing is written, but for keys that go to a scratch file where memory is short.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_journal::{
    JournalError, Operations, Place, ShardSnapshot, SnapshotPart, StateEnd, StateFiles, StateRecord,
    StateSegment, StoredKind, StoredTable,
};
use millstream_model::BatchTime;

use super::rolling::Rolling;
use super::room;
use super::tables::{Content, Tables};
use crate::StateError;
use crate::cold::ColdFile;
use crate::keyed::shard::Shard;
use crate::keyed::{Keyed, SHARDS};
use crate::panes::Panes;
use crate::spec::ENCODING;

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) tables: Tables,
    pub(super) rolling: Rolling,
    /// Snapshots of what is behind the commit.
    pub(super) future: Vec<u64>,
}

struct Recovery<'a> {
    files: &'a StateFiles,
    end: StateEnd,
    memory_bytes: u64,
    tables: Tables,
    rolling: Rolling,
    /// The first snapshot that cannot be read.
    damage: Option<JournalError>,
    panes: BTreeMap<(u32, BatchTime), Vec<Place>>,
}

/// The tables as of the commit where the log ended at `end`, with no more than so much of them in memory.
pub(super) async fn recover(
    files: &StateFiles,
    end: Option<StateEnd>,
    cold: Arc<ColdFile>,
    memory_bytes: u64,
) -> Result<Recovered, StateError> {
    // Of a generation that has just begun there is no segment.
    let Some(end) = end.filter(|end| end.segment > 0 || end.generation == 0) else {
        if files.has_lost_beginning().await? {
            return Err(files
                .damaged("there are states of batches, and no batch was committed with any")
                .into());
        }
        let future = files.snapshot_numbers().await?;
        return Ok(Recovered { tables: Tables::new(cold), rolling: Rolling::new([]), future });
    };
    let last = files.read_segment(end.segment, Some(end.offset)).await?;
    let mut recovery = Recovery {
        files,
        end,
        memory_bytes,
        tables: find_tables(files, end, &last, cold)?,
        rolling: Rolling::new(files.snapshot_numbers().await?),
        damage: None,
        panes: BTreeMap::new(),
    };
    for (table, _) in recovery.tables.stored_keyed() {
        recovery.rolling.add_table(table);
    }
    let future = recovery.read_snapshots().await?;
    recovery.replay(last).await?;
    recovery.read_panes().await?;
    Ok(Recovered { tables: recovery.tables, rolling: recovery.rolling, future })
}

/// The tables there are at the end of the last segment, with nothing in them.
fn find_tables(
    files: &StateFiles,
    end: StateEnd,
    last: &StateSegment,
    cold: Arc<ColdFile>,
) -> Result<Tables, StateError> {
    let mut stored: BTreeMap<u32, StoredTable> =
        last.start.tables.iter().map(|table| (table.id, table.clone())).collect();
    let mut tables = Tables::new(cold);
    tables.reserve_ids(last.start.next_table);
    for record in last.records() {
        if let (_, StateRecord::Tables { created, dropped }) = record? {
            tables.reserve_ids(created.iter().map(|table| table.id.saturating_add(1)).max().unwrap_or(0));
            stored.extend(created.into_iter().map(|table| (table.id, table)));
            stored.retain(|id, _| !dropped.contains(id));
        }
    }
    for table in stored.into_values() {
        let damaged = |what| files.damaged_at(end, format!("table \"{}\" {what}", table.name));
        if tables.get(&table.name).is_some() || table.id == u32::MAX {
            return Err(damaged("is there twice".to_owned()).into());
        }
        match &table.kind {
            StoredKind::Keyed { encoding, .. } if *encoding != ENCODING => {
                return Err(StateError::Mismatch {
                    table: table.name.clone(),
                    what: format!("its encoding is {encoding}, and this program knows {ENCODING}"),
                });
            }
            StoredKind::Keyed { shards, .. } if *shards as usize != SHARDS => {
                return Err(damaged(format!("has {shards} shards instead of {SHARDS}")).into());
            }
            _ => {}
        }
        let content = Content::of_kind(&table.name, &table.kind, tables.cold())
            .map_err(|error| damaged(format!("cannot be read: {error}")))?;
        tables.add_stored(table, content);
    }
    Ok(tables)
}

impl Recovery<'_> {
    /// Takes each shard from the newest snapshot that can be read. Gives the files that are of no use, as they are of
    /// what is behind the end.
    async fn read_snapshots(&mut self) -> Result<Vec<u64>, StateError> {
        let mut future = Vec::new();
        for number in self.files.snapshot_numbers().await?.into_iter().rev() {
            let parts = match self.files.snapshot_parts(number).await {
                Ok(parts) => parts,
                Err(error) => {
                    self.note_damage(error)?;
                    continue;
                }
            };
            if parts.iter().any(|part| part.as_of > self.end) {
                self.rolling.forget_file(number);
                future.push(number);
                continue;
            }
            self.read_snapshot(number, &parts).await?;
        }
        Ok(future)
    }

    async fn read_snapshot(&mut self, number: u64, parts: &[SnapshotPart]) -> Result<(), StateError> {
        let missing = |part: &&SnapshotPart| self.rolling.is_missing(part);
        if parts.iter().any(|part| missing(&part)) {
            let read = match self.files.read_snapshot(number).await {
                Ok(read) => self.load(number, &read),
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                return self.note_damage(error);
            }
            self.keep_free()?;
        }
        for part in parts {
            self.rolling.add_older(number, part);
        }
        Ok(())
    }

    /// Takes those shards of a snapshot that are not there yet: all of them, or none.
    fn load(&self, number: u64, snapshots: &[ShardSnapshot]) -> Result<(), JournalError> {
        let mut loaded = Vec::new();
        for ShardSnapshot { part, entries } in snapshots {
            let Some(keyed) = self.keyed(part.table).filter(|_| self.rolling.is_missing(part)) else {
                continue;
            };
            let since = BatchTime::from_ms(part.since_ms);
            let shard = Shard::from_snapshot(since, part.keys, Operations::read(entries));
            let shard = shard.map_err(|what| JournalError::Damaged {
                file: self.files.snapshot_file(number),
                offset: 0,
                what: what.to_owned(),
            })?;
            loaded.push((keyed, part.shard as usize, shard));
        }
        for (keyed, at, shard) in loaded {
            keyed.write(at).hot = shard;
        }
        Ok(())
    }

    /// Goes on without a snapshot that cannot be read.
    fn note_damage(&mut self, error: JournalError) -> Result<(), StateError> {
        if !matches!(error, JournalError::Damaged { .. }) {
            return Err(error.into());
        }
        tracing::warn!(%error, "a snapshot of states is of no use; taking the one before");
        self.damage.get_or_insert(error);
        Ok(())
    }

    /// Does the log again, as far as it is behind the snapshots.
    async fn replay(&mut self, last: StateSegment) -> Result<(), StateError> {
        let first = self.first_segment();
        let mut before: Option<StateEnd> = None;
        for number in first..self.end.segment {
            let read = self.files.read_segment(number, None).await;
            // What is really wrong is that a snapshot cannot be read.
            let segment =
                read.map_err(|error| self.damage.take().filter(|_| number == first).unwrap_or(error))?;
            self.check_start(number, &segment, before)?;
            self.replay_segment(&segment)?;
            before = Some(self.files.place(number, segment.end()));
        }
        self.check_start(self.end.segment, &last, before)?;
        self.replay_segment(&last)
    }

    /// The oldest segment with something that is behind a shard's snapshot.
    fn first_segment(&self) -> u64 {
        let shards = self.tables.stored_keyed().flat_map(|(table, _)| (0..SHARDS).map(|at| (table.id, at)));
        let needed = shards.filter_map(|(table, shard)| self.rolling.as_of(table, shard));
        needed.map(|place| place.segment).fold(self.end.segment, u64::min)
    }

    /// Whether a segment goes on where the one before it ended; the first one that is read says what panes there are.
    fn check_start(
        &mut self,
        number: u64,
        segment: &StateSegment,
        before: Option<StateEnd>,
    ) -> Result<(), StateError> {
        let Some(before) = before else {
            let panes = segment.start.panes.iter();
            self.panes = panes.map(|pane| ((pane.table, pane.time), pane.places.clone())).collect();
            return Ok(());
        };
        match segment.start.before == Some(before) {
            true => Ok(()),
            false => {
                let what = format!("it does not begin where the segment before it ends, at {before}");
                Err(self.files.damaged_at(self.files.place(number, 0), what).into())
            }
        }
    }

    fn replay_segment(&mut self, segment: &StateSegment) -> Result<(), StateError> {
        for record in segment.records() {
            let (place, record) = record?;
            let at = self.files.place(place.segment, place.offset);
            match record {
                StateRecord::Tables { .. } => {}
                StateRecord::Keyed { table, time, shards } => {
                    for (shard, operations) in shards {
                        self.replay_shard(at, table, shard as usize, time, &operations)?;
                    }
                    self.keep_free()?;
                }
                StateRecord::Pane { table, time } => {
                    self.panes.entry((table, time)).or_default().push(place);
                }
                StateRecord::Expire { table, before } => {
                    self.panes.retain(|(of, time), _| *of != table || *time >= before);
                }
            }
        }
        Ok(())
    }

    fn replay_shard(
        &self,
        at: StateEnd,
        table: u32,
        shard: usize,
        time: BatchTime,
        operations: &[u8],
    ) -> Result<(), StateError> {
        // A table that is gone has no shards.
        let Some(keyed) = self.keyed(table) else { return Ok(()) };
        let damaged = |what| self.files.damaged_at(at, what);
        let as_of = self.rolling.as_of(table, shard);
        let as_of = as_of.ok_or_else(|| damaged("a record is of a shard that there is not"))?;
        if at < as_of {
            return Ok(());
        }
        let mut tier = keyed.write(shard);
        let thaw = tier.prepare(Operations::read(operations))?;
        let applied = tier.apply(time, Operations::read(operations), Some(&thaw));
        Ok(applied.map_err(damaged)?)
    }

    fn keep_free(&self) -> Result<(), StateError> {
        room::keep_free(&self.tables, self.memory_bytes)
    }

    async fn read_panes(&mut self) -> Result<(), StateError> {
        for ((table, time), places) in std::mem::take(&mut self.panes) {
            let Some(panes) = self.panes_of(table) else { continue };
            let mut rows = Vec::with_capacity(places.len());
            for place in &places {
                rows.push(self.files.read_pane(table, time, place).await?);
            }
            panes.keep(time, rows, places);
            self.keep_free()?;
        }
        Ok(())
    }

    fn keyed(&self, id: u32) -> Option<&Keyed> {
        self.tables.stored_keyed().find(|(table, _)| table.id == id).map(|(_, keyed)| keyed)
    }

    fn panes_of(&self, id: u32) -> Option<&Panes> {
        let table = self.tables.iter().map(|(_, table)| table).find(|table| table.id == id)?;
        match &table.content {
            Content::Panes(panes, _) => Some(panes),
            Content::Keyed(_) => None,
        }
    }
}

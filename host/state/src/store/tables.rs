//! The tables by their names, and what is stored of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use millstream_journal::{
    Oversized, StateEnd, StateRecords, StateStart, StoredKind, StoredPane, StoredTable,
};

use crate::change::{Change, TableChange};
use crate::cold::ColdFile;
use crate::keyed::before::Allowance;
use crate::keyed::{Keyed, Size};
use crate::panes::{Contents, Panes};
use crate::spec::difference;
use crate::{Difference, KeyedSpec, PaneSpec, Spec, StateError, TableStatistics};

/// A batch's records, the tables that come with them, and the numbers of those that go.
pub(super) type Records = (StateRecords, Vec<StoredTable>, Vec<u32>);

#[derive(Debug)]
pub(super) struct Tables {
    by_name: BTreeMap<String, Table>,
    next_id: u32,
    /// Stored tables that are to be dropped with the next change.
    dropped: Vec<u32>,
    /// Where keys go when memory is short.
    cold: Arc<ColdFile>,
    /// What forks may take.
    forks: Vec<Weak<Allowance>>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) id: u32,
    /// What the log says of it, once it is stored.
    pub(super) stored: Option<StoredTable>,
    pub(super) is_asked: bool,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Keyed(Arc<Keyed>),
    /// With what the columns are, as it is stored.
    Panes(Arc<Panes>, StoredKind),
}

impl Tables {
    pub(super) fn new(cold: Arc<ColdFile>) -> Self {
        Self { by_name: BTreeMap::new(), next_id: 1, dropped: Vec::new(), cold, forks: Vec::new() }
    }

    pub(super) fn cold(&self) -> &Arc<ColdFile> {
        &self.cold
    }

    pub(super) fn get(&self, name: &str) -> Option<&Table> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Table)> {
        self.by_name.iter()
    }

    /// The keyed tables that are stored.
    pub(super) fn stored_keyed(&self) -> impl Iterator<Item = (&StoredTable, &Keyed)> {
        self.by_name.values().filter_map(|table| match (&table.stored, &table.content) {
            (Some(stored), Content::Keyed(keyed)) => Some((stored, keyed.as_ref())),
            _ => None,
        })
    }

    /// Takes up a table that is stored.
    pub(super) fn add_stored(&mut self, stored: StoredTable, content: Content) {
        self.next_id = self.next_id.max(stored.id + 1);
        let name = stored.name.clone();
        let table = Table { id: stored.id, stored: Some(stored), is_asked: false, content };
        self.by_name.insert(name, table);
    }

    pub(super) fn reserve_ids(&mut self, next: u32) {
        self.next_id = self.next_id.max(next);
    }

    pub(super) fn keyed(&mut self, name: &str, spec: KeyedSpec) -> Result<Arc<Keyed>, StateError> {
        let Some(table) = self.by_name.get_mut(name) else {
            let keyed = Arc::new(Keyed::new(name, spec, &self.cold)?);
            self.add_new(name, Content::Keyed(Arc::clone(&keyed)));
            return Ok(keyed);
        };
        table.check(name, &spec.stored())?;
        table.is_asked = true;
        match &table.content {
            Content::Keyed(keyed) => Ok(Arc::clone(keyed)),
            Content::Panes(..) => unreachable!("other kinds of tables are different"),
        }
    }

    pub(super) fn panes(&mut self, name: &str, spec: PaneSpec) -> Result<Arc<Panes>, StateError> {
        let kind = spec.stored();
        let Some(table) = self.by_name.get_mut(name) else {
            let panes = Arc::new(Panes::new(name, spec, Contents::default()));
            self.add_new(name, Content::Panes(Arc::clone(&panes), kind));
            return Ok(panes);
        };
        table.check(name, &kind)?;
        let Content::Panes(panes, _) = &mut table.content else {
            unreachable!("other kinds of tables are different")
        };
        if !table.is_asked {
            // All that there is to know of its columns is known only now.
            *panes = Arc::new(Panes::new(name, spec, panes.take()));
        }
        table.is_asked = true;
        Ok(Arc::clone(panes))
    }

    /// A table of panes that is like `spec`, where somebody has asked for it.
    pub(super) fn find_panes(&self, name: &str, spec: &PaneSpec) -> Option<Arc<Panes>> {
        let table = self.get(name).filter(|table| table.is_asked)?;
        table.check(name, &spec.stored()).ok()?;
        match &table.content {
            Content::Panes(panes, _) => Some(Arc::clone(panes)),
            Content::Keyed(_) => None,
        }
    }

    pub(super) fn drop_table(&mut self, name: &str) {
        let removed = self.by_name.remove(name);
        self.dropped.extend(removed.and_then(|table| table.stored).map(|stored| stored.id));
    }

    pub(super) fn is_dropping(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// Whether a change can be applied, if there is memory. Gives how much it makes them grow at the most.
    pub(super) fn check(&self, change: &Change) -> Result<u64, StateError> {
        let mut growth_max = 0;
        for (name, change) in &change.tables {
            let unknown = || StateError::Unknown { table: name.clone() };
            growth_max += match (change, &self.get(name).ok_or_else(unknown)?.content) {
                (TableChange::Keyed(change), Content::Keyed(keyed)) => {
                    keyed.check(change)?;
                    Keyed::growth_max(change)
                }
                (TableChange::Panes(change), Content::Panes(panes, _)) => {
                    panes.check(change)?;
                    Panes::growth(change)
                }
                _ => return Err(unknown()),
            };
        }
        Ok(growth_max)
    }

    /// By how much a change makes them grow, but for the keys that come back with it, and the table that grows most.
    pub(super) fn growth<'a>(&self, change: &'a Change) -> (i64, Option<&'a str>) {
        let growths = change.tables.iter().map(|(name, change)| {
            let growth = match (change, self.get(name).map(|table| &table.content)) {
                (TableChange::Keyed(change), Some(Content::Keyed(keyed))) => keyed.growth(change),
                (TableChange::Panes(change), _) => Panes::growth(change).cast_signed(),
                _ => 0,
            };
            (growth, name.as_str())
        });
        let growths: Vec<(i64, &str)> = growths.collect();
        (growths.iter().map(|(growth, _)| growth).sum(), growths.into_iter().max().map(|(_, name)| name))
    }

    /// What all tables take in memory, and their forks.
    pub(super) fn bytes(&self) -> u64 {
        let tables: u64 = self.by_name.values().map(|table| table.content.bytes()).sum();
        tables + self.forks.iter().filter_map(Weak::upgrade).map(|fork| fork.used()).sum::<u64>()
    }

    /// Takes note of a fork.
    pub(super) fn watch(&mut self, fork: &Arc<Allowance>) {
        self.forks.retain(|fork| fork.strong_count() > 0);
        self.forks.push(Arc::downgrade(fork));
    }

    /// Gives up all forks that take memory. Gives whether there were any.
    pub(super) fn give_up_forks(&self) -> bool {
        let taking = self.forks.iter().filter_map(Weak::upgrade).filter(|fork| fork.used() > 0);
        taking.map(|fork| fork.run_out()).fold(false, |any, gave_up| any | gave_up)
    }

    /// All keyed tables.
    pub(super) fn keyed_tables(&self) -> Vec<&Keyed> {
        let keyed = self.by_name.values().map(|table| match &table.content {
            Content::Keyed(keyed) => Some(keyed.as_ref()),
            Content::Panes(..) => None,
        });
        keyed.flatten().collect()
    }

    /// The records of a change that is written where the log ends at `from`, with the tables that come and go.
    pub(super) fn records(&self, change: &Change, from: Option<StateEnd>) -> Result<Records, StateError> {
        let mut records = StateRecords::default();
        let is_empty = change.is_empty() && self.dropped.is_empty();
        if is_empty {
            return Ok((records, Vec::new(), Vec::new()));
        }
        let created = self.to_be_created(from);
        if !(created.is_empty() && self.dropped.is_empty()) {
            records.tables(created.clone(), self.dropped.clone());
        }
        self.write(change, &mut records)?;
        Ok((records, created, self.dropped.clone()))
    }

    /// The tables that are not stored yet, as they are to be with what is written where the log ends at `from`.
    pub(super) fn to_be_created(&self, from: Option<StateEnd>) -> Vec<StoredTable> {
        let mut since = from.unwrap_or_default();
        since.segment = since.segment.max(1);
        let new = self.by_name.iter().filter(|(_, table)| table.stored.is_none());
        new.map(|(name, table)| table.to_be_stored(name, since)).collect()
    }

    /// The records of what a change does to tables that there are.
    pub(super) fn write(&self, change: &Change, records: &mut StateRecords) -> Result<(), StateError> {
        for (name, of_table) in &change.tables {
            let table = self.get(name).ok_or_else(|| StateError::Unknown { table: name.clone() })?;
            let written = write_table(records, table.id, change.time(), of_table);
            written.map_err(|error| StateError::Oversized { table: name.clone(), error })?;
        }
        Ok(())
    }

    /// What a segment begins with that is made when the log ends at `before`.
    pub(super) fn start(&self, before: Option<StateEnd>) -> StateStart {
        let stored = self.by_name.values().filter_map(|table| table.stored.as_ref());
        let mut start = StateStart {
            before,
            next_table: self.next_id,
            tables: stored.cloned().collect(),
            panes: Vec::new(),
        };
        for table in self.by_name.values().filter(|table| table.stored.is_some()) {
            if let Content::Panes(panes, _) = &table.content {
                let places = panes.places().into_iter();
                start.panes.extend(places.map(|(time, places)| StoredPane { table: table.id, time, places }));
            }
        }
        start
    }

    /// A change is real, with which these tables came and went.
    pub(super) fn settle(&mut self, created: &[StoredTable], dropped: &[u32]) {
        self.dropped.retain(|id| !dropped.contains(id));
        for stored in created {
            match self.by_name.get_mut(&stored.name).filter(|table| table.id == stored.id) {
                Some(table) => table.stored = Some(stored.clone()),
                // It was dropped while its change was written.
                None => self.dropped.push(stored.id),
            }
        }
    }

    /// Makes a table that nobody has asked for, with what another store holds under that name.
    pub(super) fn add_like(&mut self, name: &str, kind: &StoredKind) -> Result<(), StateError> {
        if let Some(table) = self.by_name.get(name) {
            return table.check(name, kind);
        }
        let misfit = |what| StateError::Columns { table: name.to_owned(), what };
        let content = Content::of_kind(name, kind, &self.cold).map_err(misfit)?;
        self.add_new(name, content);
        self.by_name.get_mut(name).expect("it was just added").is_asked = false;
        Ok(())
    }

    fn add_new(&mut self, name: &str, content: Content) {
        let id = self.next_id;
        self.next_id += 1;
        self.by_name.insert(name.to_owned(), Table { id, stored: None, is_asked: true, content });
    }
}

impl Table {
    /// In what it differs from what is asked for.
    pub(super) fn difference(&self, name: &str, asked: &Spec) -> Option<Difference> {
        let what = difference(&self.content.stored(), &asked.stored())?;
        let stored = match &self.content {
            Content::Keyed(keyed) => Spec::Keyed(keyed.spec().clone()),
            Content::Panes(panes, _) => Spec::Panes(panes.spec().clone()),
        };
        Some(Difference { table: name.to_owned(), stored, asked: asked.clone(), what })
    }

    fn check(&self, name: &str, asked: &StoredKind) -> Result<(), StateError> {
        match difference(&self.content.stored(), asked) {
            None => Ok(()),
            Some(what) => Err(StateError::Mismatch { table: name.to_owned(), what }),
        }
    }

    fn to_be_stored(&self, name: &str, since: StateEnd) -> StoredTable {
        StoredTable { id: self.id, name: name.to_owned(), since, kind: self.content.stored() }
    }
}

impl Content {
    /// One without anything in it; nothing, where the stored one cannot be read here, with the reason.
    pub(super) fn of_kind(name: &str, kind: &StoredKind, cold: &Arc<ColdFile>) -> Result<Self, String> {
        match kind {
            StoredKind::Keyed { key, state, version, .. } => {
                let spec = KeyedSpec::read(key, state, *version).map_err(|error| error.to_string())?;
                let keyed = Keyed::new(name, spec, cold).map_err(|error| error.to_string())?;
                Ok(Self::Keyed(Arc::new(keyed)))
            }
            kind @ StoredKind::Panes { columns } => {
                let panes = Panes::new(name, PaneSpec::read(columns), Contents::default());
                Ok(Self::Panes(Arc::new(panes), kind.clone()))
            }
        }
    }

    pub(super) fn statistics(&self, name: &str) -> TableStatistics {
        let name = name.to_owned();
        match self {
            Self::Keyed(keyed) => {
                let Size { keys, cold_keys, bytes, cold_bytes } = keyed.size();
                TableStatistics { name, keys, cold_keys, panes: 0, bytes, cold_bytes }
            }
            Self::Panes(panes, _) => {
                let (panes, bytes) = panes.size();
                TableStatistics { name, panes, bytes, ..TableStatistics::default() }
            }
        }
    }

    /// What it takes in memory.
    fn bytes(&self) -> u64 {
        match self {
            Self::Keyed(keyed) => keyed.size().bytes,
            Self::Panes(panes, _) => panes.size().1,
        }
    }

    fn stored(&self) -> StoredKind {
        match self {
            Self::Keyed(keyed) => keyed.spec().stored(),
            Self::Panes(_, kind) => kind.clone(),
        }
    }
}

fn write_table(
    records: &mut StateRecords,
    table: u32,
    time: millstream_model::BatchTime,
    change: &TableChange,
) -> Result<(), Oversized> {
    match change {
        TableChange::Keyed(change) => {
            let shards = change.shards();
            let shards = shards.map(|(shard, of)| (u32::try_from(shard).expect("there are few shards"), of));
            records.keyed(table, time, shards)
        }
        TableChange::Panes(change) => {
            if let Some(before) = change.before {
                records.expire(table, before);
            }
            change.added.iter().try_for_each(|rows| records.pane(table, time, rows))
        }
    }
}

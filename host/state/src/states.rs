//! What a version of a pipeline keeps in the tables, and what its batch that runs does to them.
//!
//! A pipeline is checked before there is a store: it names its tables then, and gets them when it starts. One batch runs at a
//! time, and is applied before the next one begins.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use millstream_model::{BatchTime, Migration};

use crate::{Change, Fork, Keyed, KeyedSpec, PaneSpec, Panes, Spec, StateEnd, StateError, Store};

/// The tables of a pipeline, and the batch that was applied to them last.
#[derive(Debug)]
pub struct Tables {
    store: Store,
    applied: Mutex<Option<BatchTime>>,
}

/// The tables that a version of a pipeline uses.
#[derive(Debug, Default)]
pub struct States {
    keyed: Mutex<Vec<Arc<KeyedTable>>>,
    panes: Mutex<Vec<Arc<PaneTable>>>,
    tables: OnceLock<Arc<Tables>>,
    /// Those that may be read before.
    shown: OnceLock<Arc<Tables>>,
    staged: Mutex<Option<Change>>,
    /// The streams whose states may be lost.
    droppable: Mutex<BTreeSet<String>>,
}

/// A table of states that a stream uses.
#[derive(Debug)]
pub struct KeyedTable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub spec: KeyedSpec,
    /// How it takes over what other versions left in it.
    migrations: Vec<Arc<dyn Migration>>,
    table: OnceLock<Arc<Keyed>>,
}

/// A table of panes that a stream uses.
#[derive(Debug)]
pub struct PaneTable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub spec: PaneSpec,
    table: OnceLock<Arc<Panes>>,
    shown: OnceLock<Arc<Panes>>,
}

impl Tables {
    /// The tables of a store to which nothing was applied yet.
    pub fn new(store: Store) -> Self {
        Self { store, applied: Mutex::default() }
    }

    /// What holds them.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes a change durable, and gives where the log ends with it, for the commit record.
    ///
    /// # Errors
    /// Those of [`Store::write`].
    pub async fn write(&self, change: &Change) -> Result<Option<StateEnd>, StateError> {
        self.store.write(change).await
    }

    /// The commit record is on disk: the change is what is read from now on.
    pub fn apply(&self, change: Change) {
        let mut applied = lock(&self.applied);
        *applied = Some(change.time());
        self.store.apply(change);
    }

    /// All tables as they are now, to be read and copied beside batches. That costs next to nothing.
    pub fn fork(&self) -> Fork {
        let applied = lock(&self.applied);
        self.store.fork(*applied)
    }
}

impl States {
    /// Names a table with a state for each key.
    pub fn keyed(&self, name: &str, spec: KeyedSpec) -> Arc<KeyedTable> {
        self.migrating(name, spec, Vec::new())
    }

    /// Names a table with a state for each key that takes over what other versions left in it, each by its migration.
    pub fn migrating(
        &self,
        name: &str,
        spec: KeyedSpec,
        migrations: Vec<Arc<dyn Migration>>,
    ) -> Arc<KeyedTable> {
        let name = name.to_owned();
        let table = Arc::new(KeyedTable { name, spec, migrations, table: OnceLock::new() });
        lock(&self.keyed).push(Arc::clone(&table));
        table
    }

    /// Names a table of rows by batch.
    pub fn panes(&self, name: &str, spec: PaneSpec) -> Arc<PaneTable> {
        let (table, shown) = (OnceLock::new(), OnceLock::new());
        let table = Arc::new(PaneTable { name: name.to_owned(), spec, table, shown });
        lock(&self.panes).push(Arc::clone(&table));
        table
    }

    /// How the table of that name takes over the states of a version, if it does.
    pub fn migration(&self, name: &str, version: u32) -> Option<Arc<dyn Migration>> {
        let keyed = lock(&self.keyed);
        let migrations = keyed.iter().filter(|table| table.name == name).flat_map(|table| &table.migrations);
        let mut of_version = migrations.filter(|migration| migration.description().version == version);
        of_version.next().cloned()
    }

    /// Whether no stream keeps anything.
    pub fn is_empty(&self) -> bool {
        lock(&self.keyed).is_empty() && lock(&self.panes).is_empty()
    }

    pub(crate) fn droppable(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.droppable)
    }

    /// What was named, by name.
    pub(crate) fn asked(&self) -> Vec<(String, Spec)> {
        let keyed = lock(&self.keyed);
        let panes = lock(&self.panes);
        let keyed = keyed.iter().map(|table| (table.name.clone(), Spec::Keyed(table.spec.clone())));
        let panes = panes.iter().map(|table| (table.name.clone(), Spec::Panes(table.spec.clone())));
        let mut asked: Vec<(String, Spec)> = keyed.chain(panes).collect();
        asked.sort_by(|(one, _), (other, _)| one.cmp(other));
        asked
    }

    /// Finds or makes the tables that were named. Without effect where that was done.
    ///
    /// # Errors
    /// Where a table holds something else than the pipeline asks for.
    pub fn bind(&self, tables: &Arc<Tables>) -> Result<(), StateError> {
        for named in lock(&self.keyed).iter().filter(|named| named.table.get().is_none()) {
            let table = tables.store.keyed(&named.name, named.spec.clone())?;
            named.table.get_or_init(|| table);
        }
        for named in lock(&self.panes).iter().filter(|named| named.table.get().is_none()) {
            let table = tables.store.panes(&named.name, named.spec.clone())?;
            named.table.get_or_init(|| table);
        }
        self.tables.get_or_init(|| Arc::clone(tables));
        Ok(())
    }

    /// Lets panes be read that other code uses, before this is bound: what it would make of them. Makes and changes nothing.
    pub fn show(&self, tables: &Arc<Tables>) {
        for named in lock(&self.panes).iter() {
            if let Some(panes) = tables.store.find_panes(&named.name, &named.spec) {
                named.shown.get_or_init(|| panes);
            }
        }
        self.shown.get_or_init(|| Arc::clone(tables));
    }

    /// The tables that it uses; none before it was bound to any.
    pub fn tables(&self) -> Option<&Arc<Tables>> {
        self.tables.get()
    }

    /// A batch begins, or is tried again: what an earlier attempt staged is forgotten.
    pub fn begin(&self, time: BatchTime) {
        *lock(&self.staged) = Some(Change::new(time));
    }

    /// What the batch that has run does to the tables; nothing, where no stream keeps anything and no table is to be dropped.
    pub fn take(&self) -> Option<Change> {
        let drops = || self.tables.get().is_some_and(|tables| tables.store.is_dropping());
        lock(&self.staged).take().filter(|_| !self.is_empty() || drops())
    }

    /// The last batch that was applied to the tables since they were opened; nothing, where there was none. A batch that was begun before
    /// may still be run, more than once: it is never this one.
    pub fn applied(&self) -> Option<BatchTime> {
        let tables = self.tables.get().or(self.shown.get());
        tables.and_then(|tables| *lock(&tables.applied))
    }

    /// Does something to the change of the batch that runs.
    ///
    /// # Panics
    /// Where none runs.
    pub fn stage<T>(&self, stage: impl FnOnce(&mut Change) -> T) -> T {
        stage(lock(&self.staged).as_mut().expect("operators run while a batch does"))
    }
}

impl KeyedTable {
    /// The table.
    ///
    /// # Panics
    /// Before the pipeline has started.
    pub fn table(&self) -> &Arc<Keyed> {
        self.table.get().expect("tables are bound before a batch runs")
    }
}

impl PaneTable {
    /// The table.
    ///
    /// # Panics
    /// Before the pipeline has started.
    pub fn table(&self) -> &Arc<Panes> {
        self.table.get().expect("tables are bound before a batch runs")
    }

    /// The table, if it may be read: once it is bound, or before, where other code uses it.
    pub fn shown(&self) -> Option<&Arc<Panes>> {
        self.table.get().or(self.shown.get())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

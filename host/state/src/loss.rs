//! What a version of a pipeline would lose of what the tables hold, and may drop.
//!
//! All that is kept for one stream stays or goes together: the totals of a window, say, are nothing without its rows. Where
//! a version reads a table otherwise than it was written, or has no use for it, nothing of that stream is of use to it. That
//! it goes takes somebody's word, unless there is nothing in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::names::{is_mark, owner};
use crate::{States, TableStatistics, Tables};

/// What is kept for a stream, and a version of a pipeline would lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The stream's name; of a watermark, the source's.
    pub stream: String,
    /// Why: in what the first table differs that is asked for otherwise. None: the version has no use for a table.
    pub difference: Option<String>,
    /// How many keys have a state.
    pub keys: u64,
    /// How many batches have rows in a window.
    pub panes: u64,
}

/// All that is kept for one stream.
#[derive(Default)]
struct Kept {
    tables: Vec<String>,
    keys: u64,
    panes: u64,
    /// In what the first table differs that does.
    difference: Option<String>,
    /// Whether a version asks for any of it.
    is_asked: bool,
    /// Whether it has no use for some of it that is more than a mark.
    is_left: bool,
}

impl Kept {
    fn is_of_no_use(&self) -> bool {
        self.is_left || self.difference.is_some()
    }

    fn is_empty(&self) -> bool {
        self.keys == 0 && self.panes == 0
    }

    /// Whether it goes, if somebody said that it may, or did not.
    fn goes(&self, is_allowed: bool) -> bool {
        match is_allowed {
            true => self.is_of_no_use() || !self.is_asked,
            false => self.is_of_no_use() && self.is_empty(),
        }
    }
}

impl States {
    /// Lets this version begin without what is kept for these streams, as far as it would be lost.
    pub fn allow_drops(&self, streams: impl IntoIterator<Item = String>) {
        self.droppable().extend(streams);
    }

    /// What this version would lose and may not drop.
    pub fn losses(&self, tables: &Tables) -> Vec<Loss> {
        let droppable = self.droppable().clone();
        let kept = self.kept(tables).into_iter();
        let lost = kept
            .filter(|(stream, kept)| !droppable.contains(stream) && kept.is_of_no_use() && !kept.is_empty());
        let loss = |(stream, Kept { difference, keys, panes, .. })| Loss { stream, difference, keys, panes };
        lost.map(loss).collect()
    }

    /// The tables that this version does without and may drop.
    pub fn drops(&self, tables: &Tables) -> Vec<String> {
        let droppable = self.droppable().clone();
        let kept = self.kept(tables).into_iter();
        let gone = kept.filter(|(stream, kept)| kept.goes(droppable.contains(stream)));
        gone.flat_map(|(_, kept)| kept.tables).collect()
    }

    /// Drops those tables. That is durable with the next change that is written and applied.
    pub fn drop_lost(&self, tables: &Tables) {
        for table in self.drops(tables) {
            tracing::info!("what was kept under \"{table}\" is dropped with the next batch");
            tables.store().drop_table(&table);
        }
    }

    /// What this version may drop and would not, each with what becomes of it: there is nothing, or the version goes on
    /// with it.
    pub fn undropped(&self, tables: &Tables) -> Vec<String> {
        let kept = self.kept(tables);
        let known = kept.iter().filter(|(_, kept)| !kept.is_empty()).map(|(stream, _)| stream.as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        let droppable = self.droppable().clone();
        let idle =
            droppable.into_iter().filter(|stream| !kept.get(stream).is_some_and(|kept| kept.goes(true)));
        let told = |stream: String| match kept.contains_key(&stream) {
            true => format!(
                "--drop-state {stream}: the pipeline goes on with that state; for it to begin anew, give the stream another \
                 name"
            ),
            false if known.is_empty() => format!("--drop-state {stream}: the pipeline keeps no states"),
            false => {
                format!("--drop-state {stream}: nothing is kept under that name; there are states of {known}")
            }
        };
        idle.map(told).collect()
    }

    /// What is kept, by stream.
    fn kept(&self, tables: &Tables) -> BTreeMap<String, Kept> {
        let asked: BTreeSet<String> = self.asked().into_iter().map(|(name, _)| name).collect();
        // What can be migrated is not lost.
        let differences = self.differences(tables).into_iter();
        let differences = differences.filter_map(|of| Some((self.taking_over(&of).err()?, of.table)));
        let mut differences: BTreeMap<_, _> = differences.map(|(what, table)| (table, what)).collect();
        let mut all: BTreeMap<String, Kept> = BTreeMap::new();
        for TableStatistics { name, keys, panes, .. } in tables.store().statistics().tables {
            let kept = all.entry(owner(&name).to_owned()).or_default();
            let difference = differences.remove(&name);
            if !is_mark(&name) || difference.is_some() {
                kept.keys += keys;
                kept.panes += panes;
            }
            kept.is_asked |= asked.contains(&name);
            kept.is_left |= !asked.contains(&name) && !is_mark(&name);
            kept.difference = kept.difference.take().or(difference);
            kept.tables.push(name);
        }
        all
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, difference, keys, panes } = self;
        let count = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}{}", if what.ends_with('h') { "es" } else { "s" })),
        };
        let window = count(*panes, "batch").map(|batches| format!("the rows of {batches}"));
        let held = [count(*keys, "key"), window].into_iter().flatten().collect::<Vec<_>>().join(" and ");
        match difference {
            None => write!(
                f,
                "stream \"{stream}\" keeps a state that no stream of the new pipeline goes on with: {held}; keep the stream, \
                 or drop its state with --drop-state {stream}"
            ),
            Some(what) => write!(
                f,
                "the stored state of \"{stream}\" does not fit: {what}; keep what it is made of, or drop {held} with \
                 --drop-state {stream}, and it begins anew"
            ),
        }
    }
}

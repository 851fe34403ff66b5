//! What states come to, key by key and row by row.

use std::collections::{BTreeMap, BTreeSet};

use super::lab::{Given, Row, Setup};
use super::tally::{KEEP, REMOVE, YEAR};

/// All states, as a batch leaves them.
pub(super) struct Model {
    setup: Setup,
    states: BTreeMap<String, Known>,
    has_begun: bool,
}

struct Known {
    total: i64,
    last: i64,
    seen_ms: i64,
}

impl Model {
    pub(super) fn new(setup: &Setup) -> Self {
        Self { setup: setup.clone(), states: BTreeMap::new(), has_begun: false }
    }

    /// What a batch has to give.
    pub(super) fn batch(&mut self, time_ms: i64, rows: &[Row]) -> Given {
        if !self.has_begun {
            self.has_begun = true;
            for (key, total) in self.setup.initial.iter().flatten() {
                self.states.insert(key.clone(), Known { total: *total, last: *total, seen_ms: time_ms });
            }
        }
        let mut lines: Vec<_> = rows.iter().map(|(key, amount)| self.row(time_ms, key, *amount)).collect();
        let with_rows: BTreeSet<&str> = rows.iter().map(|row| row.0.as_str()).collect();
        let visits = self.visits(time_ms, &with_rows);
        let keys = with_rows.len() + visits.len();
        lines.extend(visits);
        lines.sort();
        let added = [("tally.keys", keys), ("tally.rows", rows.len())];
        let added = added.map(|(name, count)| (name.to_owned(), count as i64));
        let state = |(key, known): (&String, &Known)| format!("{key} {} {}", known.total, known.last);
        Given {
            rows: lines,
            states: self.states.iter().map(state).collect(),
            added: added.into_iter().filter(|_| keys > 0).collect(),
            poison: Vec::new(),
        }
    }

    fn row(&mut self, time_ms: i64, key: &str, amount: i64) -> String {
        match amount {
            KEEP => {
                self.states.entry(key.to_owned()).and_modify(|known| known.seen_ms = time_ms);
            }
            REMOVE => {
                self.states.remove(key);
            }
            amount => {
                let total = self.states.get(key).map_or(0, |known| known.total) + amount;
                self.states.insert(key.to_owned(), Known { total, last: amount, seen_ms: time_ms });
            }
        }
        let total = self.states.get(key).map_or("?".to_owned(), |known| known.total.to_string());
        format!("{key} rows {total}")
    }

    /// The keys without rows that are shown to the function.
    fn visits(&mut self, time_ms: i64, with_rows: &BTreeSet<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        let Setup { timeout_ms, every_key, ages, .. } = self.setup;
        self.states.retain(|key, known| {
            let is_old = timeout_ms.is_some_and(|timeout| time_ms - known.seen_ms > timeout as i64);
            if with_rows.contains(key.as_str()) {
                return true;
            }
            if is_old {
                lines.push(format!("{key} timeout {}", known.total));
            } else if every_key {
                known.total += if ages { YEAR } else { 0 };
                lines.push(format!("{key} visit {}", known.total));
            }
            !is_old
        });
        lines
    }
}

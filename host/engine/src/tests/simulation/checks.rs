//! What must hold after every life, and at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_journal::{Archive, Cut, JournalError, Ledger};
use millstream_model::Lane;
use millstream_platform::{Disk, MemoryDisk};
use millstream_state::StateError;

use super::outside::{Outside, Stream};
use super::program::COUNTED;
use super::sinks::OUT;
use super::sources::{RECEIVER, SHELF};
use super::{FOLDER, LETTERS};
use crate::{Board, EngineError, MigrateError, SinkError};

/// Whether a pipeline may end so when its disk, its sources, its sinks and its code fail.
pub(super) fn may_end(error: &EngineError) -> bool {
    match error {
        EngineError::Journal(error)
        | EngineError::State(StateError::Journal(error))
        | EngineError::Migration(MigrateError::State(StateError::Journal(error))) => {
            matches!(error, JournalError::Full { .. } | JournalError::Disk { .. } | JournalError::Closed)
        }
        EngineError::Sink { source: SinkError::Failed(_), .. }
        | EngineError::Batch { .. }
        | EngineError::Source { .. }
        | EngineError::DeadLetters { .. }
        | EngineError::StoppedNow => true,
        _ => false,
    }
}

/// What is on the disk, read without disturbing it.
pub(super) struct Remains {
    /// By batch, the rows that are visible.
    files: BTreeMap<i64, Vec<String>>,
    /// Dead letters, those in the older file first.
    letters: Vec<String>,
    ledger: Result<Ledger, JournalError>,
}

impl Remains {
    pub(super) async fn read(memory: &MemoryDisk) -> Self {
        let disk = memory.fork();
        let mut files = BTreeMap::new();
        for name in disk.list(OUT.as_ref()).await.unwrap() {
            if let Some(time) = name.strip_suffix(".rows") {
                let rows = lines(&disk, &format!("{OUT}/{name}")).await;
                files.insert(time.parse().unwrap(), rows);
            }
        }
        let mut letters = lines(&disk, &format!("{LETTERS}.1")).await;
        letters.extend(lines(&disk, LETTERS).await);
        let archive = Archive::open(Arc::new(disk), Path::new(FOLDER)).await;
        Self { files, letters, ledger: archive.map(|archive| archive.ledger().clone()) }
    }

    /// A batch that was seen never changes, and both sinks are given the same.
    pub(super) fn check(&self, outside: &Outside, board: &Board) {
        for (time, rows) in &self.files {
            let seen = outside.facts().files.insert(*time, rows.clone());
            if seen.is_some_and(|seen| seen != *rows) {
                outside.violate(format_args!("batch {time} has other rows in its file than before"));
            }
            let base = outside.facts().base.get(time).cloned();
            if base.is_some_and(|base| sorted(base) != sorted(rows.clone())) {
                outside.violate(format_args!("batch {time} has other rows in the database than in its file"));
            }
        }
        for receiver in board.read().receivers {
            if receiver.error.as_ref().is_some_and(|error| error.contains("panicked")) {
                outside.violate(format_args!("{} {:?}", receiver.receiver, receiver.error));
            }
        }
    }

    /// A pipeline that was stopped gracefully has committed all that it was given.
    pub(super) fn check_stopped(&self, outside: &Outside) {
        let Some(ledger) = self.ledger(outside) else { return };
        if !ledger.pending.is_empty() {
            outside.violate(format_args!("it stopped with pending batches: {:?}", ledger.pending));
        }
        for (receiver, stream) in (0..).zip(&outside.streams) {
            let taken = match ledger.lanes.get(&Lane { source: RECEIVER.into(), receiver }) {
                Some(Cut::Logged { next, .. }) => *next,
                _ => 0,
            };
            let sent = outside.facts().sent.get(&stream.name).copied();
            if sent.is_some_and(|sent| sent != taken) {
                outside.violate(format_args!("{} sent {sent:?}, and batches took {taken}", stream.name));
            }
        }
    }

    /// Everything was handed over, once. `keeps_letters`: no file of dead letters was replaced twice.
    pub(super) fn check_all(&self, outside: &Outside, keeps_letters: bool) {
        let base: Vec<String> = outside.facts().base.values().flatten().cloned().collect();
        let files: Vec<String> = self.files.values().flatten().cloned().collect();
        let mut places = vec![("the files", files)];
        if !outside.numbered {
            places.push(("the database", base));
        }
        for (stream, (place, rows)) in
            outside.all().flat_map(|stream| places.iter().map(move |at| (stream, at)))
        {
            check_rows(outside, stream, place, rows);
        }
        let good: usize = outside.all().map(|stream| stream.good().count()).sum();
        let rejected = sorted(outside.all().flat_map(Stream::rejected).collect());
        for (place, rows) in &places {
            let rows = rows.len();
            if rows != good {
                outside.violate(format_args!("{rows} rows are in {place}, and there are {good} good ones"));
            }
        }
        self.check_letters(outside, &rejected, keeps_letters);
        if let Some(ledger) = self.ledger(outside) {
            check_counts(outside, ledger, good, rejected.len());
        }
    }

    fn check_letters(&self, outside: &Outside, rejected: &[String], keeps_letters: bool) {
        let letters = sorted(self.letters.iter().map(|line| record(line)).collect());
        let is_as_it_should = match keeps_letters {
            true => letters == rejected,
            false => {
                letters.is_sorted_by(|one, next| one < next)
                    && letters.iter().all(|letter| rejected.contains(letter))
            }
        };
        if !is_as_it_should {
            outside.violate(format_args!("dead letters {letters:?} and not {rejected:?}"));
        }
    }

    fn ledger(&self, outside: &Outside) -> Option<&Ledger> {
        if let Err(error) = &self.ledger {
            outside.violate(format_args!("the journal cannot be read: {error}"));
        }
        self.ledger.as_ref().ok()
    }
}

/// Every good record of a stream is there once, in order.
fn check_rows(outside: &Outside, stream: &Stream, place: &str, rows: &[String]) {
    let prefix = format!("{}:", stream.name);
    let there: Vec<&String> = rows.iter().filter(|row| row.starts_with(&prefix)).collect();
    let number = |(row, good): (usize, String)| match outside.numbered {
        true => format!("{good}#{}", row + 1),
        false => good,
    };
    let expected: Vec<String> = stream.good().enumerate().map(number).collect();
    if !there.iter().copied().eq(&expected) {
        outside.violate(format_args!("of {}, {place} have {there:?} and not {expected:?}", stream.name));
    }
}

fn check_counts(outside: &Outside, ledger: &Ledger, good: usize, rejected: usize) {
    let counted = ledger.accumulators.get(COUNTED).copied().unwrap_or_default();
    let found = (counted as u64, ledger.dead_letters, ledger.records);
    let expected = (good as u64, rejected as u64, (good + rejected) as u64);
    if found != expected {
        outside.violate(format_args!("good, rejected and all are counted as {found:?} and not {expected:?}"));
    }
    let origins = match ledger.lanes.get(&Lane { source: SHELF.into(), receiver: 0 }) {
        Some(Cut::Direct { origins }) => origins.clone(),
        _ => BTreeMap::new(),
    };
    for origin in &outside.origins {
        if origins.get(&origin.name).is_some_and(|taken| !taken.finished || taken.records != origin.len()) {
            outside.violate(format_args!("{} is known as {:?}", origin.name, origins.get(&origin.name)));
        }
    }
}

async fn lines(disk: &MemoryDisk, path: &str) -> Vec<String> {
    let bytes = disk.read(Path::new(path)).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// The record of a dead letter; of a line that is none, the line.
fn record(line: &str) -> String {
    let letter: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    letter["bytes"].as_str().unwrap_or(line).to_owned()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

//! What is in a checkpoint folder beside the journal: batches that wait for their sinks, and states.
//!
//! It is looked at and never changed. What of it is damaged and not needed, the pipeline goes on without by itself; and what is
//! needed is nowhere else, so that only the operator can say what is to become of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use millstream_journal::{Archive, JournalError, Ledger, Outbox, StateFiles};
use millstream_model::BatchTime;
use millstream_platform::Disk;
use millstream_state::{StateEnd, StateError, Store};
use serde_json::{Value, json};

const NO_STATES: &str = "put the checkpoint folder back from a copy of it, whole; without one, begin with a new \
                         folder, and with new states";

/// A file, and what is in it.
pub(super) struct Finding {
    pub(super) file: PathBuf,
    /// What it is of, or what is wrong with it.
    found: Result<String, String>,
    /// What becomes of it, or is to be done.
    next: String,
    /// Whether the pipeline cannot go on without it.
    is_needed: bool,
}

impl Finding {
    /// Whether the pipeline needs it, and it is damaged.
    pub(super) fn is_lost(&self) -> bool {
        self.is_needed && self.found.is_err()
    }

    pub(super) fn as_text(&self) -> String {
        let (file, next) = (self.file.display(), &self.next);
        match &self.found {
            Ok(what) => format!("{file}: whole, {what}: {next}\n"),
            Err(damage) => format!("{file}: DAMAGED, {damage}\n  {next}\n"),
        }
    }

    pub(super) fn as_object(&self) -> Value {
        let Self { file, found, next, is_needed } = self;
        json!({ "file": file, "damage": found.as_ref().err(), "needed": is_needed, "next": next })
    }
}

/// Everything beside the journal in the checkpoint folder of a pipeline that does not run, and whose journal is whole.
pub(super) async fn examine(disk: &Arc<dyn Disk>, checkpoint: &Path) -> Result<Vec<Finding>> {
    let archive = Archive::open(Arc::clone(disk), checkpoint).await?;
    let mut findings = outboxes(disk, checkpoint, archive.ledger()).await?;
    let end = archive.ledger().state_end;
    let files = StateFiles::new(disk, checkpoint, end.map_or(0, |end| end.generation));
    findings.extend(snapshots(&files).await?);
    findings.extend(states(disk, checkpoint, &files, end).await?);
    Ok(findings)
}

/// The batches that wait for sinks.
async fn outboxes(disk: &Arc<dyn Disk>, checkpoint: &Path, ledger: &Ledger) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for sink in Outbox::sinks(disk, checkpoint).await? {
        let outbox = Outbox::new(Arc::clone(disk), checkpoint, &sink);
        for time in outbox.batches().await? {
            let is_needed = ledger.unpublished.as_ref().is_some_and(|(manifest, _)| manifest.time == time);
            let found = match read(&outbox, time).await {
                Ok(parts) => Ok(format!("batch {time} in {parts} parts")),
                Err(error) => Err(damage(error)?),
            };
            let next = match (&found, is_needed) {
                (Ok(_), true) => format!("sink \"{sink}\" is given it at the next start"),
                (_, false) => "no sink needs it any more, and the pipeline removes it".to_owned(),
                (Err(_), true) => format!(
                    "batch {time} is committed, and sink \"{sink}\" has not taken it: put the file back from a copy; without one, \
                     remove it, and the sink is never given the batch"
                ),
            };
            findings.push(Finding { file: outbox.file(time), found, next, is_needed });
        }
    }
    Ok(findings)
}

/// Reads all parts of a batch, and gives how many there are.
async fn read(outbox: &Outbox, time: BatchTime) -> Result<usize, JournalError> {
    let parts = match outbox.open(time).await? {
        Some(batch) => {
            for part in 0..batch.parts() {
                outbox.read(&batch, u32::try_from(part).unwrap_or(u32::MAX)).await?;
            }
            batch.parts()
        }
        None => 0,
    };
    Ok(parts)
}

/// The snapshots of states that cannot be read. Whether the states can be without them, [`states`] says.
async fn snapshots(files: &StateFiles) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for number in files.snapshot_numbers().await? {
        if let Err(error) = files.read_snapshot(number).await {
            let next = "the states are taken from an older snapshot and the log".to_owned();
            let (file, found) = (files.snapshot_file(number), Err(damage(error)?));
            findings.push(Finding { file, found, next, is_needed: false });
        }
    }
    Ok(findings)
}

/// The states as of the last commit, if there are any.
async fn states(
    disk: &Arc<dyn Disk>,
    checkpoint: &Path,
    files: &StateFiles,
    end: Option<StateEnd>,
) -> Result<Option<Finding>> {
    let folder = files.folder().to_owned();
    if end.is_none() && !folder.exists() {
        return Ok(None);
    }
    let finding = |file, found, next: &str| Finding { file, found, next: next.to_owned(), is_needed: true };
    Ok(Some(match Store::read(disk, checkpoint, end).await {
        Ok(store) => {
            let tables = store.statistics().tables.len();
            finding(folder, Ok(format!("{tables} tables")), "the pipeline goes on with them")
        }
        Err(StateError::Journal(error)) => {
            let file = match &error {
                JournalError::Damaged { file, .. } | JournalError::Newer { file, .. } => file.clone(),
                _ => folder,
            };
            finding(file, Err(damage(error)?), NO_STATES)
        }
        Err(error) => finding(folder, Err(error.to_string()), NO_STATES),
    }))
}

/// What is wrong with a file; an error, where the disk failed instead.
fn damage(error: JournalError) -> Result<String, JournalError> {
    match error {
        JournalError::Damaged { offset, what, .. } => Ok(format!("at byte {offset}: {what}")),
        JournalError::Newer { format, newest, .. } => {
            Ok(format!("its format is {format}, and this program reads up to {newest}"))
        }
        error => Err(error),
    }
}

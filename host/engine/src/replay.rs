//! Runs a batch of the past again, without writing anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_journal::Archive;
use millstream_model::{Commit, Manifest, RowsDigest};
use millstream_query::{Chunks, Output};

use crate::application::Code;
use crate::batch::{Batch, Log};
use crate::process::chunks;
use crate::{EngineError, digest};

/// What a batch gives now, and what it gave when it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Records in.
    pub records: u64,
    /// Whether it was committed, and did not fail, then.
    pub committed: bool,
    /// By sink: the rows now, and those of then if it was committed.
    pub sinks: BTreeMap<String, (RowsDigest, Option<RowsDigest>)>,
}

impl Replayed {
    /// Whether every sink is given the rows that it was given then, as far as that is known.
    pub fn is_equal(&self) -> bool {
        self.sinks.values().all(|(now, then)| then.is_none_or(|then| then == *now))
    }
}

/// Runs the batch of `manifest` again by `code`, the version that it names, on what `archive` has of its input, and on
/// the tables as they are now.
pub async fn replay(
    archive: &Archive,
    manifest: &Manifest,
    commit: Option<&Commit>,
    code: &Code,
) -> Result<Replayed, EngineError> {
    let time = manifest.time;
    if !code.states.is_empty() {
        let reason = "its streams keep states, which are not kept as they were before the batch".to_owned();
        return Err(EngineError::Version { time, reason });
    }
    let batch = Batch::again(manifest.clone(), Duration::ZERO);
    let inputs = chunks(batch.load(code, Some(Log::Archive(archive))).await?);
    let given = inputs.iter().map(|(name, chunks)| (name.clone(), Arc::clone(chunks) as Arc<dyn Chunks>));
    code.tables.open(time).await?;
    let given = given.chain(code.tables.now().await.inputs).collect();
    let digests = Arc::new(Digests::default());
    let mut program = code.programs.take().expect("nobody else runs its programs");
    let ran = program.run(time, given, Arc::clone(&digests) as Arc<dyn Output>).await;
    code.programs.put(program);
    ran.map_err(|source| EngineError::Batch { time, source })?;
    let digests = digests.0.lock().unwrap_or_else(PoisonError::into_inner);
    let commit = commit.filter(|commit| commit.failure.is_none());
    let sinks = code.sinks.iter().map(|binding| {
        let now = digests.get(&binding.from).copied().unwrap_or_default();
        let then = commit.map(|commit| commit.outputs.get(&binding.name).copied().unwrap_or_default());
        (binding.name.clone(), (now, then))
    });
    Ok(Replayed { records: batch.records(), committed: commit.is_some(), sinks: sinks.collect() })
}

/// The digests of what a batch gives, by relation.
#[derive(Default)]
struct Digests(Mutex<BTreeMap<String, RowsDigest>>);

#[async_trait]
impl Output for Digests {
    async fn write(&self, relation: &str, _partition: usize, rows: RecordBatch) -> Result<(), String> {
        let digest = digest(&rows);
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.entry(relation.to_owned()).or_default().add(digest);
        Ok(())
    }
}

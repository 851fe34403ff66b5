//! Which version of a pipeline computes its batches, and which one did before it.

use std::fmt::Write;

use millstream_journal::Archive;
use millstream_model::{BatchTime, Version};
use serde::{Deserialize, Serialize};

use crate::upgrade::Adopted;
use crate::versions::short;

/// A pipeline's version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VersionStatus {
    /// That of the batches that are cut now.
    pub(crate) runs: Version,
    /// The last batch of another version; none, where the batch log tells of none.
    pub(crate) after: Option<BatchTime>,
    /// The one that a rollback goes back to.
    pub(crate) before: Option<Version>,
}

impl VersionStatus {
    /// That of a pipeline that runs `version`.
    pub(crate) fn of(version: Version, archive: &Archive, adopted: Option<&Adopted>) -> Self {
        let times: Vec<BatchTime> = archive.batches().collect();
        let is_other =
            |time: &BatchTime| archive.batch(*time).is_some_and(|(manifest, _)| manifest.version != version);
        let after = times.into_iter().rev().find(is_other);
        let adopted = adopted.filter(|adopted| adopted.version == version);
        Self { after, before: adopted.and_then(|adopted| adopted.before.clone()), runs: version }
    }

    /// That of a pipeline that does not run; none, of one that never had a batch.
    pub(super) fn left(archive: &Archive, adopted: Option<&Adopted>) -> Option<Self> {
        let last = archive.batches().last().and_then(|time| archive.batch(time));
        let version = last.map(|(manifest, _)| manifest.version.clone())?;
        Some(Self::of(version, archive, adopted))
    }

    /// Lines for people, each with what it is of.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let Self { runs, after, before } = self;
        let since = after.map(|after| format!(", after batch {after}")).unwrap_or_default();
        let mut lines = vec![("version", format!("{}{since}", in_short(runs)))];
        lines.extend(before.as_ref().map(|before| ("rollback to", in_short(before))));
        lines
    }
}

fn in_short(version: &Version) -> String {
    let mut text = format!("pipeline {}", short(&version.pipeline));
    for (name, digest) in &version.plugins {
        write!(text, ", {name} {}", short(digest)).expect("text can always be written");
    }
    text
}

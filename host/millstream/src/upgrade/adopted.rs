//! Which version a pipeline goes on with when it is started again: the one that it was given while it ran, as long as the
//! operator has put no other files in place since.
//!
//! ```text
//! checkpoint/versions/adopted.json
//! ```

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use millstream_model::Version;
use millstream_plugins::sha256;
use serde::{Deserialize, Serialize};

use crate::allowed::Allowed;
use crate::load::Overrides;
use crate::target::Read;

/// A version that a running pipeline was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Adopted {
    /// The version.
    pub(crate) version: Version,
    /// The one to go back to, if there is one.
    pub(crate) before: Option<Version>,
    /// The files that the pipeline would start from, as they were.
    pub(crate) files: Files,
    /// What a pipeline that a component carries may use, by what was allowed at the start and since.
    #[serde(default)]
    pub(crate) allowed: Allowed,
    /// The streams whose states this version may begin without: a drop is durable with its first batch only.
    #[serde(default)]
    pub(crate) drop_states: Vec<String>,
}

/// The files that a pipeline starts from, by their SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Files {
    pipeline: String,
    /// By plugin; those that cannot be read are missing.
    components: BTreeMap<String, String>,
}

impl Files {
    /// As they are now: `read` is the pipeline, and `overrides` take the place of components that it names.
    pub(crate) fn now(read: &Read, overrides: &Overrides) -> Result<Self> {
        let pipeline = read.text().parse()?;
        let components = pipeline.plugins.iter().filter_map(|spec| {
            let name = &spec.name.value;
            let bytes = fs::read(overrides.get(name).unwrap_or(&spec.component.value)).ok()?;
            Some((name.clone(), sha256(&bytes)))
        });
        Ok(Self { pipeline: sha256(read.text.as_bytes()), components: components.collect() })
    }
}

//! The pipeline that a command is about: a pipeline file, or a component that carries one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use millstream_model::pipeline::Pipeline;
use millstream_pipeline::{Diagnostics, Text};
use millstream_plugins::{Cache, Carried};

use crate::allowed::{Allowed, Want, wants};
use crate::compiled::{cache, sandbox};
use crate::load::{Refused, runtime};

/// What a component begins with.
const WASM: &[u8] = b"\0asm";

/// What all commands take that are about a pipeline.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The pipeline file, or a component that carries its pipeline
    pub(crate) pipeline: PathBuf,
    /// The folder of the journal and the states, in place of the one that the pipeline names
    #[arg(long, value_name = "FOLDER")]
    pub(crate) checkpoint: Option<PathBuf>,
}

/// A pipeline as it was read. Nothing of it is checked.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    /// The digest of the component that carries it, if one does.
    pub(crate) carrier: Option<String>,
    checkpoint: Option<PathBuf>,
}

impl Target {
    /// Reads the pipeline. A component that is asked for it runs without any grant.
    pub(crate) async fn read(&self) -> Result<Read> {
        self.read_with(self.checkpoint.as_deref().and_then(cache)).await
    }

    /// The same, where it is known already what is compiled.
    pub(crate) async fn read_with(&self, compiled: Option<Cache>) -> Result<Read> {
        let Self { pipeline: file, checkpoint } = self.clone();
        let bytes =
            fs::read(&file).map_err(|error| Refused(format!("reading {}: {error}", file.display())))?;
        if !bytes.starts_with(WASM) {
            let text = String::from_utf8(bytes).map_err(|error| {
                Refused(format!("reading {}: the file is not UTF-8: {error}", file.display()))
            })?;
            return Ok(Read { file, text, carrier: None, checkpoint });
        }
        let carried = Carried::read(&sandbox(compiled)?, &file).await;
        match carried.map_err(|error| Refused(error.to_string()))? {
            Some(Carried { text, digest, .. }) => Ok(Read { file, text, carrier: Some(digest), checkpoint }),
            None => Err(Refused(format!(
                "{} carries no pipeline; name it as a plugin in a pipeline file, or give it one by `millstream bundle`",
                file.display()
            ))
            .into()),
        }
    }

    /// The pipeline's name and its checkpoint folder, by which it is found.
    pub(crate) fn checkpoint(&self) -> Result<(String, PathBuf)> {
        let read = runtime()?.block_on(self.read())?;
        let pipeline = read.text().parse()?;
        let Some(checkpoint) = pipeline.checkpoint else {
            let name = read.text().name();
            let reason = "names no `checkpoint` folder, by which a pipeline is found; add a line such as checkpoint = \"checkpoint\", or name one by --checkpoint";
            return Err(Refused(format!("{} {reason}", name.display())).into());
        };
        Ok((pipeline.name, checkpoint))
    }

    /// The pipeline as another text and its carrier would make it.
    pub(crate) fn with_text(&self, text: String, carrier: Option<String>) -> Read {
        Read { file: self.pipeline.clone(), text, carrier, checkpoint: self.checkpoint.clone() }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.pipeline
    }
}

impl Read {
    pub(crate) fn text(&self) -> Text<'_> {
        Text {
            file: &self.file,
            text: &self.text,
            is_carried: self.carrier.is_some(),
            checkpoint: self.checkpoint.as_deref(),
        }
    }

    /// The compiled code in the checkpoint folder, as far as the text can be read. The folder need not be there, and is
    /// not made.
    pub(crate) fn compiled(&self) -> Option<Cache> {
        self.text().parse().ok()?.checkpoint.as_deref().and_then(cache)
    }

    /// Refuses a pipeline of a component that wants what is not allowed. A pipeline file is the operator's own, and wants
    /// nothing that it does not have.
    pub(crate) fn admit(&self, allowed: &Allowed) -> Result<()> {
        if self.carrier.is_none() {
            return allowed.refuse_any();
        }
        let pipeline = self.text().parse()?;
        let all = allowed.check(&pipeline, &self.wants(&pipeline));
        match all.is_empty() {
            true => Ok(()),
            false => Err(Diagnostics { file: self.text().name(), all }.into()),
        }
    }

    /// What the pipeline wants from outside.
    pub(crate) fn wants(&self, pipeline: &Pipeline) -> Vec<Want> {
        wants(pipeline, self.checkpoint.is_none())
    }
}

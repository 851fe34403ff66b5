//! `millstream bundle`: a component and a pipeline file, made into one file that is the application.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use millstream_pipeline::{Diagnostics, Text};
use millstream_plugins::Carried;

use crate::load::Refused;

/// What `bundle` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The pipeline file, in which the component is the plugin "self"
    pipeline: PathBuf,
    /// The component
    component: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "APPLICATION")]
    output: PathBuf,
}

pub(crate) fn bundle(options: &Options) -> Result<()> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| Refused(format!("reading {}: {error}", path.display())))
    };
    let (pipeline, component) = (&options.pipeline, &options.component);
    let text = String::from_utf8(read(pipeline)?).map_err(|error| {
        Refused(format!("reading {}: the file is not UTF-8: {error}", pipeline.display()))
    })?;
    // What is wrong with the form is told with the places of the file that its author has open.
    let parsed = Text { is_carried: true, ..Text::new(pipeline, &text) }.parse();
    parsed.map_err(|diagnostics| Diagnostics { file: pipeline.clone(), ..diagnostics })?;
    let carrier = Carried::append(&read(component)?, &text);
    let carrier = carrier.map_err(|reason| Refused(format!("{}: {reason}", component.display())))?;
    fs::write(&options.output, carrier).with_context(|| format!("writing {}", options.output.display()))
}

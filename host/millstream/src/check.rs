//! `millstream check`: everything that can be wrong with a pipeline, before anything runs.

use std::path::Path;

use anyhow::Result;

use crate::load::{load, runtime};

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn check(file: &Path) -> Result<()> {
    let checked = runtime()?.block_on(load(file))?;
    let pipeline = &checked.pipeline;
    let counted = [
        (pipeline.plugins.len(), "plugin"),
        (pipeline.sources.len(), "source"),
        (pipeline.tables.len(), "table"),
        (pipeline.streams.len(), "stream"),
        (pipeline.sinks.len(), "sink"),
        (pipeline.tests.len(), "test"),
    ];
    let plural =
        |(count, what): &(usize, &str)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" });
    let counted = counted.iter().filter(|(count, what)| *count > 0 || *what != "table");
    let counted: Vec<String> = counted.map(plural).collect();
    println!("{}: ok ({})", file.display(), counted.join(", "));
    Ok(())
}

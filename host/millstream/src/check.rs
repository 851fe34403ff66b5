//! `millstream check`: everything that can be wrong with a pipeline, before anything runs.

use anyhow::Result;

use crate::allowed::Allowed;
use crate::load::{load, runtime};
use crate::target::Target;

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn check(target: &Target, allowed: &Allowed) -> Result<()> {
    let checked = runtime()?.block_on(load(target, allowed))?;
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
    println!("{}: ok ({})", target.file().display(), counted.join(", "));
    Ok(())
}

//! `millstream test`: the tests that a pipeline file holds, run on a clock of their own.

mod case;
mod rows;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::load::{load, runtime};
use case::{Outcome, run};

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn test(file: &Path, as_json: bool) -> Result<()> {
    let outcomes = runtime()?.block_on(async {
        let pipeline = load(file).await?.pipeline;
        let mut outcomes = Vec::new();
        for test in &pipeline.tests {
            // Each begins with nothing that another one left behind.
            let checked = load(file).await?;
            outcomes.push((test.name.value.clone(), run(&checked, test).await?));
        }
        anyhow::Ok(outcomes)
    })?;
    for (name, outcome) in &outcomes {
        match as_json {
            true => {
                println!("{}", json!({ "test": name, "passed": outcome.passed(), "differences": outcome.0 }))
            }
            false => print!("{}", report(name, outcome)),
        }
    }
    let failed = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).count();
    if !as_json {
        println!("{} passed, {failed} failed", outcomes.len() - failed);
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {} tests of {} failed", outcomes.len(), file.display()),
    }
}

fn report(name: &str, outcome: &Outcome) -> String {
    let verdict = if outcome.passed() { "ok" } else { "FAILED" };
    let mut text = format!("{verdict:<7}{name}\n");
    text.extend(outcome.0.iter().map(|line| format!("       {line}\n")));
    text
}

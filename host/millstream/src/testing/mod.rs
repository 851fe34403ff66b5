//! `millstream test`: the tests that a pipeline file holds, each run by the engine in a world of its own, with a clock
//! that the test turns and a disk in memory, so that a restart goes through the recovery that a crash would.

mod case;
mod collected;
mod given;
mod rows;
mod world;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::load::{Subject, runtime};
use case::{Outcome, run};
pub(crate) use rows::from_rows;

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn test(file: &Path, as_json: bool) -> Result<()> {
    let outcomes = runtime()?.block_on(async {
        let subject = Subject::new(file)?;
        let checked = subject.check().await?;
        let mut outcomes = Vec::new();
        for test in &checked.pipeline.tests {
            let name = test.name.value.clone();
            let outcome = run(&subject, &checked, test).await;
            outcomes.push((name, outcome.with_context(|| format!("running test \"{}\"", test.name))?));
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

//! `millstream test`: the tests that a pipeline file holds, each run by the engine in a world of its own, with a clock
//! that the test turns and a disk in memory, so that a restart goes through the recovery that a crash would.

mod case;
mod collected;
mod given;
mod rows;
mod table;
mod world;

use anyhow::{Result, bail};
use serde_json::json;

use crate::allowed::Allowed;
use crate::load::{Subject, runtime};
use crate::target::Target;
use case::{Outcome, run};
pub(crate) use rows::from_rows;

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn test(target: &Target, allowed: &Allowed, as_json: bool) -> Result<()> {
    let (tests, failed) = runtime()?.block_on(async {
        let subject = Subject::new(target, allowed).await?;
        let checked = subject.check().await?;
        let mut failed = 0;
        for test in &checked.pipeline.tests {
            let outcome = run(&subject, &checked, test).await;
            let outcome = outcome.unwrap_or_else(|error| Outcome(vec![format!("{error:#}")]));
            failed += usize::from(!outcome.passed());
            match as_json {
                true => println!("{}", as_object(&test.name.value, &outcome)),
                false => print!("{}", report(&test.name.value, &outcome)),
            }
        }
        anyhow::Ok((checked.pipeline.tests.len(), failed))
    })?;
    if !as_json {
        println!("{} passed, {failed} failed", tests - failed);
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {tests} tests of {} failed", target.file().display()),
    }
}

fn as_object(name: &str, outcome: &Outcome) -> serde_json::Value {
    json!({ "test": name, "passed": outcome.passed(), "differences": outcome.0 })
}

fn report(name: &str, outcome: &Outcome) -> String {
    let verdict = if outcome.passed() { "ok" } else { "FAILED" };
    let mut text = format!("{verdict:<7}{name}\n");
    text.extend(outcome.0.iter().map(|line| format!("       {line}\n")));
    text
}

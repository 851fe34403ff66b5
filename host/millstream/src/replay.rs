//! `millstream replay`: runs a batch of the past again, aside, and compares what comes out with what came out then.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use millstream_connectors::{Handover, Screen};
use millstream_engine::{Replayed, replay as run_again};
use millstream_journal::Archive;
use millstream_model::{BatchTime, Granted};
use millstream_platform::SystemDisk;
use serde_json::json;

use crate::grants;
use crate::load::{Refused, runtime};
use crate::target::Target;
use crate::versions::Store;
use crate::wire::wire;

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn replay(target: &Target, time: i64, as_json: bool) -> Result<()> {
    let (_, checkpoint) = target.checkpoint()?;
    let time = BatchTime::from_ms(time);
    let (replayed, grants) = runtime()?.block_on(async {
        let archive = Archive::open(Arc::new(SystemDisk), &checkpoint).await?;
        let Some((manifest, commit)) = archive.batch(time) else {
            return Err(unknown(&archive, time).into());
        };
        // Nothing is printed: the sinks of the version are never written to.
        let (screen, _) = Screen::buffer(false);
        let store = Store::new(&checkpoint, target.file(), screen.clone());
        let loaded = store.checked(&manifest.version).await;
        let (text, checked) = loaded.context("loading the version of the pipeline that ran the batch")?;
        let code = wire(&text, &checked, &screen, &Handover::default(), 1).await?;
        let replayed = run_again(&archive, manifest, commit, &code).await?;
        anyhow::Ok((replayed, manifest.version.grants.clone()))
    })?;
    match as_json {
        true => println!("{}", as_object(time, &replayed, &grants)),
        false => print!("{}{}", as_text(time, &replayed), grants::as_text(&grants)),
    }
    match replayed.is_equal() {
        true => Ok(()),
        false => bail!("batch {time} gives other rows than it did"),
    }
}

fn unknown(archive: &Archive, time: BatchTime) -> Refused {
    let mut times = archive.batches();
    let kept = match (times.next(), times.last()) {
        (Some(first), Some(last)) => format!("those of {first} to {last} are kept"),
        (Some(only), None) => format!("the one of {only} is kept"),
        (None, _) => "none is kept".to_owned(),
    };
    Refused(format!("there is no batch of the time {time}; {kept}"))
}

fn as_object(time: BatchTime, replayed: &Replayed, grants: &BTreeMap<String, Granted>) -> serde_json::Value {
    let sinks = replayed.sinks.iter().map(|(sink, (now, then))| {
        let then_rows = then.map(|then| then.rows);
        let outcome = json!({ "rows": now.rows, "rows-then": then_rows, "equal": then.is_none_or(|then| then == *now) });
        (sink.clone(), outcome)
    });
    let sinks: serde_json::Map<_, _> = sinks.collect();
    let committed = replayed.committed;
    json!({ "batch": time, "records": replayed.records, "committed": committed, "equal": replayed.is_equal(), "sinks": sinks, "grants": grants })
}

fn as_text(time: BatchTime, replayed: &Replayed) -> String {
    let mut text = format!("batch {time}: {} records\n", replayed.records);
    if !replayed.committed {
        text += "  the batch was never committed: there is nothing to compare with\n";
    }
    for (sink, (now, then)) in &replayed.sinks {
        let verdict = match then {
            Some(then) if then == now => "as then".to_owned(),
            Some(then) if then.rows == now.rows => "DIFFERENT rows than then".to_owned(),
            Some(then) => format!("DIFFERENT: then {} rows", then.rows),
            None => "nothing to compare with".to_owned(),
        };
        text += &format!("  sink {sink}: {} rows, {verdict}\n", now.rows);
    }
    text
}

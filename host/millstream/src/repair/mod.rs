//! `millstream repair`: what is damaged in a pipeline's checkpoint folder, and what can be saved of its journal.

mod beside;

use std::sync::Arc;

use anyhow::{Result, bail};
use millstream_journal::{FileReport, Report, Verdict, examine, repair as save};
use millstream_platform::{Disk, SystemDisk};
use serde_json::{Value, json};

use self::beside::Finding;
use crate::host_file::Lock;
use crate::load::runtime;
use crate::status::size;
use crate::target::Target;

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn repair(target: &Target, apply: bool, as_json: bool) -> Result<()> {
    let (_, checkpoint) = target.checkpoint()?;
    // Nobody may write to the journal meanwhile, nor start from what is half repaired.
    let _lock = Lock::take(&checkpoint)?;
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let (report, findings) = runtime()?.block_on(async {
        let report = match apply {
            true => save(Arc::clone(&disk), &checkpoint).await?,
            false => examine(Arc::clone(&disk), &checkpoint).await?,
        };
        // What is needed of the rest, only the journal knows.
        let findings = match &report.verdict {
            Verdict::Refused(_) => Vec::new(),
            Verdict::Whole | Verdict::Torn => beside::examine(&disk, &checkpoint).await?,
        };
        anyhow::Ok((report, findings))
    })?;
    match as_json {
        true => println!("{}", as_object(&report, &findings)),
        false => {
            print!("{}{}", as_text(&report, apply), findings.iter().map(Finding::as_text).collect::<String>())
        }
    }
    match &report.verdict {
        Verdict::Refused(_) if !apply => bail!("the journal in {} is damaged", checkpoint.display()),
        Verdict::Refused(reason) => {
            bail!("the journal in {} could not be repaired: {reason}", checkpoint.display())
        }
        Verdict::Whole | Verdict::Torn => match findings.iter().find(|finding| finding.is_lost()) {
            Some(finding) => bail!("{} is damaged, and cannot be repaired", finding.file.display()),
            None => Ok(()),
        },
    }
}

fn as_text(report: &Report, applied: bool) -> String {
    let mut text: String = report.files.iter().map(file_text).collect();
    for (lane, records) in &report.lost {
        text += &format!("{records} records of source \"{lane}\" are lost\n");
    }
    text + &match (&report.verdict, applied) {
        (Verdict::Whole, true) => "the journal is whole\n".to_owned(),
        (Verdict::Whole, false) => "the journal is whole: there is nothing to repair\n".to_owned(),
        (Verdict::Torn, _) => {
            "the journal ends in the middle of a record, as a crash leaves it: that is cut off at the next start\n".to_owned()
        }
        (Verdict::Refused(reason), true) => format!("it is still damaged: {reason}\n"),
        (Verdict::Refused(reason), false) => format!(
            "the pipeline does not start: {reason}\nwith --apply, the damaged files are kept beside copies that hold what can be read\n\
             the outboxes of sinks and the states are looked at once the journal is whole\n"
        ),
    }
}

fn file_text(file: &FileReport) -> String {
    let (name, bytes, records) = (file.file.display(), size(file.bytes), file.records);
    let verdict = if file.damages.is_empty() { "whole" } else { "DAMAGED" };
    let mut text = format!("{name}: {verdict}, {records} records, {bytes}\n");
    for damage in &file.damages {
        text += &format!("  at byte {}: {} bytes: {}\n", damage.offset, damage.bytes, damage.what);
    }
    if let Some(kept) = &file.kept_as {
        text += &format!("  replaced by what can be read; the damaged file is {}\n", kept.display());
    }
    text
}

fn as_object(report: &Report, findings: &[Finding]) -> Value {
    let damage = |damage: &millstream_journal::Damage| json!({ "offset": damage.offset, "bytes": damage.bytes, "what": damage.what });
    let file = |file: &FileReport| {
        let damages: Vec<Value> = file.damages.iter().map(damage).collect();
        json!({
            "file": file.file, "format": file.format, "bytes": file.bytes, "records": file.records,
            "damages": damages, "kept-as": file.kept_as,
        })
    };
    let files: Vec<Value> = report.files.iter().map(file).collect();
    let lost =
        report.lost.iter().map(|(lane, records)| json!({ "lane": lane.to_string(), "records": records }));
    let lost: Vec<Value> = lost.collect();
    let (verdict, reason) = match &report.verdict {
        Verdict::Whole => ("whole", None),
        Verdict::Torn => ("torn", None),
        Verdict::Refused(reason) => ("damaged", Some(reason.to_string())),
    };
    let beside: Vec<Value> = findings.iter().map(Finding::as_object).collect();
    json!({ "verdict": verdict, "reason": reason, "files": files, "lost": lost, "beside": beside })
}

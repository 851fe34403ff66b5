//! `millstream status`: what a pipeline is doing, or where it was left.

#[cfg(test)]
mod tests;
mod usage;
mod version;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use millstream_engine::{Phase, ProbationStatus, QuarantineStatus, ReceiverStatus, Status, TakenBack};
use millstream_journal::Archive;
use millstream_model::BatchTime;
use millstream_platform::SystemDisk;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::control;
use crate::host_file;
use crate::load::runtime;
use crate::printable_line;
use crate::target::Target;
use crate::versions::adopted;

pub(crate) use version::VersionStatus;

/// Batches that are shown to people.
const BATCHES_SHOWN: usize = 5;

/// What there is to show.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) status: Status,
    /// None, where the process that runs does not know it yet, or nothing ever ran.
    #[serde(default)]
    pub(crate) version: Option<VersionStatus>,
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn status(target: &Target, as_json: bool) -> Result<()> {
    let (name, checkpoint) = target.checkpoint()?;
    let (running, Shown { status, version }) = runtime()?.block_on(async {
        match host_file::running(&checkpoint)? {
            Some(host) => anyhow::Ok((Some(host.pid), control::status(&checkpoint).await?)),
            None => Ok((None, left(&name, &checkpoint).await?)),
        }
    })?;
    match as_json {
        true => println!(
            "{}",
            json!({ "running": running.is_some(), "pid": running, "version": version, "status": status })
        ),
        false => print!("{}", text(running, &status, version.as_ref())),
    }
    Ok(())
}

/// What the journal says of a pipeline that does not run.
async fn left(name: &str, checkpoint: &Path) -> Result<Shown> {
    let archive = Archive::open(Arc::new(SystemDisk), checkpoint).await?;
    let version = VersionStatus::left(&archive, adopted(checkpoint)?.as_ref());
    let mut status = Status { pipeline: name.to_owned(), ..Status::default() };
    status.carry_on(archive.ledger());
    for (lane, records) in archive.unprocessed().await? {
        status.receivers.push(ReceiverStatus {
            receiver: lane.to_string(),
            queued_records: records,
            ..ReceiverStatus::default()
        });
    }
    Ok(Shown { status, version })
}

fn text(running: Option<u32>, status: &Status, version: Option<&VersionStatus>) -> String {
    let mut text = String::new();
    let name = &status.pipeline;
    let written = match (running, status.phase) {
        (None, _) => writeln!(text, "{name}: not running"),
        (Some(pid), Phase::Recovering) => writeln!(text, "{name}: finishing what was left, process {pid}"),
        (Some(pid), Phase::Running) => writeln!(text, "{name}: running, process {pid}"),
        (Some(pid), Phase::Stopping) => writeln!(text, "{name}: stopping, process {pid}"),
    };
    written.expect("text can always be written");
    // Some of it is what plugins say.
    let mut line = |name: &str, value: String| text += &format!("  {name:<14} {}\n", printable_line(&value));
    version.iter().flat_map(|version| version.lines()).for_each(|(name, value)| line(name, value));
    line("batches", format!("{} done, {} begun", status.batches, status.queued_batches));
    line("records", format!("{} processed, {} rejected", status.records, status.dead_letters));
    if let Some(bytes) = status.log_bytes {
        line("log", size(bytes));
    }
    for (name, total) in &status.accumulators {
        line("counter", format!("{name} = {total}"));
    }
    if let Some(stage) = status.upgrade {
        line("upgrade", stage.to_string());
    }
    if let Some(probation) = &status.probation {
        line("probation", probation_text(probation));
    }
    if let Some(taken_back) = &status.taken_back {
        line("TAKEN BACK", taken_back_text(taken_back));
    }
    for confined in &status.quarantine {
        line("QUARANTINE", quarantine_text(confined));
    }
    for problem in status.trouble.iter().chain(&status.failure) {
        line("PROBLEM", problem.clone());
    }
    status.receivers.iter().for_each(|receiver| text += &receiver_text(running.is_some(), receiver));
    text += &usage::text(&status.functions, status.cpu.as_ref());
    if !status.recent.is_empty() {
        text += &format!(
            "\n  {:<16} {:>10} {:>12} {:>12} {:>12}\n",
            "batch", "records", "waited ms", "ran ms", "total ms"
        );
    }
    for batch in status.recent.iter().rev().take(BATCHES_SHOWN) {
        let failed = if batch.failure.is_some() { "  FAILED" } else { "" };
        let waited_ms = batch.scheduling_delay_ms + batch.held_up_ms;
        text += &format!(
            "  {:<16} {:>10} {:>12.1} {:>12.1} {:>12.1}{failed}\n",
            batch.time, batch.records, waited_ms, batch.processing_ms, batch.total_delay_ms
        );
    }
    text
}

fn probation_text(probation: &ProbationStatus) -> String {
    let ProbationStatus { batches_left, failures, failures_max } = probation;
    format!("{batches_left} batches left, {failures} failures of at most {failures_max}")
}

fn taken_back_text(taken_back: &TakenBack) -> String {
    let TakenBack { reason, after, reassigned } = taken_back;
    let after = after.map_or(String::new(), |after| format!(" after batch {after}"));
    format!("the upgrade, with {reassigned} batches that are run again{after}: {reason}")
}

fn quarantine_text(confined: &QuarantineStatus) -> String {
    let QuarantineStatus { plugin, function, reason, batch, since_ms, until_ms, tries } = confined;
    let (since, until) = (BatchTime::from_ms(*since_ms), BatchTime::from_ms(*until_ms));
    format!(
        "plugin \"{plugin}\" since {since}: {function} {reason}; batch {batch} waits after {tries} tries, and is tried again \
         at {until}"
    )
}

fn receiver_text(running: bool, receiver: &ReceiverStatus) -> String {
    let name = &receiver.receiver;
    if !running {
        return format!("  source {name}: {} records wait to be processed\n", receiver.queued_records);
    }
    let state = format!("{:?}", receiver.state).to_lowercase();
    let mut text = format!(
        "  source {name}: {state}, {} records received, {} wait ({}, {} of it on disk)",
        receiver.records,
        receiver.queued_records,
        size(receiver.queued_bytes),
        size(receiver.spilled_bytes)
    );
    if receiver.waiting {
        text += ", held back: the batches are behind";
    }
    if let Some(rate) = receiver.rate {
        text += &format!(", at most {rate:.0} records/s");
    }
    if receiver.restarts > 0 {
        text += &format!(", started again {} times", receiver.restarts);
    }
    if let Some(error) = &receiver.error {
        text += &format!("\n    {}", printable_line(error));
    }
    text + "\n"
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(3);
    match unit {
        0 => format!("{bytes} B"),
        unit => format!("{:.1} {}", bytes as f64 / 1024_f64.powi(unit as i32), units[unit as usize]),
    }
}

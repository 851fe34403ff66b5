//! `millstream upgrade --shadow`: a new version runs beside the one that runs, on the same batches, and what both give is
//! compared. Here is how that is asked for, and how it is told.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use clap::Args;
use millstream_engine::{Code, DifferingRow, Shadow, ShadowReport, Side, SinkDifferences};
use serde::{Deserialize, Serialize};

use crate::printable_line;

/// What `upgrade` takes of it.
#[derive(Args)]
pub(super) struct ShadowOptions {
    /// Run the new version beside the running one for so many batches, write nothing of it, and compare the rows of both
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shadow: Option<u32>,
    /// Then go on with the new version, if it gives the same rows
    #[arg(long, requires = "shadow")]
    promote: bool,
    /// How many rows may differ; none, if it is not said
    #[arg(long, value_name = "ROWS", requires = "shadow")]
    allow_diff: Option<u64>,
}

/// What a running pipeline is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ShadowRequest {
    /// For so many batches both versions are to run.
    pub(crate) batches: u32,
    /// Whether the new one is to take the place of the running one, if it is accepted.
    pub(crate) promote: bool,
    /// It is accepted if no more rows differ than this.
    pub(crate) differences_max: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shadowed {
    /// Whether the new version gave the same rows, but for so many as may differ.
    pub(crate) accepted: bool,
    /// Whether it took the place of the running one.
    pub(crate) promoted: bool,
    #[serde(flatten)]
    pub(crate) report: ShadowReport,
}

impl ShadowOptions {
    pub(super) fn request(&self) -> Option<ShadowRequest> {
        let (promote, differences_max) = (self.promote, self.allow_diff.unwrap_or(0));
        self.shadow.map(|batches| ShadowRequest { batches, promote, differences_max })
    }
}

impl ShadowRequest {
    /// What the engine is asked for, to compare `code` with what runs.
    pub(super) fn of(self, code: Code) -> Shadow {
        let promote = self.promote.then_some(self.differences_max);
        Shadow { code: Arc::new(code), batches: self.batches, promote }
    }

    /// Whether a new version is accepted of which this was found.
    pub(crate) fn accepts(&self, report: &ShadowReport) -> bool {
        report.is_within(self.differences_max)
    }

    /// What the operator of the pipeline `name` is told of a new version that is not accepted.
    pub(super) fn rejection(&self, name: &str, report: &ShadowReport) -> String {
        let rejected = if self.promote { "rejected: " } else { "" };
        format!("{rejected}{}; {name} goes on as it was", self.objection(report))
    }

    fn objection(&self, report: &ShadowReport) -> String {
        let failures = report.failures.len() as u64 + report.more_failures;
        let columns = report.sinks.iter().find(|(_, sink)| sink.columns.is_some());
        match columns {
            _ if report.batches == 0 => "no batch was compared".to_owned(),
            _ if failures > 0 => format!("the new version failed {}", counted(failures, "time", "times")),
            Some((sink, _)) => format!("the columns of sink \"{sink}\" differ"),
            None => {
                let rows = report.differing_rows();
                let counted = counted(rows, "row", "rows");
                format!("{counted} {} and {} may (--allow-diff)", differ(rows), grouped(self.differences_max))
            }
        }
    }
}

/// A report as people read it, with a line feed behind each line.
pub(super) fn as_text(report: &ShadowReport) -> String {
    let mut lines = vec![summary(report)];
    for (sink, differences) in &report.sinks {
        lines.extend(sink_lines(sink, differences));
    }
    lines.extend(report.by_digest.iter().map(|(sink, batches)| {
        let batches = counted(*batches, "batch", "batches");
        format!(
            "  sink \"{sink}\": too many rows to keep in {batches}, of which all or none count as different"
        )
    }));
    lines.extend(report.failures.iter().map(|failure| format!("  failed: {failure}")));
    if report.more_failures > 0 {
        lines.push(format!("  failed {} more", counted(report.more_failures, "time", "times")));
    }
    if report.batches > 0 {
        let [after, before] =
            [report.after_ms, report.before_ms].map(|took_ms| took_ms / report.batches as f64);
        lines.push(format!("took {after:.1} ms a batch, before {before:.1} ms"));
    }
    lines.iter().map(|line| format!("{}\n", printable_line(line))).collect()
}

fn summary(report: &ShadowReport) -> String {
    let times = match (report.first, report.last) {
        (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
        (Some(only), _) => format!(", {only}"),
        _ => return "shadowed no batch".to_owned(),
    };
    let batches = counted(report.batches, "batch", "batches");
    let rows = counted(report.rows, "row", "rows");
    let differing = match report.differing_rows() {
        0 => "none differs".to_owned(),
        differing => format!("{} {}", grouped(differing), differ(differing)),
    };
    format!("shadowed {batches}{times}: {rows} compared, {differing}")
}

fn sink_lines(sink: &str, differences: &SinkDifferences) -> Vec<String> {
    let SinkDifferences { only_before, only_after, columns, samples, .. } = differences;
    let before = counted(*only_before, "row", "rows");
    let mut told = format!("  sink \"{sink}\": {before} only before, {} only after", grouped(*only_after));
    if let Some(columns) = columns {
        told += &format!("; its columns differ: {columns}");
    }
    let sample = |DifferingRow { batch, side, row }: &DifferingRow| {
        let mark = match side {
            Side::Before => '-',
            Side::After => '+',
        };
        format!("    {batch}  {mark} {row}")
    };
    let is_all = samples.len() as u64 >= only_before + only_after;
    let more = (!samples.is_empty() && !is_all).then(|| "    …".to_owned());
    [told].into_iter().chain(samples.iter().map(sample)).chain(more).collect()
}

fn differ(rows: u64) -> &'static str {
    if rows <= 1 { "differs" } else { "differ" }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

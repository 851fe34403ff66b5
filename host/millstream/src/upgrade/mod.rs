//! `millstream upgrade` and `millstream rollback`: other code for a pipeline that runs.

mod adopted;
mod asker;
mod changes;
mod loaded;
mod returning;
mod running;
mod shadow;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use millstream_engine::{MigratedTable, Upgraded};
use millstream_model::BatchTime;
use millstream_pipeline::PROBATION_MAX;
use serde::{Deserialize, Serialize};

use crate::allowed::Allowed;
use crate::control;
use crate::host_file;
use crate::imports::OUTSIDE;
use crate::load::{Refused, runtime};
use crate::run::parse_override;
use crate::target::Target;

pub(crate) use adopted::{Adopted, Files};
pub(crate) use asker::Asker;
pub(crate) use loaded::{Loaded, choose};
pub(crate) use returning::Returned;
pub(crate) use running::Running;
pub(crate) use shadow::{ShadowRequest, Shadowed};
pub(crate) use watch::{Watched, stamp};

/// What `upgrade` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Another component for a plugin
    #[arg(value_name = "NAME=COMPONENT", value_parser = parse_override)]
    plugins: Vec<(String, PathBuf)>,
    /// Another pipeline file, or another component that carries the pipeline
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    allowed: Allowed,
    /// What components may import that those before them did not
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(OUTSIDE.map(|(what, _)| what)))]
    allow_import: Vec<String>,
    #[command(flatten)]
    shadow: shadow::ShadowOptions,
    #[command(flatten)]
    drops: Drops,
    /// Take it back if it fails within so many batches, whatever the pipeline file says; 0: never
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(..=i64::from(PROBATION_MAX)))]
    probation: Option<u32>,
    /// How often it may fail within them
    #[arg(long, value_name = "FAILURES")]
    max_failures: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The states that a version of a pipeline may begin without.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Drops {
    /// Drop what is kept for a stream that the pipeline has no more, or that reads its state otherwise by now
    #[arg(long, value_name = "STREAM")]
    pub(crate) drop_state: Vec<String>,
}

/// What a running pipeline is asked for. A process refuses what it does not know, for that may say what it is not to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Request {
    /// The pipeline that is meant, by its name.
    #[serde(default)]
    pub(crate) pipeline: Option<String>,
    /// Components by plugin, as absolute paths.
    pub(crate) plugins: BTreeMap<String, PathBuf>,
    /// Another pipeline, as an absolute path.
    pub(crate) file: Option<PathBuf>,
    /// What a pipeline that a component carries may use, beside what was allowed before.
    pub(crate) allowed: Allowed,
    /// The ways outside that imports may be new for.
    pub(crate) allow_imports: Vec<String>,
    /// The streams whose states may be lost.
    #[serde(default)]
    pub(crate) drop_states: Vec<String>,
    /// How it is tried out, where that is not as its pipeline file says.
    #[serde(default)]
    pub(crate) probation: Option<u32>,
    #[serde(default)]
    pub(crate) max_failures: Option<u64>,
    /// The version before is wanted, and nothing of the above.
    pub(crate) back: bool,
    /// The new version is to run beside the one that runs first.
    #[serde(default)]
    pub(crate) shadow: Option<ShadowRequest>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    /// In what the versions differ, a line each.
    pub(crate) changes: Vec<String>,
    /// The last batch of the version before, by its time in milliseconds.
    pub(crate) after: Option<i64>,
    /// Batches that could not go on with the version before, and were given to this one.
    pub(crate) reassigned: usize,
    /// What came of running it beside the version before, where that was asked for. Where it was not promoted, the pipeline goes
    /// on as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shadow: Option<Shadowed>,
    /// The states that were made into those of the new version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) migrated: Vec<MigratedTable>,
}

impl Report {
    /// What came of an upgrade with these changes, for which a comparison was asked or not.
    fn new(changes: Vec<String>, upgraded: Upgraded, asked: Option<ShadowRequest>) -> Self {
        let Upgraded { swapped, shadow, migrated } = upgraded;
        let after = swapped.and_then(|swapped| swapped.after).map(BatchTime::as_ms);
        let reassigned = swapped.map_or(0, |swapped| swapped.reassigned);
        let shadow = shadow.zip(asked).map(|(report, asked)| Shadowed {
            accepted: asked.accepts(&report),
            promoted: swapped.is_some(),
            report,
        });
        Self { changes, after, reassigned, shadow, migrated }
    }
}

pub(crate) fn upgrade(options: &Options) -> Result<()> {
    if options.plugins.is_empty() && options.file.is_none() {
        let remedy = "say what is new: NAME=COMPONENT, such as text=./text.wasm, or --file FILE";
        return Err(Refused(remedy.to_owned()).into());
    }
    let found = |path: &Path| absolute(path).with_context(|| format!("finding {}", path.display()));
    let plugins = options.plugins.iter().map(|(name, path)| Ok((name.clone(), found(path)?)));
    let request = Request {
        pipeline: None,
        plugins: plugins.collect::<Result<_>>()?,
        file: options.file.as_deref().map(found).transpose()?,
        allowed: options.allowed.clone(),
        allow_imports: options.allow_import.clone(),
        drop_states: options.drops.drop_state.clone(),
        probation: options.probation,
        max_failures: options.max_failures,
        back: false,
        shadow: options.shadow.request(),
    };
    ask(&options.target, request, options.json)
}

pub(crate) fn roll_back(target: &Target, drops: &Drops, json: bool) -> Result<()> {
    let drop_states = drops.drop_state.clone();
    ask(target, Request { back: true, drop_states, ..Request::default() }, json)
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
fn ask(target: &Target, request: Request, json: bool) -> Result<()> {
    let (name, checkpoint) = target.checkpoint()?;
    if host_file::running(&checkpoint)?.is_none() {
        let first = if request.back { "first" } else { "with what is new" };
        let (folder, file) = (checkpoint.display(), target.file().display());
        bail!(
            "{name} is not running on the checkpoint folder {folder}; start it {first}: millstream run {file}, or say by \
             --checkpoint where it runs"
        );
    }
    let shadow = request.shadow;
    let request = Request { pipeline: Some(name.clone()), ..request };
    let report = runtime()?.block_on(control::upgrade(&checkpoint, request))?;
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", as_text(&name, &report)),
    }
    match (shadow, &report.shadow) {
        (Some(asked), Some(shadowed)) if !asked.accepts(&shadowed.report) => {
            bail!(asked.rejection(&name, &shadowed.report))
        }
        _ => Ok(()),
    }
}

/// What an operator is told of it.
fn as_text(name: &str, report: &Report) -> String {
    let mut text: String = report.changes.iter().map(|change| format!("{change}\n")).collect();
    text.extend(report.migrated.iter().map(|table| format!("{table}\n")));
    if let Some(shadowed) = &report.shadow {
        text += &shadow::as_text(&shadowed.report);
        match shadowed {
            // That it is rejected is said as an error is.
            Shadowed { accepted: false, .. } => return text,
            Shadowed { promoted: false, .. } => return text + &format!("{name} goes on as it was\n"),
            _ => {}
        }
    }
    text += &match report.after {
        Some(after) => format!("{name} goes on with this after batch {after}\n"),
        None => format!("{name} goes on with this from its first batch on\n"),
    };
    if report.reassigned > 0 {
        text += &format!("{} batches that waited are run by it as well\n", report.reassigned);
    }
    text
}

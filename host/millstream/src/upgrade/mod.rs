//! `millstream upgrade` and `millstream rollback`: other code for a pipeline that runs.

mod adopted;
mod changes;
mod returning;
mod running;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::allowed::Allowed;
use crate::control;
use crate::host_file;
use crate::load::{Refused, runtime};
use crate::run::parse_override;
use crate::target::Target;

pub(crate) use adopted::{Adopted, Files};
pub(crate) use returning::Returned;
pub(crate) use running::{Loaded, Running, choose};
pub(crate) use watch::watch;

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
    /// What components may import that those before them did not: network, http, folders, environment
    #[arg(long, value_name = "WHAT", value_parser = ["network", "http", "folders", "environment"])]
    allow_import: Vec<String>,
    /// Take it back if it fails within so many batches, whatever the pipeline file says; 0: never
    #[arg(long, value_name = "BATCHES")]
    probation: Option<u32>,
    /// How often it may fail within them
    #[arg(long, value_name = "FAILURES")]
    max_failures: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a running pipeline is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Request {
    /// Components by plugin, as absolute paths.
    pub(crate) plugins: BTreeMap<String, PathBuf>,
    /// Another pipeline, as an absolute path.
    pub(crate) file: Option<PathBuf>,
    /// What a pipeline that a component carries may use, beside what was allowed before.
    pub(crate) allowed: Allowed,
    /// The ways outside that imports may be new for.
    pub(crate) allow_imports: Vec<String>,
    /// How it is tried out, where that is not as its pipeline file says.
    #[serde(default)]
    pub(crate) probation: Option<u32>,
    #[serde(default)]
    pub(crate) max_failures: Option<u64>,
    /// The version before is wanted, and nothing of the above.
    pub(crate) back: bool,
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
}

pub(crate) fn upgrade(options: &Options) -> Result<()> {
    if options.plugins.is_empty() && options.file.is_none() {
        let remedy = "say what is new: NAME=COMPONENT, such as text=./text.wasm, or --file FILE";
        return Err(Refused(remedy.to_owned()).into());
    }
    let found = |path: &Path| absolute(path).with_context(|| format!("finding {}", path.display()));
    let plugins = options.plugins.iter().map(|(name, path)| Ok((name.clone(), found(path)?)));
    let request = Request {
        plugins: plugins.collect::<Result<_>>()?,
        file: options.file.as_deref().map(found).transpose()?,
        allowed: options.allowed.clone(),
        allow_imports: options.allow_import.clone(),
        probation: options.probation,
        max_failures: options.max_failures,
        back: false,
    };
    ask(&options.target, request, options.json)
}

pub(crate) fn roll_back(target: &Target, json: bool) -> Result<()> {
    ask(target, Request { back: true, ..Request::default() }, json)
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
fn ask(target: &Target, request: Request, json: bool) -> Result<()> {
    let (name, checkpoint) = target.checkpoint()?;
    if host_file::running(&checkpoint)?.is_none() {
        bail!("{name} is not running; start it with what is new: millstream run {}", target.file().display());
    }
    let report = runtime()?.block_on(control::upgrade(&checkpoint, request))?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    report.changes.iter().for_each(|change| println!("{change}"));
    match report.after {
        Some(after) => println!("{name} goes on with this after batch {after}"),
        None => println!("{name} goes on with this from its first batch on"),
    }
    if report.reassigned > 0 {
        println!("{} batches that waited are run by it as well", report.reassigned);
    }
    Ok(())
}

//! What a component that carries its pipeline may make the host do.
//!
//! Nobody vouches for such a text, and the host's own connectors act with the operator's rights. So all that the text wants
//! from outside is listed, what it grants to its functions included, and the operator allows it by `--allow`. The text says
//! what goes to whom; it gets nothing beyond what is allowed.

use std::path::{Component, Path, PathBuf, absolute};
use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use millstream_model::pipeline::{GrantKind, Limit, Pipeline, Place, PluginSpec, SinkKind, SourceKind};
use millstream_pipeline::{Diagnostic, SELF};

use serde::{Deserialize, Serialize};

use crate::load::Refused;

/// What is allowed on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub(crate) struct Allowed {
    /// Allow the pipeline of a component to use something: network=ADDRESS, listen=ADDRESS, http=HOST, read=PATH, write=PATH,
    /// environment=NAME, or limits
    #[arg(long = "allow", value_name = "KIND=VALUE")]
    allow: Vec<Allowance>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Allowance {
    kind: Kind,
    value: String,
}

/// What can be wanted and allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// To connect to an address.
    Network,
    /// To accept connections at an address.
    Listen,
    /// To send HTTP requests to a host.
    Http,
    /// To read a file or a folder.
    Read,
    /// To write to one, and to read it.
    Write,
    /// To see a variable.
    Environment,
    /// To use more than pipelines do by default.
    Limits,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Network, Self::Listen, Self::Http, Self::Read, Self::Write, Self::Environment, Self::Limits];

    /// The word on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Listen => "listen",
            Self::Http => "http",
            Self::Read => "read",
            Self::Write => "write",
            Self::Environment => "environment",
            Self::Limits => "limits",
        }
    }
}

impl From<GrantKind> for Kind {
    fn from(kind: GrantKind) -> Self {
        match kind {
            GrantKind::Network => Self::Network,
            GrantKind::Http => Self::Http,
            GrantKind::Read => Self::Read,
            GrantKind::Write => Self::Write,
            GrantKind::Environment => Self::Environment,
        }
    }
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let names = Kind::ALL.map(Kind::name).join(", ");
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| format!("{name:?} is nothing to allow; those are {names}"))?;
        match (kind, value.is_empty()) {
            (Kind::Limits, false) => Err("limits are allowed by that word alone".to_owned()),
            (Kind::Limits, true) | (_, false) => Ok(Self { kind, value: value.to_owned() }),
            (_, true) => Err(format!("say what is allowed, as in {name}=VALUE")),
        }
    }
}

/// Something that a pipeline wants from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) kind: Kind,
    /// As it is allowed.
    pub(crate) value: String,
    /// Who wants it for what, such as `source "lines" connects to it`.
    pub(crate) what: String,
    place: Place,
}

impl Want {
    fn new(kind: Kind, value: impl Into<String>, what: String, place: Place) -> Self {
        Self { kind, value: value.into(), what, place }
    }

    fn path(kind: Kind, path: &Path, what: String, place: Place) -> Self {
        Self::new(kind, path.to_string_lossy(), what, place)
    }

    /// What allows it on the command line, as a shell reads it.
    pub(crate) fn flag(&self) -> String {
        let Self { kind, value, .. } = self;
        if *kind == Kind::Limits {
            return format!("--allow {}", kind.name());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:[]".contains(c);
        match value.chars().all(is_plain) {
            true => format!("--allow {}={value}", kind.name()),
            // Who copies it must not run what an author wrote.
            false => format!("--allow '{}={}'", kind.name(), value.replace('\'', "'\\''")),
        }
    }

    fn is_met(&self, allowance: &Allowance) -> bool {
        let of_kind = self.kind == allowance.kind;
        match (self.kind, allowance.kind) {
            (Kind::Limits, _) => of_kind,
            (Kind::Read, Kind::Read | Kind::Write) | (Kind::Write, Kind::Write) => {
                plain(Path::new(&self.value)).starts_with(plain(Path::new(&allowance.value)))
            }
            _ => of_kind && self.value == allowance.value,
        }
    }
}

/// All that a checked form wants, in the order of the text; the checkpoint folder among it if that is the text's own.
pub(crate) fn wants(pipeline: &Pipeline, owns_checkpoint: bool) -> Vec<Want> {
    let mut wants: Vec<Want> = Vec::new();
    let start = Place { line: 1, column: 1 };
    if let Some(folder) = pipeline.checkpoint.as_deref().filter(|_| owns_checkpoint) {
        wants.push(Want::path(Kind::Write, folder, "the checkpoint is there".to_owned(), start));
    }
    if let Some(file) = &pipeline.dead_letters {
        wants.push(Want::path(Kind::Write, file, "dead letters go there".to_owned(), start));
    }
    wants.extend(excess(pipeline, start));
    wants.extend(pipeline.plugins.iter().flat_map(of_plugin));
    wants.extend(of_connectors(pipeline));
    wants.sort_by_key(|want| want.place);
    wants
}

/// What the host's sources, tables and sinks want.
fn of_connectors(pipeline: &Pipeline) -> Vec<Want> {
    let sources = pipeline.sources.iter().filter_map(|source| {
        let what = |does: &str| format!("source \"{}\" {does}", source.name);
        match &source.kind {
            SourceKind::SocketConnect { address, .. } => {
                Some(Want::new(Kind::Network, &address.value, what("connects to it"), address.place))
            }
            SourceKind::SocketListen { address } => {
                Some(Want::new(Kind::Listen, &address.value, what("listens there"), address.place))
            }
            SourceKind::Files { path } => {
                Some(Want::path(Kind::Read, &above_glob(&path.value), what("reads it"), path.place))
            }
            SourceKind::Plugin(_) => None,
        }
    });
    let tables = pipeline.tables.iter().map(|table| {
        let what = format!("table \"{}\" is read from it", table.name);
        Want::path(Kind::Read, &table.path.value, what, table.path.place)
    });
    let sinks = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Files { path, .. } => {
            let what = format!("sink \"{}\" writes to it", sink.name);
            Some(Want::path(Kind::Write, &path.value, what, path.place))
        }
        SinkKind::Print { .. } | SinkKind::Plugin(_) => None,
    });
    sources.chain(tables).chain(sinks).collect()
}

/// What a plugin is granted, its file, and what it may use beyond what is usual.
fn of_plugin(plugin: &PluginSpec) -> Vec<Want> {
    let (name, place) = (&plugin.name, plugin.name.place);
    let granted = GrantKind::ALL.into_iter().flat_map(|kind| {
        let values = plugin.grant.values(kind).into_iter();
        values.map(move |value| Want::new(kind.into(), value, format!("plugin \"{name}\" may use it"), place))
    });
    let file = (name.value != SELF).then(|| {
        let component = &plugin.component;
        let what = format!("plugin \"{name}\" is read from it");
        Want::path(Kind::Read, &component.value, what, component.place)
    });
    let limits = (!is_within(&plugin.limit, &Limit::default())).then(|| {
        Want::new(Kind::Limits, "", format!("plugin \"{name}\" has a limit above the default"), place)
    });
    file.into_iter().chain(granted).chain(limits).collect()
}

fn is_within(limit: &Limit, most: &Limit) -> bool {
    limit.memory_bytes <= most.memory_bytes
        && limit.time <= most.time
        && limit.table_elements <= most.table_elements
        && limit.answer_bytes <= most.answer_bytes
        && limit.log_bytes <= most.log_bytes
        && limit.log_bytes_per_second <= most.log_bytes_per_second
        && limit.http_body_bytes <= most.http_body_bytes
        && limit.compile_memory_bytes <= most.compile_memory_bytes
        && limit.compile_time <= most.compile_time
}

/// What the pipeline itself may use beyond what is usual.
fn excess(pipeline: &Pipeline, place: Place) -> Option<Want> {
    let usual = millstream_pipeline::defaults();
    let sizes = [
        ("receive-memory", pipeline.receive_memory_bytes, usual.receive_memory_bytes),
        ("receive-disk", pipeline.receive_disk_bytes, usual.receive_disk_bytes),
        ("state-memory", pipeline.state_memory_bytes, usual.state_memory_bytes),
        ("table-memory", pipeline.table_memory_bytes, usual.table_memory_bytes),
        ("history", pipeline.history_bytes, usual.history_bytes),
    ];
    let above: Vec<_> = sizes.iter().filter(|(_, bytes, most)| bytes > most).map(|(key, ..)| *key).collect();
    let what = format!("{} above the default", above.join(", "));
    (!above.is_empty()).then(|| Want::new(Kind::Limits, "", what, place))
}

impl Allowed {
    /// What this and `more` allow.
    pub(crate) fn and(&self, more: &Self) -> Self {
        let new = more.allow.iter().filter(|allowance| !self.allow.contains(allowance));
        Self { allow: self.allow.iter().chain(new).cloned().collect() }
    }

    /// A report for each want that is not allowed, with what would allow it.
    pub(crate) fn check(&self, pipeline: &Pipeline, wants: &[Want]) -> Vec<Diagnostic> {
        let unmet = wants.iter().filter(|want| !self.allow.iter().any(|allowance| want.is_met(allowance)));
        let mut all: Vec<_> = unmet.map(refusal).collect();
        if all.is_empty() {
            all.extend(traps(pipeline));
        }
        all
    }

    /// Refuses to be given where nothing has to be allowed.
    pub(crate) fn refuse_any(&self) -> Result<()> {
        match self.allow.is_empty() {
            true => Ok(()),
            false => Err(Refused(
                "--allow is for components that carry their pipeline; a pipeline file says itself what it uses, \
                 and grants to plugins"
                    .to_owned(),
            )
            .into()),
        }
    }
}

fn refusal(want: &Want) -> Diagnostic {
    let Want { kind, value, what, place } = want;
    let wanted = match kind {
        Kind::Limits => "limits".to_owned(),
        _ => format!("{} {value:?}", kind.name()),
    };
    let message =
        format!("the pipeline wants {wanted} ({what}), which is not allowed; if it may, add {}", want.flag());
    Diagnostic { place: *place, message }
}

/// Folders that functions may write to, and that the host uses as well. A function could put a link there that leads the host
/// anywhere.
fn traps(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let of_host = of_connectors(pipeline);
    let paths = of_host.iter().filter(|want| matches!(want.kind, Kind::Read | Kind::Write));
    let mut used: Vec<(PathBuf, &str)> =
        paths.map(|want| (plain(Path::new(&want.value)), want.what.as_str())).collect();
    let folders = pipeline.checkpoint.iter().map(|folder| (plain(folder), "the checkpoint is there"));
    let letters = pipeline.dead_letters.iter().map(|file| (plain(file), "dead letters go there"));
    used.extend(folders.chain(letters));
    let written =
        pipeline.plugins.iter().flat_map(|plugin| plugin.grant.write.iter().map(move |at| (plugin, at)));
    let report = |(plugin, folder): (&PluginSpec, &PathBuf)| {
        let at = plain(folder);
        let (_, what) = used.iter().find(|(path, _)| path.starts_with(&at) || at.starts_with(path))?;
        let name = &plugin.name;
        let message = format!(
            "plugin \"{name}\" may write to {folder:?}, and {what}: the host would follow links that it puts there; \
             keep the two apart"
        );
        Some(Diagnostic { place: name.place, message })
    };
    written.filter_map(report).collect()
}

/// The folders of a glob that are no pattern.
fn above_glob(path: &Path) -> PathBuf {
    let is_pattern = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    path.components().take_while(|part| !is_pattern(part)).collect()
}

/// The path from the root on, without ways back.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests;

//! The form of a pipeline file: what the text alone can tell.
//!
//! The TOML is walked by hand and not through serde, which stops at the first error. What cannot be read is reported
//! and left out; the rest of the [`Draft`] is as good as the file. Where the TOML itself is broken, no line that it
//! is broken in is reported twice, and nothing is called missing: it may stand in what could not be read.

mod case;
mod item;
mod operation;
mod plugin;
mod section;
mod settings;
mod sink;
mod source;
mod stream;
mod table;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millstream_model::pipeline::{Located, Pipeline, Place};
use toml::de::DeTable;

use crate::Text;
use crate::diagnostic::Diagnostic;
use crate::place::Lines;
use section::Section;

pub(crate) use case::{CaseDraft, GivenDraft, RowDraft};
pub use settings::{PROBATION_MAX, defaults};

/// A larger file is refused unread.
const FILE_BYTES_MAX: usize = 1 << 20;
/// More definitions of one kind are refused.
const DEFINITIONS_MAX: usize = 1_000;

/// A pipeline file as far as it could be read.
pub(crate) struct Draft {
    /// Without the definitions that could not be read.
    pub(crate) pipeline: Pipeline,
    /// The pipeline's tests, with the places of their rows.
    pub(crate) cases: Vec<CaseDraft>,
    /// Sources, tables and streams that are defined, and wrongly: whatever uses them cannot be judged.
    pub(crate) broken: BTreeSet<String>,
    /// The same of plugins.
    pub(crate) broken_plugins: BTreeSet<String>,
    /// Names that wrong definitions take their input from, and how messages call each definition.
    pub(crate) loose_ends: Vec<(String, Located<String>)>,
    /// Whether the TOML is whole, so that what is not there is missing.
    pub(crate) complete: bool,
    /// What is wrong with the form.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// What every reader of the form needs.
struct Form<'f> {
    lines: &'f Lines<'f>,
    folder: &'f Path,
    /// The component that carries the text, if one does.
    carrier: Option<&'f Path>,
    complete: bool,
    diagnostics: RefCell<Vec<Diagnostic>>,
    loose_ends: RefCell<Vec<(String, Located<String>)>>,
}

impl Form<'_> {
    fn report(&self, place: Place, message: impl Into<String>) {
        self.diagnostics.borrow_mut().push(Diagnostic::new(place, message));
    }

    fn report_missing(&self, place: Place, message: impl Into<String>) {
        if self.complete {
            self.report(place, message);
        }
    }
}

/// Reads a text, whose lines are these.
pub(crate) fn read(text: &Text<'_>, lines: &Lines<'_>) -> Draft {
    if lines.text.len() > FILE_BYTES_MAX {
        let size = lines.text.len();
        let message = format!("a pipeline file has at most {FILE_BYTES_MAX} bytes, and this one {size}");
        let mut draft = Draft::empty();
        draft.diagnostics.push(Diagnostic::new(lines.place(0), message));
        return draft;
    }
    let (table, errors) = DeTable::parse_recoverable(lines.text);
    let syntax: Vec<_> = errors.iter().map(|error| syntax_error(lines, error)).collect();
    let form = Form {
        lines,
        folder: text.file.parent().unwrap_or(Path::new("")),
        carrier: text.is_carried.then_some(text.file),
        complete: syntax.is_empty(),
        diagnostics: RefCell::default(),
        loose_ends: RefCell::default(),
    };
    let mut draft = root(&form, table.get_ref(), text.checkpoint);
    draft.complete = form.complete;
    draft.loose_ends = form.loose_ends.into_inner();
    draft.diagnostics = form.diagnostics.into_inner();
    let broken_lines: BTreeSet<_> = syntax.iter().map(|error| error.place.line).collect();
    draft.diagnostics.retain(|diagnostic| !broken_lines.contains(&diagnostic.place.line));
    draft.diagnostics.extend(syntax);
    draft
}

fn syntax_error(lines: &Lines<'_>, error: &toml::de::Error) -> Diagnostic {
    let offset = error.span().map_or(lines.text.len(), |span| span.start);
    let message = error.message().trim().replace('\n', ", ");
    Diagnostic::new(lines.place(offset), format!("this is not TOML: {message}"))
}

fn root<'f>(form: &'f Form<'f>, table: &'f DeTable<'f>, checkpoint: Option<&Path>) -> Draft {
    let mut draft = Draft::empty();
    let place = Place { line: 1, column: 1 };
    let mut root = Section::new(form, "the pipeline".to_owned(), place, item::entries(form, table));
    settings::read(&mut root, &mut draft.pipeline);
    if let Some(folder) = checkpoint {
        draft.pipeline.checkpoint = Some(folder.to_owned());
    }
    let interval = draft.pipeline.batch_interval;
    let durable = draft.pipeline.checkpoint.is_some();
    let read_stream = |name, section| stream::read(form, name, section, interval);
    let read_source = |name, section| source::read(name, section, durable);
    let (mut plugins, plugin_names) = definitions(form, &mut root, "plugins", "plugin", plugin::read);
    plugins.extend(plugin::carrier(form, &plugin_names.all));
    let (sources, source_names) = definitions(form, &mut root, "sources", "source", read_source);
    let (tables, table_names) = definitions(form, &mut root, "tables", "table", table::read);
    let (streams, stream_names) = definitions(form, &mut root, "streams", "stream", read_stream);
    let (sinks, sink_names) = definitions(form, &mut root, "sinks", "sink", sink::read);
    let cases = root.optional("tests").map(case::read).unwrap_or_default();
    root.finish();

    sink::refuse_shared_paths(form, &sinks);
    if source_names.all.is_empty() {
        form.report_missing(place, "the pipeline has no source; add a table [sources.NAME]");
    }
    if sink_names.all.is_empty() && cases.is_empty() {
        form.report_missing(place, "the pipeline has no sink; add a table [sinks.NAME]");
    }
    let relations = [source_names, table_names, stream_names];
    draft.broken = relations.iter().flat_map(|names| names.broken.iter().cloned()).collect();
    draft.broken.extend(refuse_duplicates(form, relations.into_iter().flat_map(|names| names.all)));
    draft.broken_plugins = plugin_names.broken.into_iter().collect();
    draft.pipeline.tests = cases.iter().map(|case| case.spec.clone()).collect();
    draft.cases = cases;
    draft.pipeline = Pipeline { plugins, sources, tables, streams, sinks, ..draft.pipeline };
    draft
}

/// The names that the tables of one kind define.
#[derive(Default)]
struct Names {
    all: Vec<Located<String>>,
    /// Those whose tables could not be read.
    broken: Vec<String>,
}

/// Reads the tables under `key`, each of them a `kind` with a name.
fn definitions<'f, T>(
    form: &'f Form<'f>,
    root: &mut Section<'f>,
    key: &'static str,
    kind: &str,
    read: impl Fn(Located<String>, Section<'f>) -> Option<T>,
) -> (Vec<T>, Names) {
    let (mut defined, mut names) = (Vec::new(), Names::default());
    let expected = format!("tables of the form [{key}.NAME]");
    let entries = root.optional(key).and_then(|item| item.entries(&expected)).unwrap_or_default();
    if let Some((name, _)) = entries.get(DEFINITIONS_MAX) {
        form.report(name.place, format!("a pipeline has at most {DEFINITIONS_MAX} {key}"));
    }
    for (name, item) in entries.into_iter().take(DEFINITIONS_MAX) {
        let what = format!("{kind} \"{}\"", name.value);
        let name = Located { value: name.value.to_owned(), place: name.place };
        refuse_odd_name(form, &what, &name);
        names.all.push(name.clone());
        match item.section(what, name.place).and_then(|section| read(name.clone(), section)) {
            Some(definition) => defined.push(definition),
            None => names.broken.push(name.value),
        }
    }
    (defined, names)
}

fn refuse_odd_name(form: &Form<'_>, what: &str, name: &Located<String>) {
    const NAME_CHARS_MAX: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.value.is_empty() || name.value.len() > NAME_CHARS_MAX || !name.value.chars().all(plain) {
        let rule = "names are up to 64 letters, digits, \"-\" and \"_\"";
        form.report(name.place, format!("{what} cannot have that name; {rule}"));
    }
}

/// Reports names that are taken already, and gives them.
fn refuse_duplicates(form: &Form<'_>, names: impl Iterator<Item = Located<String>>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|name| name.place);
    let mut first: BTreeMap<String, Place> = BTreeMap::new();
    let mut taken = Vec::new();
    for name in names {
        let Some(place) = first.get(&name.value) else {
            first.insert(name.value, name.place);
            continue;
        };
        let reason = "sources, tables and streams share their names";
        let message = format!("the name \"{name}\" is taken at line {}; {reason}", place.line);
        form.report(name.place, message);
        taken.push(name.value);
    }
    taken
}

impl Draft {
    fn empty() -> Self {
        Self {
            pipeline: settings::defaults(),
            cases: Vec::new(),
            broken: BTreeSet::new(),
            broken_plugins: BTreeSet::new(),
            loose_ends: Vec::new(),
            complete: true,
            diagnostics: Vec::new(),
        }
    }
}

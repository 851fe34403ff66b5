//! `[sinks.NAME]`

use std::collections::BTreeMap;

use millstream_model::FunctionKind;
use millstream_model::pipeline::{CallSpec, FileFormat, Located, SinkKind, SinkSpec};

use super::Form;
use super::item::Item;
use super::operation;
use super::section::Section;

#[derive(Clone, Copy)]
enum KindName {
    Print,
    Files,
    Plugin,
}

const PRINT_ROWS: usize = 10;

pub(super) fn read(name: Located<String>, mut section: Section<'_>) -> Option<SinkSpec> {
    let from = section.required("from", "name the stream or source that it takes, as in from = \"totals\"");
    let from = from.and_then(|item| item.string("the name of one stream or source"));
    let kind = match kind_name(&mut section) {
        Some(KindName::Print) => Some(print(&mut section)),
        Some(KindName::Files) => files(&mut section),
        Some(KindName::Plugin) => plugin(&mut section),
        None => {
            section.allow(&["rows", "path", "format", "columns"]);
            None
        }
    };
    if let (None, Some(from)) = (&kind, &from) {
        section.form().loose_ends.borrow_mut().push((section.what.clone(), from.clone()));
    }
    section.finish();
    Some(SinkSpec { name, from: from?, kind: kind? })
}

fn kind_name(section: &mut Section<'_>) -> Option<KindName> {
    if section.optional("plugin").is_some() {
        section.refuse("type", "it is a function of a plugin; keep either plugin or type");
        return Some(KindName::Plugin);
    }
    let remedy =
        "write type = \"print\" or type = \"files\", or name a sink, as in plugin = \"plugin.function\"";
    let kinds = [("print", KindName::Print), ("files", KindName::Files)];
    let kind = section.required("type", remedy)?.choice("type of sink", &kinds)?;
    section.refuse("columns", "it writes all columns; select some in sql");
    Some(kind)
}

fn plugin(section: &mut Section<'_>) -> Option<SinkKind> {
    for key in ["path", "format"] {
        section.refuse(key, "the sink knows where and how; tell it in the plugin's config");
    }
    section.refuse("rows", "it takes all rows; a sink that shows the first ones has type = \"print\"");
    let columns = section.optional("columns").map(|item| item.strings("a list of the stream's columns"));
    let columns = columns.map_or(Some(None), |columns| columns.map(Some))?;
    let call = operation::outside(section.optional("plugin")?, FunctionKind::Sink)?;
    Some(SinkKind::Plugin(CallSpec { columns, ..call }))
}

fn print(section: &mut Section<'_>) -> SinkKind {
    for key in ["path", "format"] {
        section.refuse(key, "it prints; a sink that writes files has type = \"files\"");
    }
    let rows = section.optional("rows").and_then(Item::quantity);
    SinkKind::Print { rows: rows.unwrap_or(PRINT_ROWS) }
}

fn files(section: &mut Section<'_>) -> Option<SinkKind> {
    section.refuse("rows", "it writes all rows; a sink that shows the first ones has type = \"print\"");
    let formats = [
        ("text", FileFormat::Text),
        ("json", FileFormat::Json),
        ("csv", FileFormat::Csv),
        ("parquet", FileFormat::Parquet),
    ];
    let format = match section.optional("format") {
        Some(item) => item.choice("format", &formats),
        None => Some(FileFormat::Json),
    };
    let path = section.required("path", "name a folder, as in path = \"out\"").and_then(Item::path);
    Some(SinkKind::Files { path: path?, format: format? })
}

/// Two sinks in one folder would replace each other's batches.
pub(super) fn refuse_shared_paths(form: &Form<'_>, sinks: &[SinkSpec]) {
    let mut first = BTreeMap::new();
    for sink in sinks {
        let SinkKind::Files { path, .. } = &sink.kind else {
            continue;
        };
        let whole: std::path::PathBuf = path.value.components().collect();
        if let Some(other) = first.get(&whole) {
            let message = format!(
                "sink \"{}\" writes to the folder of sink \"{other}\"; give each a folder of its own",
                sink.name
            );
            form.report(path.place, message);
        }
        first.entry(whole).or_insert(&sink.name.value);
    }
}

//! `[sinks.NAME]`

use std::collections::BTreeMap;

use millstream_model::pipeline::{FileFormat, Located, SinkKind, SinkSpec};

use super::Form;
use super::item::Item;
use super::section::Section;

#[derive(Clone, Copy)]
enum KindName {
    Print,
    Files,
}

const PRINT_ROWS: usize = 10;

pub(super) fn read(name: Located<String>, mut section: Section<'_>) -> Option<SinkSpec> {
    let from = section.required("from", "name the stream or source that it takes, as in from = \"totals\"");
    let from = from.and_then(|item| item.string("the name of one stream or source"));
    let kind_item = section.required("type", "write type = \"print\" or type = \"files\"");
    let kinds = [("print", KindName::Print), ("files", KindName::Files)];
    let kind = match kind_item.and_then(|item| item.choice("type of sink", &kinds)) {
        Some(KindName::Print) => Some(print(&mut section)),
        Some(KindName::Files) => files(&mut section),
        None => {
            section.allow(&["rows", "path", "format"]);
            None
        }
    };
    if let (None, Some(from)) = (&kind, &from) {
        section.form().loose_ends.borrow_mut().push((section.what.clone(), from.clone()));
    }
    section.finish();
    Some(SinkSpec { name, from: from?, kind: kind? })
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

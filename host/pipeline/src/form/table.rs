//! `[tables.NAME]`

use std::path::{Path, PathBuf};

use millstream_model::Schema;
use millstream_model::pipeline::{Located, TableFormat, TableSpec};

use super::item::Item;
use super::section::Section;
use super::source::{refuse_unreadable_csv, schema_of};

#[derive(Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Csv,
    Json,
    Parquet,
}

const FORMATS: &[(&str, FormatName)] =
    &[("csv", FormatName::Csv), ("json", FormatName::Json), ("parquet", FormatName::Parquet)];
/// Endings of paths that say a format beside those that are its name.
const ENDINGS: &[(&str, FormatName)] = &[("jsonl", FormatName::Json), ("ndjson", FormatName::Json)];
const FORMAT_REMEDY: &str = "write format = \"csv\", \"json\" or \"parquet\"";

/// Reads a table of a pipeline.
pub(super) fn read(name: Located<String>, mut section: Section<'_>) -> Option<TableSpec> {
    let path = section.required("path", "name its file, as in path = \"customers.csv\"").and_then(Item::path);
    let format_name = match section.optional("format") {
        Some(item) => item.choice("table format", FORMATS),
        None => path.as_ref().and_then(|path| by_ending(&section, path)),
    };
    let header = header(&mut section, format_name);
    let is_headless = format_name == Some(FormatName::Csv) && header == Some(false);
    let schema = match section.optional("schema") {
        Some(item) => table_schema(item, format_name).map(Some),
        None if is_headless => {
            let remedy = "name its columns, as in schema = { id = \"int64\", name = \"utf8\" }";
            let message = format!("{} has neither a header nor a \"schema\"; {remedy}", section.what);
            section.form().report(section.place, message);
            None
        }
        None => Some(None),
    };
    let refresh = section.optional("refresh").map(Item::duration);
    section.finish();
    let format = match format_name? {
        FormatName::Csv => TableFormat::Csv { header: header? },
        FormatName::Json => TableFormat::Json,
        FormatName::Parquet => TableFormat::Parquet,
    };
    let refresh = refresh.map_or(Some(None), |refresh| refresh.map(Some))?;
    Some(TableSpec { name, path: path?, format, schema: schema?, refresh })
}

fn table_schema(item: Item<'_>, format: Option<FormatName>) -> Option<Schema> {
    let schema = schema_of(item)?;
    if format == Some(FormatName::Csv) {
        refuse_unreadable_csv(item, &schema)?;
    }
    Some(schema)
}

/// Whether a table's file begins with a header; nothing where that is said wrongly.
fn header(section: &mut Section<'_>, format: Option<FormatName>) -> Option<bool> {
    match format {
        Some(FormatName::Csv) | None => section.optional("header").map_or(Some(true), Item::boolean),
        Some(_) => {
            section.refuse("header", "only csv has one");
            Some(false)
        }
    }
}

/// The format that a path's ending says; one that stands for a compression says nothing.
fn by_ending(section: &Section<'_>, path: &Located<PathBuf>) -> Option<FormatName> {
    let compressed = ["gz", "zst"].iter().any(|ending| path.value.extension().is_some_and(|e| e == *ending));
    let stem = path.value.with_extension("");
    let named: &Path = if compressed { &stem } else { &path.value };
    let ending = named.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    let found = FORMATS.iter().chain(ENDINGS).find(|(name, _)| *name == ending);
    if found.is_none() {
        let message = format!("the path's ending says no format of {}; {FORMAT_REMEDY}", section.what);
        section.form().report(path.place, message);
    }
    found.map(|(_, format)| *format)
}

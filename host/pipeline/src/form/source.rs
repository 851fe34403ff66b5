//! `[sources.NAME]`

use std::time::Duration;

use millstream_model::pipeline::{Format, Located, SourceKind, SourceSpec, Storage};
use millstream_model::{DataType, Field, FunctionKind, Schema};

use super::item::Item;
use super::operation;
use super::section::Section;
use crate::nearest;

#[derive(Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Lines,
    Json,
    Csv,
    Parquet,
    Records,
}

const FORMATS: &[(&str, FormatName)] = &[
    ("lines", FormatName::Lines),
    ("json", FormatName::Json),
    ("csv", FormatName::Csv),
    ("parquet", FormatName::Parquet),
    ("records", FormatName::Records),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum KindName {
    Socket,
    Files,
    Plugin,
}

/// Bytes of a record.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// The most receivers of one source.
const PARALLELISM_MAX: u64 = 256;

/// Reads a source of a pipeline; `durable` if that has a checkpoint folder.
pub(super) fn read(name: Located<String>, mut section: Section<'_>, durable: bool) -> Option<SourceSpec> {
    let kind_name = kind_name(&mut section);
    let kind = match kind_name {
        Some(KindName::Socket) => socket(&mut section, durable),
        Some(KindName::Files) => files(&mut section),
        Some(KindName::Plugin) => plugin(&mut section),
        None => {
            section.allow(&["address", "listen", "path", "resume", "parallelism", "storage"]);
            None
        }
    };
    let format = match kind_name {
        Some(KindName::Plugin) => Some(Format::Rows(Schema::default())),
        _ => format(&mut section, kind_name),
    };
    let max_rate = section.optional("max-rate").and_then(Item::count);
    let parallelism = section.optional("parallelism").and_then(parallelism);
    let storage = section.optional("storage").filter(|_| kind_name != Some(KindName::Files));
    let storage = storage.and_then(|item| storage_level(item, durable));
    let timestamp = section.optional("timestamp");
    let timestamp = timestamp.map(|item| item.string("the name of a column of the type timestamp"));
    if timestamp.is_none() {
        section
            .refuse("watermark-delay", "it needs event times; name their column, as in timestamp = \"at\"");
    }
    let watermark_delay = section.optional("watermark-delay").map(Item::delay);
    section.finish();
    Some(SourceSpec {
        name,
        kind: kind?,
        format: format?,
        max_rate,
        parallelism: parallelism.unwrap_or(1),
        storage: storage.unwrap_or_default(),
        timestamp: timestamp.map_or(Some(None), |timestamp| timestamp.map(Some))?,
        watermark_delay: watermark_delay.map_or(Some(Duration::ZERO), |delay| delay)?,
    })
}

fn kind_name(section: &mut Section<'_>) -> Option<KindName> {
    if section.optional("plugin").is_some() {
        section.refuse("type", "it is a function of a plugin; keep either plugin or type");
        return Some(KindName::Plugin);
    }
    let remedy =
        "write type = \"socket\" or type = \"files\", or name a receiver, as in plugin = \"plugin.function\"";
    let kinds = [("socket", KindName::Socket), ("files", KindName::Files)];
    section.required("type", remedy)?.choice("type of source", &kinds)
}

fn parallelism(item: Item<'_>) -> Option<u32> {
    let count = item.count()?;
    let fits = u32::try_from(count).ok().filter(|_| count <= PARALLELISM_MAX);
    if fits.is_none() {
        item.report(format!("a source has at most {PARALLELISM_MAX} receivers, and not {count}"));
    }
    fits
}

fn storage_level(item: Item<'_>, durable: bool) -> Option<Storage> {
    let levels =
        [("memory", Storage::Memory), ("memory-and-disk", Storage::MemoryAndDisk), ("disk", Storage::Disk)];
    let storage = item.choice("storage", &levels)?;
    if storage != Storage::Memory && !durable {
        item.report(
            "records are kept on disk in the checkpoint folder; name one, as in checkpoint = \"checkpoint\"",
        );
        return None;
    }
    Some(storage)
}

fn socket(section: &mut Section<'_>, durable: bool) -> Option<SourceKind> {
    section.refuse("path", "a source that reads a path has type = \"files\"");
    let listen = section.optional("listen");
    if let Some(listen) = listen {
        let reason = "it listens already; keep either address, to connect, or listen, to accept connections";
        section.refuse("address", reason);
        section.refuse("resume", "clients that connect here do not resume; connect to a server with address");
        section.refuse("parallelism", "any number of clients connect at once");
        return listen.address(true).map(|address| SourceKind::SocketListen { address });
    }
    let remedy = "write address = \"host:port\" to connect, or listen = \"host:port\" to accept connections";
    let address = section.required("address", remedy)?.address(false)?;
    let resume = section.optional("resume");
    let resumes = resume.and_then(Item::boolean).unwrap_or(false);
    if let (true, false, Some(item)) = (resumes, durable, resume) {
        item.report(
            "nothing can be resumed without a checkpoint folder; name one, as in checkpoint = \"checkpoint\"",
        );
    }
    if resumes {
        section.refuse("parallelism", "a server that resumes has one connection");
    }
    Some(SourceKind::SocketConnect { address, resume: resumes })
}

fn files(section: &mut Section<'_>) -> Option<SourceKind> {
    section.refuse("resume", "a source of files always resumes");
    section.refuse("parallelism", "files are read one after the other");
    section.refuse("storage", "files stay where they are, and are read again when they must be");
    for key in ["address", "listen"] {
        section.refuse(key, "a source that reads from the network has type = \"socket\"");
    }
    let path =
        section.required("path", "name a folder, a file or a glob, as in path = \"in/*.json\"")?.path()?;
    Some(SourceKind::Files { path })
}

fn plugin(section: &mut Section<'_>) -> Option<SourceKind> {
    for key in ["format", "schema", "header", "record-length"] {
        section.refuse(key, "the receiver gives rows, in the columns that it describes");
    }
    for key in ["address", "listen", "path"] {
        section.refuse(key, "the receiver knows where; tell it in the plugin's config");
    }
    section.refuse("resume", "a receiver that gives positions always resumes");
    section.refuse("parallelism", "a receiver runs once; add a source for each");
    operation::outside(section.optional("plugin")?, FunctionKind::Receiver).map(SourceKind::Plugin)
}

/// The format that the section names, with the keys that it takes.
fn format(section: &mut Section<'_>, kind: Option<KindName>) -> Option<Format> {
    let item = section.optional("format");
    let name = match item {
        Some(item) => item.choice("format", FORMATS),
        None => Some(FormatName::Lines),
    };
    let of_files = match name {
        Some(FormatName::Parquet) => Some("parquet is"),
        Some(FormatName::Records) => Some("records of one length are"),
        _ => None,
    };
    if let (Some(what), Some(KindName::Socket), Some(item)) = (of_files, kind, item) {
        item.report(format!("{what} read from files and not from a socket; use lines, json or csv"));
    }
    named_format(section, name)
}

/// The format of that name, with the keys that it takes.
fn named_format(section: &mut Section<'_>, name: Option<FormatName>) -> Option<Format> {
    let header = match name {
        Some(FormatName::Csv) | None => section.optional("header").and_then(Item::boolean).unwrap_or(false),
        Some(_) => {
            section.refuse("header", "only csv has one");
            false
        }
    };
    let length = record_length(section, name);
    let schema = match name? {
        FormatName::Records => {
            section.refuse("schema", "records have one column, \"value\"");
            return length.map(|length| Format::Records { length });
        }
        FormatName::Lines => {
            section.refuse("schema", "lines have one column, \"value\"; use json or csv for others");
            return Some(Format::Lines);
        }
        _ => section
            .required("schema", "name its columns, as in schema = { user = \"utf8\", amount = \"float64\" }"),
    };
    let schema_item = schema;
    let schema = schema_item.and_then(schema_of)?;
    if let (Some(FormatName::Csv), Some(item)) = (name, schema_item) {
        refuse_unreadable_csv(item, &schema)?;
    }
    Some(match name? {
        FormatName::Csv => Format::Csv { schema, header },
        FormatName::Parquet => Format::Parquet(schema),
        FormatName::Json | FormatName::Lines | FormatName::Records => Format::Json(schema),
    })
}

/// The bytes of a record, where all have as many.
fn record_length(section: &mut Section<'_>, name: Option<FormatName>) -> Option<usize> {
    if name.is_some_and(|name| name != FormatName::Records) {
        section.refuse("record-length", "only records of one length have it: format = \"records\"");
        return None;
    }
    let remedy = "say how many bytes a record has, as in record-length = 100";
    let item = match name {
        Some(_) => section.required("record-length", remedy)?,
        None => section.optional("record-length")?,
    };
    let length = item.quantity()?;
    if length > RECORD_BYTES_MAX {
        item.report(format!("a record has at most {RECORD_BYTES_MAX} bytes, and not {length}"));
        return None;
    }
    Some(length)
}

/// CSV has no form for lists and bytes.
pub(super) fn refuse_unreadable_csv(item: Item<'_>, schema: &Schema) -> Option<()> {
    let unreadable = |field: &&Field| matches!(field.data_type, DataType::List(_) | DataType::Binary);
    let Some(field) = schema.fields.iter().find(unreadable) else { return Some(()) };
    let (name, data_type) = (&field.name, &field.data_type);
    item.report(format!("the column \"{name}\" is {data_type}, which csv cannot hold; use json or parquet"));
    None
}

/// Columns and their types. Outside data may lack any value, so all are nullable.
pub(super) fn schema_of(item: Item<'_>) -> Option<Schema> {
    let entries = item.entries("a table of columns and their types, such as { user = \"utf8\" }")?;
    if entries.is_empty() {
        item.report("\"schema\" names no column");
        return None;
    }
    let field = |(name, item): (Located<&str>, Item<'_>)| {
        let data_type = data_type(item)?;
        Some(Field { name: name.value.to_owned(), data_type, nullable: true })
    };
    let fields: Vec<_> = entries.into_iter().map(field).collect();
    fields.into_iter().collect::<Option<Vec<_>>>().map(Schema::new)
}

fn data_type(item: Item<'_>) -> Option<DataType> {
    /// Bounds how deep lists of lists can be.
    const TYPE_CHARS_MAX: usize = 64;
    const NAMES: &[&str] = &["boolean", "int64", "float64", "timestamp", "utf8", "binary"];
    let text = item.string("a type such as \"utf8\" or \"int64\"")?.value;
    if text.len() > TYPE_CHARS_MAX {
        item.report(format!("a type has at most {TYPE_CHARS_MAX} characters"));
        return None;
    }
    match text.parse() {
        Ok(data_type) => Some(data_type),
        Err(error) => {
            let meant = match text.as_str() {
                "string" | "str" | "text" | "varchar" => Some("utf8"),
                "int" | "integer" | "long" | "bigint" => Some("int64"),
                "double" | "real" | "number" => Some("float64"),
                "bytes" => Some("binary"),
                "date" | "datetime" | "time" => Some("timestamp"),
                other => nearest::nearest(other, NAMES.iter().copied()),
            };
            let hint = meant.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
            item.report(format!("{error}{hint}"));
            None
        }
    }
}

//! How a table's columns stand in its file: in a CSV file as its header says, else as the schema does.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::RecordBatch;
use millstream_model::pipeline::{Format, TableFormat};
use millstream_model::{DataType, Field, Payload, Schema};

use super::open;
use crate::files::read::{Request, read};

/// A file with more columns is refused.
pub(super) const COLUMNS_MAX: usize = 1_000;

/// How a file is read, and which of its columns are the table's.
pub(super) struct Layout {
    pub(super) format: Format,
    /// The first record that is a row.
    pub(super) first_record: u64,
    /// The table's columns among those that are read; all of them, where nothing is said.
    picked: Option<Vec<usize>>,
}

impl Layout {
    /// That of the file at `path` for a table with the columns `schema`.
    pub(super) fn new(path: &Path, format: TableFormat, schema: &Schema) -> Result<Self, String> {
        let as_it_is = |format| Ok(Self { format, first_record: 0, picked: None });
        match format {
            TableFormat::Json => as_it_is(Format::Json(schema.clone())),
            TableFormat::Parquet => as_it_is(Format::Parquet(schema.clone())),
            TableFormat::Csv { header: false } => {
                as_it_is(Format::Csv { schema: schema.clone(), header: false })
            }
            TableFormat::Csv { header: true } => Self::by_header(&names(path)?, schema),
        }
    }

    fn by_header(names: &[String], schema: &Schema) -> Result<Self, String> {
        let number = |field: &Field| {
            names.iter().position(|name| *name == field.name).ok_or_else(|| {
                let found = names.join(", ");
                format!(
                    "line 1: the header names no column \"{}\", which \"schema\" names; it is {found}",
                    field.name
                )
            })
        };
        let picked: Vec<usize> = schema.fields.iter().map(number).collect::<Result<_, _>>()?;
        let field = |(at, name): (usize, &String)| match picked.iter().position(|picked| *picked == at) {
            Some(own) => schema.fields[own].clone(),
            None => text(name),
        };
        let whole = Schema::new(names.iter().enumerate().map(field));
        let format = Format::Csv { schema: whole, header: false };
        Ok(Self { format, first_record: 1, picked: Some(picked) })
    }

    /// The table's columns.
    pub(super) fn pick(&self, rows: RecordBatch) -> RecordBatch {
        match &self.picked {
            Some(picked) => rows.project(picked).expect("the layout is that of the file"),
            None => rows,
        }
    }
}

/// A column of text.
pub(super) fn text(name: &str) -> Field {
    Field { nullable: true, ..Field::new(name, DataType::Utf8) }
}

/// The names in the header of a CSV file: the fields of its first line, each once.
pub(super) fn names(path: &Path) -> Result<Vec<String>, String> {
    let request = Request { format: Format::Lines, rows_max: 1, records: 0..1 };
    let mut first = None;
    let reading = read(open(path)?, &request, &mut |block| {
        first = Some(block.payload);
        true
    });
    let line = match first {
        Some(Payload::Lines(bytes)) => bytes,
        Some(Payload::Rejected(rejected)) => return Err(format!("line 1: {}", rejected.error)),
        _ => {
            let reason = reading.fault.map_or_else(|| "the file is empty".to_owned(), |fault| fault.reason);
            return Err(format!("{reason}; its first line has to name the columns, or write header = false"));
        }
    };
    let line = std::str::from_utf8(&line).map_err(|_| "line 1: the header is not UTF-8".to_owned())?;
    let names = fields(line.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']));
    let mut known = BTreeSet::new();
    match names.iter().find(|name| name.is_empty() || !known.insert(name.as_str())) {
        _ if names.len() > COLUMNS_MAX => Err(format!(
            "line 1: the header names {} columns; a table has at most {COLUMNS_MAX}",
            names.len()
        )),
        Some(name) if name.is_empty() => {
            Err("line 1: the header has a column without a name; name it, or write header = false".to_owned())
        }
        Some(name) => Err(format!("line 1: the header names the column \"{name}\" twice; rename one")),
        None => Ok(names),
    }
}

/// The fields of a line, of which some may be in quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            other => field.push(other),
        }
    }
    fields.push(field.trim().to_owned());
    fields
}

//! The columns of a file whose table does not name them.
//!
//! The whole file is looked at, and not its beginning: a table that was found to fit is one that can be read.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::AsArray;
use millstream_model::pipeline::{Format, TableFormat};
use millstream_model::{Block, DataType, Field, Payload, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::header::{COLUMNS_MAX, names, text};
use super::seen::{Seen, in_json, in_text};
use super::{decoded, each_block, open};
use crate::decode::decoder;

const REMEDY: &str = "name the columns that are wanted, and their types, in \"schema\"";

/// Finds the columns of a file. All may hold nulls.
pub(super) fn find(path: &Path, format: TableFormat) -> Result<Schema, String> {
    match format {
        TableFormat::Csv { .. } => in_csv(path),
        TableFormat::Json => in_objects(path),
        TableFormat::Parquet => in_parquet(path),
    }
}

fn in_csv(path: &Path) -> Result<Schema, String> {
    let names = names(path)?;
    let texts = Schema::new(names.iter().map(|name| text(name)));
    let format = Format::Csv { schema: texts, header: false };
    let decoder = decoder("", &format);
    let mut seen = vec![Seen::Nothing; names.len()];
    each_block(open(path)?, format, 1, &mut |block| {
        let rows = decoded(&*decoder, &block)?;
        for (seen, column) in seen.iter_mut().zip(rows.columns()) {
            for value in column.as_string_view().iter().flatten() {
                let both = std::mem::take(seen).and(in_text(value));
                *seen = both.unwrap_or(Seen::One(DataType::Utf8));
            }
        }
        Ok(())
    })?;
    Ok(schema(names.into_iter().zip(seen)))
}

fn in_objects(path: &Path) -> Result<Schema, String> {
    let mut columns: BTreeMap<String, Seen> = BTreeMap::new();
    each_block(open(path)?, Format::Lines, 0, &mut |block| look_at_objects(&block, &mut columns))?;
    if columns.is_empty() {
        return Err(format!("no object in it has a key; {REMEDY}"));
    }
    Ok(schema(columns))
}

fn look_at_objects(block: &Block, columns: &mut BTreeMap<String, Seen>) -> Result<(), String> {
    let at = |line: usize, what: &str| format!("line {}: {what}", block.position.record + line as u64 + 1);
    let lines = match &block.payload {
        Payload::Lines(lines) => lines,
        Payload::Rejected(rejected) => return Err(at(0, &rejected.error)),
        Payload::Rows(_) => unreachable!("a file of lines gives lines"),
    };
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object = match serde_json::from_slice(line) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(at(number, "this is no JSON object; a table has an object a line")),
            Err(error) => return Err(at(number, &format!("reading a JSON object: {error}"))),
        };
        for (name, value) in &object {
            let known = columns.remove(name).unwrap_or_default();
            let both = in_json(value).and_then(|seen| known.and(seen));
            let fault = || {
                let what = format!(
                    "the column \"{name}\" has no type that holds this and what is before it; {REMEDY}"
                );
                at(number, &what)
            };
            columns.insert(name.clone(), both.ok_or_else(fault)?);
        }
        if columns.len() > COLUMNS_MAX {
            return Err(at(number, &format!("there are more than {COLUMNS_MAX} columns; {REMEDY}")));
        }
    }
    Ok(())
}

fn in_parquet(path: &Path) -> Result<Schema, String> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(open(path)?.file).map_err(|error| error.to_string())?;
    let field = |field: &arrow::datatypes::FieldRef| {
        let (name, given) = (field.name(), field.data_type());
        let data_type = DataType::from_arrow(given);
        let data_type = data_type.ok_or_else(|| format!("the column \"{name}\" is {given}; {REMEDY}"))?;
        Ok(Field { nullable: true, ..Field::new(name, data_type) })
    };
    let fields = builder.schema().fields().iter().map(field).collect::<Result<Vec<_>, String>>()?;
    match fields.is_empty() {
        true => Err("it has no columns".to_owned()),
        false => Ok(Schema { fields }),
    }
}

fn schema(columns: impl IntoIterator<Item = (String, Seen)>) -> Schema {
    let field = |(name, seen): (String, Seen)| Field { nullable: true, ..Field::new(name, seen.data_type()) };
    Schema::new(columns.into_iter().map(field))
}

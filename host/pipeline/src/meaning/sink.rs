//! Sinks: whether their format holds their stream's columns.

use arrow::datatypes::Schema as ArrowSchema;
use millstream_model::DataType;
use millstream_model::pipeline::{FileFormat, SinkKind, SinkSpec};

use super::columns::type_name;
use crate::diagnostic::Diagnostic;

pub(super) fn check(sink: &SinkSpec, schema: &ArrowSchema) -> Option<Diagnostic> {
    let SinkKind::Files { format, .. } = &sink.kind else {
        return None;
    };
    let reason = match format {
        FileFormat::Text => text(schema)?,
        FileFormat::Csv => csv(schema)?,
        FileFormat::Json | FileFormat::Parquet => return None,
    };
    let message = format!("sink \"{}\" cannot write the rows of \"{}\": {reason}", sink.name, sink.from);
    Some(Diagnostic::new(sink.from.place, message))
}

fn text(schema: &ArrowSchema) -> Option<String> {
    let remedy = "select one in sql, or write json";
    match schema.fields().as_ref() {
        [column] if DataType::Utf8.accepts(column.data_type()) => None,
        [column] => {
            let (name, found) = (column.name(), type_name(column.data_type()));
            Some(format!("text takes one utf8 column, and \"{name}\" is {found}; {remedy}"))
        }
        columns => Some(format!("text takes one utf8 column, and there are {}; {remedy}", columns.len())),
    }
}

fn csv(schema: &ArrowSchema) -> Option<String> {
    let nested = schema.fields().iter().find(|field| field.data_type().is_nested())?;
    let found = type_name(nested.data_type());
    Some(format!("csv takes no {found}, which \"{}\" is; write json or parquet", nested.name()))
}

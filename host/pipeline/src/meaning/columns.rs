//! How messages speak of columns.

use arrow::datatypes::{DataType as ArrowType, Schema as ArrowSchema};
use millstream_model::DataType;

use crate::nearest;

/// The name of a type: that of the pipeline file where there is one, else Arrow's.
pub(super) fn type_name(data_type: &ArrowType) -> String {
    use ArrowType as A;
    match data_type {
        A::Utf8 | A::LargeUtf8 | A::Utf8View => DataType::Utf8.to_string(),
        A::Binary | A::LargeBinary | A::BinaryView => DataType::Binary.to_string(),
        A::Timestamp(..) => DataType::Timestamp.to_string(),
        A::List(item) | A::LargeList(item) => format!("list<{}>", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

/// What to say of a column that a relation does not have, behind its name.
pub(super) fn absent(column: &str, relation: &str, schema: &ArrowSchema) -> String {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let hint = nearest::hint(column, "columns", names);
    format!("\"{relation}\" has no column \"{column}\"{hint}")
}

//! Receivers and sinks of the host's own, as plugins have them, and what becomes of them.

mod compact;
mod receiving;
mod writing;

use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use millstream_model::{DataType, Field, FunctionDescription, FunctionKind, Schema};

fn schema() -> Schema {
    Schema::new([Field::new("value", DataType::Utf8)])
}

fn description(kind: FunctionKind, input: Schema, output: Schema) -> FunctionDescription {
    FunctionDescription {
        name: "fake".to_owned(),
        kind,
        input,
        output,
        keys: Schema::default(),
        state: Schema::default(),
        state_version: 0,
        migrations: Vec::new(),
        documentation: String::new(),
    }
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> RecordBatch {
    let column = StringViewArray::from_iter_values(values);
    RecordBatch::try_new(Arc::new(schema().to_arrow()), vec![Arc::new(column)]).unwrap()
}

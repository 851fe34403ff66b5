//! A page for programs: an object a line.
//!
//! ```json
//! {"batch":1700000000000,"sink":"screen","row":{"word":"a","total":2}}
//! {"batch":1700000000000,"sink":"screen","more":3}
//! ```
//! The last line is there if the batch has more rows than are shown.

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_json::writer::{LineDelimited, WriterBuilder};
use millstream_model::BatchTime;
use serde_json::Value;

use super::Line;

/// Every row as an object, with all its columns.
pub(super) fn objects(rows: &RecordBatch) -> Result<Vec<Line>, ArrowError> {
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    // Line feeds within values are escaped, so every line is a row.
    Ok(String::from_utf8_lossy(&text).lines().map(|line| vec![line.to_owned()]).collect())
}

/// The whole page; nothing if the batch has no rows.
pub(super) fn page(sink: &str, time: BatchTime, lines: &[Line], more: usize) -> String {
    let head = format!("{{\"batch\":{time},\"sink\":{}", Value::from(sink));
    let mut page = String::new();
    for row in lines.iter().flatten() {
        page.push_str(&format!("{head},\"row\":{row}}}\n"));
    }
    if more > 0 {
        page.push_str(&format!("{head},\"more\":{more}}}\n"));
    }
    page
}

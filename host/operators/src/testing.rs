//! What the tests of several operators share: where their programs write, and rows as text.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use millstream_query::Output;

/// What a program has written, a line for each row.
#[derive(Default)]
pub(crate) struct Written(Mutex<BTreeMap<(String, usize), Vec<String>>>);

#[async_trait]
impl Output for Written {
    async fn write(&self, relation: &str, partition: usize, rows: RecordBatch) -> Result<(), String> {
        let lines = lines(&rows);
        self.0.lock().unwrap().entry((relation.to_owned(), partition)).or_default().extend(lines);
        Ok(())
    }
}

impl Written {
    /// The rows of a relation, partition by partition.
    pub(crate) fn of(&self, relation: &str) -> Vec<String> {
        let written = self.0.lock().unwrap();
        let of_relation = written.iter().filter(|((name, _), _)| name == relation);
        of_relation.flat_map(|(_, lines)| lines.clone()).collect()
    }
}

/// Values with spaces between; timestamps in milliseconds, and `?` for null.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let columns: Vec<_> = rows.columns().iter().map(texts).collect();
    let line = |row: usize| columns.iter().map(|texts| texts[row].as_str()).collect::<Vec<_>>().join(" ");
    (0..rows.num_rows()).map(line).collect()
}

fn texts(column: &ArrayRef) -> Vec<String> {
    if let Some(times) = column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        let shown =
            |micros: Option<i64>| micros.map_or("?".to_owned(), |micros| (micros / 1_000).to_string());
        return times.iter().map(shown).collect();
    }
    let options = FormatOptions::default().with_null("?");
    let format = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len()).map(|row| format.value(row).to_string()).collect()
}

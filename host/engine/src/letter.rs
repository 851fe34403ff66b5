//! What is put aside: records that cannot be read, and rows that a function failed on.

use std::ops::Range;

use memchr::memchr_iter;
use millstream_model::{BatchTime, Block, DeadLetter, Payload, PoisonRow};
use serde_json::{Map, Value, json};

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Letter {
    /// A record that could not be read.
    Record(DeadLetter),
    /// A row that a function failed on.
    Row {
        /// The batch.
        batch: BatchTime,
        /// The row.
        row: PoisonRow,
        /// The record that it came from, where that is known.
        record: Option<DeadLetter>,
    },
}

impl Letter {
    /// The record, as far as it is known.
    pub(crate) fn record(&self) -> Option<&DeadLetter> {
        match self {
            Self::Record(record) => Some(record),
            Self::Row { record, .. } => record.as_ref(),
        }
    }

    /// Bytes of its line: what is escaped there takes up to six times what it takes in memory.
    pub(crate) fn line_bytes(&self) -> usize {
        self.line().len()
    }

    /// What is wrong.
    pub(crate) fn error(&self) -> &str {
        match self {
            Self::Record(record) => &record.error,
            Self::Row { row, .. } => &row.error,
        }
    }

    /// As a line of JSON.
    pub(crate) fn line(&self) -> String {
        let mut line = Map::new();
        if let Some(record) = self.record() {
            line.insert("source".to_owned(), json!(record.source));
            line.insert("origin".to_owned(), json!(record.position.origin.as_ref()));
            line.insert("record".to_owned(), json!(record.position.record + 1));
            line.insert("bytes".to_owned(), json!(String::from_utf8_lossy(&record.record)));
        }
        line.insert("error".to_owned(), json!(self.error()));
        if let Self::Row { batch, row, .. } = self {
            line.insert("batch".to_owned(), json!(batch));
            line.insert("stream".to_owned(), json!(row.stream));
            line.insert("function".to_owned(), json!(row.function));
            line.insert("plugin".to_owned(), json!(row.digest));
            line.insert("row".to_owned(), Value::Object(row.row.clone()));
            if row.totals {
                line.insert("totals".to_owned(), json!(true));
            }
        }
        format!("{}\n", Value::Object(line))
    }
}

/// The records of a block that its rows are of.
pub(crate) struct Records<'b> {
    block: &'b Block,
    /// For each row, the number of its record in the block.
    numbers: Vec<u64>,
    /// The block's lines, if it is made of lines.
    lines: Vec<Range<usize>>,
}

impl<'b> Records<'b> {
    /// Those of `block`, the rows of which are of its records `numbers`.
    pub(crate) fn new(block: &'b Block, numbers: Vec<u64>) -> Self {
        let lines = match &block.payload {
            Payload::Lines(bytes) => {
                let mut start = 0;
                let ends = memchr_iter(b'\n', bytes).chain([bytes.len()]);
                ends.map(|end| std::mem::replace(&mut start, end + 1)..end).collect()
            }
            Payload::Rows(_) | Payload::Rejected(_) => Vec::new(),
        };
        Self { block, numbers, lines }
    }

    /// A letter for the record of a row.
    pub(crate) fn letter(&self, source: &str, row: u64, error: &str) -> Option<DeadLetter> {
        let number = *self.numbers.get(usize::try_from(row).ok()?)?;
        let line = self.lines.get(usize::try_from(number).ok()?);
        let bytes = match (&self.block.payload, line) {
            (Payload::Lines(bytes), Some(line)) => &bytes[line.clone()],
            _ => &[],
        };
        Some(DeadLetter::new(source, self.block.position.after(number), error, bytes))
    }
}

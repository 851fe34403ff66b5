//! The tests that a pipeline file holds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Located;

/// `[[tests]]`: what sources are given, batch by batch, and what is to come of it.
#[derive(Clone, Debug)]
pub struct TestSpec {
    /// Its name.
    pub name: Located<String>,
    /// When it begins, in milliseconds since 1970: the first batch is of the first tick behind that.
    pub start_ms: i64,
    /// Sources and what they are given; tables and what each batch sees in them.
    pub given: Vec<(Located<String>, Batches<Given>)>,
    /// Streams and their rows.
    pub expect: Vec<(Located<String>, Batches<Row>)>,
    /// The batch that has to fail.
    pub failure: Option<ExpectedFailure>,
    /// The records that have to be rejected, in any order; all of them.
    pub dead_letters: Vec<ExpectedLetter>,
    /// Streams with states, and all of their keys and states after the last batch.
    pub states: Vec<(Located<String>, Vec<Row>)>,
    /// Whether the order of rows matters.
    pub ordered: bool,
    /// Floating-point numbers are the same that differ by less than this part of the larger one.
    pub tolerance: f64,
    /// Batches, counted from 1, after which the process ends as by a crash and another one recovers.
    pub restart_after: Vec<Located<usize>>,
}

impl TestSpec {
    /// How many batches it takes: those that something is given to or expected of.
    pub fn batches(&self) -> usize {
        let given = self.given.iter().map(|(_, batches)| batches.len());
        let expected = self.expect.iter().map(|(_, batches)| batches.len());
        given.chain(expected).max().unwrap_or(0)
    }
}

/// A list for each batch.
pub type Batches<T> = Vec<Vec<T>>;

/// Column names and values, as the file gives them.
pub type Row = BTreeMap<String, Value>;

/// What a source is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A row.
    Row(Row),
    /// A record as it would come in, to be read in the source's format.
    Record(String),
}

impl Given {
    /// The row, if it is one.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::Record(_) => None,
        }
    }
}

/// A batch that has to fail, as often as it may be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedFailure {
    /// Which, counted from 1.
    pub batch: Located<usize>,
    /// A part of the message that says why.
    pub error: String,
}

/// A record or a row that has to be rejected. What is not said of it may be anything.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedLetter {
    /// The source that it came through.
    pub source: Option<Located<String>>,
    /// The stream whose function failed on the row.
    pub stream: Option<Located<String>>,
    /// The record's number in what the source is given, counted from 1.
    pub record: Option<u64>,
    /// A part of the reason.
    pub error: Option<String>,
    /// The record's text.
    pub bytes: Option<String>,
}

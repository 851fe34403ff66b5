//! Formats whose parsers take a block at once and stop at the first fault.
//!
//! The whole block is parsed first. Only if that fails is it halved, and the half that fails halved again, down
//! to the single record that is at fault: a good block costs one pass, a bad record a few more.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use memchr::memchr_iter;
use millstream_engine::Decoder;
use millstream_model::{Block, DeadLetter, Payload, Position};

/// A format whose records are lines.
pub(super) trait Parse: Send + Sync {
    /// The columns.
    fn schema(&self) -> &SchemaRef;

    /// Whether the first record of every origin is a header, which is no row.
    fn has_header(&self) -> bool {
        false
    }

    /// Whether a header names the columns of the schema; if not, what it says instead.
    fn check_header(&self, _header: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// Whether a line is no record at all.
    fn is_blank(&self, line: &[u8]) -> bool;

    /// Parses lines that hold `rows` records. An answer of another number of rows is taken as a fault.
    fn parse(&self, lines: &[u8], rows: usize) -> Result<RecordBatch, String>;
}

/// The decoder of a format.
pub(super) struct Records<P> {
    source: String,
    parser: P,
}

/// A record's number in its block and its bytes.
type Record = (u64, Range<usize>);

/// What is gathered while a block is halved.
struct Halving<'a> {
    bytes: &'a [u8],
    position: &'a Position,
    reject: &'a mut dyn FnMut(DeadLetter),
    good: Vec<RecordBatch>,
}

impl<P: Parse> Records<P> {
    pub(super) fn new(source: &str, parser: P) -> Self {
        Self { source: source.to_owned(), parser }
    }

    /// The records of a block, but for blank ones.
    fn lines_of(&self, block: &Block, bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::with_capacity(block.rows);
        let mut start = 0;
        for (number, end) in (0..).zip(memchr_iter(b'\n', bytes).chain([bytes.len()])) {
            let line = start..end;
            start = end + 1;
            if !self.parser.is_blank(&bytes[line.clone()]) {
                records.push((number, line));
            }
        }
        records
    }

    /// The records without the header that the first block of an origin begins with.
    fn without_header<'a>(&self, halving: &mut Halving<'_>, records: &'a [Record]) -> &'a [Record] {
        match records {
            [(0, line), rest @ ..] if halving.position.record == 0 && self.parser.has_header() => {
                if let Err(error) = self.parser.check_header(&halving.bytes[line.clone()]) {
                    self.reject(halving, &records[0], error);
                }
                rest
            }
            all => all,
        }
    }

    fn reject(&self, halving: &mut Halving<'_>, (number, line): &Record, error: String) {
        let position = halving.position.after(*number);
        let record = &halving.bytes[line.clone()];
        (halving.reject)(DeadLetter::new(&self.source, position, error, record));
    }

    fn parse(&self, bytes: &[u8], records: &[Record]) -> Result<RecordBatch, String> {
        let lines = match records {
            [] => return Ok(RecordBatch::new_empty(Arc::clone(self.parser.schema()))),
            [(_, first), .., (_, last)] => first.start..last.end,
            [(_, only)] => only.clone(),
        };
        let batch = self.parser.parse(&bytes[lines], records.len())?;
        match batch.num_rows() {
            rows if rows == records.len() => Ok(batch),
            0 => Err("the line holds no record".to_owned()),
            _ => Err("the line holds more than one record".to_owned()),
        }
    }

    /// Parses all of `records` that can be. The depth is the logarithm of their number.
    fn halve(&self, halving: &mut Halving<'_>, records: &[Record]) {
        match (self.parse(halving.bytes, records), records) {
            (Ok(batch), _) => halving.good.push(batch),
            (Err(error), [record]) => self.reject(halving, record, error),
            (Err(_), _) => {
                let (first, second) = records.split_at(records.len() / 2);
                self.halve(halving, first);
                self.halve(halving, second);
            }
        }
    }
}

impl<P: Parse> Decoder for Records<P> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.parser.schema())
    }

    /// Neither blank lines nor a header are records of rows.
    fn records(&self, block: &Block) -> Vec<u64> {
        let Payload::Lines(bytes) = &block.payload else { return (0..block.rows as u64).collect() };
        let mut rejected = BTreeSet::new();
        self.decode(block, &mut |letter| {
            rejected.insert(letter.position.record.wrapping_sub(block.position.record));
        });
        let first = u64::from(block.position.record == 0 && self.parser.has_header());
        let records = self.lines_of(block, bytes).into_iter().map(|(number, _)| number);
        records.filter(|number| *number >= first && !rejected.contains(number)).collect()
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        let bytes = match &block.payload {
            Payload::Lines(bytes) => bytes,
            Payload::Rows(rows) => return rows.clone(),
            Payload::Rejected(_) => return RecordBatch::new_empty(self.schema()),
        };
        let records = self.lines_of(block, bytes);
        let mut halving = Halving { bytes, position: &block.position, reject, good: Vec::new() };
        let records = self.without_header(&mut halving, &records);
        self.halve(&mut halving, records);
        match &halving.good[..] {
            [whole] => whole.clone(),
            parts => concat_batches(self.parser.schema(), parts).expect("parts have the format's schema"),
        }
    }
}

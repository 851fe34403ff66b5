//! Lines: a record is a row of one column, `value`.
//!
//! The column's views point into the block's own bytes, so a line costs the search for its end, the check of
//! its UTF-8 and sixteen bytes of view.
#![allow(unsafe_code, reason = "checking every view again would cost as much as all the rest of decoding")]

use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray, make_view};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use memchr::memchr_iter;
use millstream_engine::Decoder;
use millstream_model::{Block, DeadLetter, Payload};

/// The decoder of lines.
pub(super) struct Lines {
    source: String,
    schema: SchemaRef,
}

impl Lines {
    pub(super) fn new(source: &str) -> Self {
        let value = Field::new("value", DataType::Utf8View, false);
        Self { source: source.to_owned(), schema: Arc::new(Schema::new(vec![value])) }
    }

    /// As [`views`], for a block in which some line is not UTF-8.
    fn checked_views(&self, block: &Block, bytes: &[u8], reject: &mut dyn FnMut(DeadLetter)) -> Vec<u128> {
        let mut views = Vec::with_capacity(block.rows);
        for (number, line) in (0..).zip(Spans::of(bytes)) {
            match simdutf8::compat::from_utf8(&bytes[line.0..line.1]) {
                Ok(_) => views.push(view(bytes, line)),
                Err(error) => {
                    let reason = format!("the line is not UTF-8: {error}");
                    let position = block.position.after(number);
                    reject(DeadLetter::new(&self.source, position, reason, &bytes[line.0..line.1]));
                }
            }
        }
        views
    }
}

impl Decoder for Lines {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        let bytes = match &block.payload {
            Payload::Lines(bytes) => bytes,
            Payload::Rows(rows) => return rows.clone(),
            Payload::Rejected(_) => return RecordBatch::new_empty(self.schema()),
        };
        // The views' offsets are 32 bits wide.
        assert!(u32::try_from(bytes.len()).is_ok(), "a block is at most 1 MiB");
        let views = match simdutf8::basic::from_utf8(bytes) {
            Ok(_) => views(bytes, block.rows),
            Err(_) => self.checked_views(block, bytes, reject),
        };
        // SAFETY: every view is made by `view` from a span of `bytes`, the array's only buffer, and shorter than
        // 4 GiB. Either the whole of `bytes` is UTF-8, and a span starts and ends beside an ASCII character or at
        // an end of `bytes`, or the span was checked by itself.
        let column = unsafe {
            let buffer = Buffer::from(Bytes::clone(bytes));
            StringViewArray::new_unchecked(ScalarBuffer::from(views), [buffer], None)
        };
        RecordBatch::try_new(self.schema(), vec![Arc::new(column)]).expect("one column without nulls")
    }
}

/// The views of all lines of `bytes`, of which there should be `rows`.
fn views(bytes: &[u8], rows: usize) -> Vec<u128> {
    let mut views = Vec::with_capacity(rows);
    Spans::of(bytes).for_each(|line| views.push(view(bytes, line)));
    views
}

fn view(bytes: &[u8], (start, end): (usize, usize)) -> u128 {
    make_view(&bytes[start..end], 0, start as u32)
}

/// Where the lines of some bytes start and end, without their line feeds and carriage returns.
struct Spans<'a> {
    bytes: &'a [u8],
    start: usize,
    feeds: memchr::Memchr<'a>,
}

impl<'a> Spans<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0, feeds: memchr_iter(b'\n', bytes) }
    }
}

impl Iterator for Spans<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        let start = self.start;
        let feed = self.feeds.next().unwrap_or(self.bytes.len());
        if start >= self.bytes.len() {
            return None;
        }
        self.start = feed + 1;
        let carriage_return = feed > start && self.bytes[feed - 1] == b'\r';
        Some((start, feed - usize::from(carriage_return)))
    }
}

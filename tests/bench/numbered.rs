//! Rows of a key and the number 1, from memory as CSV.

use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{Inlet, Source, SourceError};
use millstream_model::{Block, Position};

use crate::corpus::Random;

/// So that a batch of many rows is decoded on all cores.
const BLOCK_ROWS: u64 = 10_000;

/// Sends so many rows: first each of so many keys once, and then keys at random.
pub(crate) struct Numbered {
    pub(crate) rows: u64,
    pub(crate) keys: u64,
}

impl Numbered {
    /// The key of a row: each once, far from its neighbours, and then any.
    fn key(&self, row: u64) -> u64 {
        match row < self.keys {
            true => row * 7_919 % self.keys,
            false => Random(row).next() % self.keys,
        }
    }
}

#[async_trait]
impl Source for Numbered {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        for first in (0..self.rows).step_by(BLOCK_ROWS as usize) {
            let rows = first..self.rows.min(first + BLOCK_ROWS);
            let mut text = Vec::with_capacity(rows.clone().count() * 12);
            for row in rows.clone() {
                push_number(&mut text, self.key(row));
                text.extend_from_slice(b",1\n");
            }
            let position = Position { origin: "memory".into(), record: first };
            if inlet.send(Block::lines(Bytes::from(text), rows.count(), position)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// In decimal, which the standard library takes five times as long for.
pub(crate) fn push_number(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] += (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[from..]);
}

//! Numbered lines at an even rate.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use anyhow::Result;

use super::{KEYS, RATE};
use crate::corpus::Random;
use crate::numbered::push_number;
use crate::sending::{connect, send_evenly};

/// The key and the amount of a line.
pub(super) fn row(number: u64) -> (u64, u64) {
    let random = Random(number).next();
    (random % KEYS, 1 + random / KEYS % 7)
}

/// Sends the lines that are due, over one connection: a batch has the lines behind those of the one before.
pub(super) fn send(address: &str, ended: &AtomicBool) -> Result<()> {
    let Some(mut stream) = connect(address, ended) else { return Ok(()) };
    send_evenly(RATE, ended, |numbers| {
        let mut lines = Vec::new();
        for number in numbers {
            let (key, amount) = row(number);
            for (value, end) in [(number, b','), (key, b','), (amount, b'\n')] {
                push_number(&mut lines, value);
                lines.push(end);
            }
        }
        Ok(stream.write_all(&lines)?)
    })?;
    Ok(())
}

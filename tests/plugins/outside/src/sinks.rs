//! Sinks. `config` says where they write.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use millstream_sdk::prelude::*;

/// Writes each part of a batch to a file of its own in `folder`; a repeat replaces it.
#[sink]
pub(crate) fn save(value: Rows<'_, Option<&str>>, batch: Batch) -> Result<(), Fault> {
    let folder = required_config("folder")?.text()?;
    let mut lines = String::new();
    for value in value.iter() {
        lines += value.unwrap_or("-");
        lines.push('\n');
    }
    let Batch { time_ms, part, parts } = batch;
    Ok(std::fs::write(format!("{folder}/{time_ms}-{part:05}-of-{parts}.txt"), lines)?)
}

#[derive(Row)]
pub(crate) struct Total<'a> {
    word: &'a str,
    total: i64,
}

pub(crate) struct Deliver(BufReader<TcpStream>);

/// Sends totals to `address`: `TIME PART PARTS ROWS`, then a line each, and waits for a line with `ok`.
#[sink]
impl Sink for Deliver {
    type Row = Total<'static>;

    fn open() -> Result<Self, Fault> {
        Ok(Self(BufReader::new(TcpStream::connect(required_config("address")?.text()?)?)))
    }

    fn write(&mut self, rows: Rows<'_, Total<'static>>, batch: Batch) -> Result<(), Fault> {
        let Batch { time_ms, part, parts } = batch;
        let mut text = format!("{time_ms} {part} {parts} {}\n", rows.len());
        for Total { word, total } in rows {
            writeln!(text, "{word} {total}").map_err(Fault::rejected)?;
        }
        self.0.get_mut().write_all(text.as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        match answer.trim() {
            "ok" => Ok(()),
            "never" => Err(Fault::rejected("the server never will take it")),
            other => Err(Fault::unavailable(format!("the server answered {other:?}"))),
        }
    }
}

/// Refuses all rows.
#[sink]
pub(crate) fn refuse(value: Rows<'_, Option<&str>>) -> Result<(), Fault> {
    assert!(!value.is_empty(), "a part has rows");
    Err(Fault::rejected("no rows are good enough"))
}

/// Traps over all rows.
#[sink]
pub(crate) fn trap(value: Rows<'_, Option<&str>>) {
    assert!(value.is_empty(), "no rows are good enough");
}

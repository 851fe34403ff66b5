//! Keys with what is known of them, written one behind the other to be read in that order.

use std::sync::Arc;

use millstream_model::BatchTime;

use super::APPEND_BYTES;
use super::file::ColdFile;
use super::log::{self, Cursor, Log};
use crate::StateError;
use crate::keyed::shard::Known;

/// What is being written.
#[derive(Debug)]
pub(crate) struct Spooling {
    log: Log,
    records: Vec<u8>,
    keys: u64,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Spool {
    log: Log,
    pub(crate) keys: u64,
}

/// The keys of a spool, from the first on.
#[derive(Debug)]
pub(crate) struct Spooled(Cursor<Log>);

impl Spooling {
    pub(crate) fn new(file: &Arc<ColdFile>) -> Self {
        Self { log: Log::new(file), records: Vec::new(), keys: 0 }
    }

    pub(crate) fn push(&mut self, known: &Known<'_>) -> Result<(), StateError> {
        log::write(&mut self.records, known);
        self.keys += 1;
        if self.records.len() >= APPEND_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<Spool, StateError> {
        self.flush()?;
        Ok(Spool { log: self.log, keys: self.keys })
    }

    fn flush(&mut self) -> Result<(), StateError> {
        self.log.append(&self.records)?;
        self.records.clear();
        Ok(())
    }
}

impl Spool {
    pub(crate) fn read(&self) -> Spooled {
        Spooled(Cursor::new(self.log.clone(), 0))
    }
}

impl Spooled {
    /// The time of the next key, if there is one.
    pub(crate) fn time(&mut self) -> Result<Option<BatchTime>, StateError> {
        Ok(self.0.peek()?.map(|(_, known)| known.time))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Known<'_>>, StateError> {
        Ok(self.0.next()?.map(|(_, known)| known))
    }
}

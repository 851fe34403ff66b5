//! Tables: a file that is read whole, or not at all.
//!
//! The formats and their types are those of sources, and so is what reads them. But where a source puts a record aside that
//! cannot be read, a table is refused: a join with a part of it would be wrong in silence.

mod columns;
mod header;
mod seen;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType as ArrowType;
use async_trait::async_trait;
use millstream_engine::{Decoder, Table, TableError, TableRows};
use millstream_model::pipeline::{Format, TableFormat, TableSpec};
use millstream_model::{Block, Payload, Schema};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::cut::BLOCK_ROWS_MAX;
use crate::decode::decoder;
use crate::files::read::{Opened, Request, read};
use header::Layout;

/// A table in a file.
pub(crate) struct FileTable {
    file: TableFile,
    schema: Schema,
    /// Held while the file is read, for as long as that takes.
    reading: Arc<Semaphore>,
}

/// The file of a table.
#[derive(Clone)]
struct TableFile {
    name: String,
    path: PathBuf,
    format: TableFormat,
}

/// What is gathered while a file is read.
struct Gathered {
    decoder: Arc<dyn Decoder>,
    layout: Layout,
    rows: Vec<RecordBatch>,
    bytes: u64,
    bytes_max: u64,
}

impl FileTable {
    pub(crate) fn new(spec: &TableSpec, schema: Schema) -> Self {
        Self { file: TableFile::new(spec), schema, reading: Arc::new(Semaphore::new(1)) }
    }
}

/// Reads a table whose columns may have to be found first.
pub(crate) async fn load(spec: &TableSpec, bytes_max: u64) -> Result<(Schema, TableRows), TableError> {
    let (file, named) = (TableFile::new(spec), spec.schema.clone());
    file.clone()
        .blocking(move || {
            let schema = named.map_or_else(|| columns::find(&file.path, file.format), Ok)?;
            let rows = file.read(&schema, None, bytes_max)?;
            Ok((schema, rows.unwrap_or_default()))
        })
        .await
}

#[async_trait]
impl Table for FileTable {
    async fn read(&self, known: Option<&str>, bytes_max: u64) -> Result<Option<TableRows>, TableError> {
        let Ok(reading) = Arc::clone(&self.reading).try_acquire_owned() else {
            let path = self.file.path.display();
            return Err(TableError(format!("reading {path}: an earlier reading has not come to its end")));
        };
        let (file, schema, known) = (self.file.clone(), self.schema.clone(), known.map(str::to_owned));
        let read = move || {
            let read = file.read(&schema, known.as_deref(), bytes_max);
            drop(reading);
            read
        };
        self.file.blocking(read).await
    }
}

impl TableFile {
    fn new(spec: &TableSpec) -> Self {
        Self { name: spec.name.value.clone(), path: spec.path.value.clone(), format: spec.format }
    }

    /// Does something with the file on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, TableError> {
        // A parser's panic over a damaged file is a fault of that file.
        let done = spawn_blocking(work).await.unwrap_or_else(|panic| Err(panic.to_string()));
        done.map_err(|reason| TableError(format!("reading {}: {reason}", self.path.display())))
    }

    /// All rows, in the columns of `schema`; nothing, where the file is as it was when its stamp was `known`.
    fn read(
        &self,
        schema: &Schema,
        known: Option<&str>,
        bytes_max: u64,
    ) -> Result<Option<TableRows>, String> {
        let opened = open(&self.path)?;
        let stamp = opened.stamp.clone();
        if known == Some(stamp.as_str()) {
            return Ok(None);
        }
        let layout = Layout::new(&self.path, self.format, schema)?;
        let (format, records) = (layout.format.clone(), layout.first_record..u64::MAX);
        let decoder = decoder(&self.name, &format);
        let mut gathered = Gathered { decoder, layout, rows: Vec::new(), bytes: 0, bytes_max };
        each_block(opened, format, records.start, &mut |block| gathered.take(&block))?;
        // Whoever writes to a file while it is read may have changed what was read.
        match open(&self.path) {
            Ok(after) if after.stamp == stamp => {
                Ok(Some(TableRows { rows: gathered.rows, bytes: gathered.bytes, stamp }))
            }
            _ => Err("the file was written to meanwhile; write a new file and rename it".to_owned()),
        }
    }
}

impl Gathered {
    fn take(&mut self, block: &Block) -> Result<(), String> {
        let rows = self.layout.pick(decoded(&*self.decoder, block)?);
        let rows = if matches!(self.layout.format, Format::Parquet(_)) { compact(&rows) } else { rows };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(rows.get_array_memory_size() as u64);
        if self.bytes > self.bytes_max {
            let left = self.bytes_max;
            return Err(format!(
                "its rows take more than the {left} bytes that \"table-memory\" has for them; raise that, or name \
                 fewer columns in \"schema\""
            ));
        }
        self.rows.push(rows);
        Ok(())
    }
}

/// Opens a regular file.
fn open(path: &Path) -> Result<Opened, String> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Opened::open(path).map_err(|fault| fault.to_string()),
        Ok(_) => Err("it is no file; a table is one file".to_owned()),
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            Err("there is no such file; \"path\" is relative to the folder of the pipeline file".to_owned())
        }
        Err(fault) => Err(fault.to_string()),
    }
}

/// Gives the blocks of a file from a record on to `take`, until that fails or the file ends.
fn each_block(
    opened: Opened,
    format: Format,
    first_record: u64,
    take: &mut dyn FnMut(Block) -> Result<(), String>,
) -> Result<(), String> {
    let request = Request { format, rows_max: BLOCK_ROWS_MAX, records: first_record..u64::MAX };
    let mut taken = Ok(());
    let reading = read(opened, &request, &mut |block| {
        taken = take(block);
        taken.is_ok()
    });
    taken?;
    reading.fault.map_or(Ok(()), |fault| Err(format!("{}, after {} records", fault.reason, fault.after)))
}

/// The rows of a block, all of which can be read.
fn decoded(decoder: &dyn Decoder, block: &Block) -> Result<RecordBatch, String> {
    let mend = "mend the record, or give the column another type in \"schema\"";
    if let Payload::Rejected(rejected) = &block.payload {
        return Err(format!("line {}: {}", block.position.record + 1, rejected.error));
    }
    let mut first: Option<(u64, String)> = None;
    let rows = decoder.decode(block, &mut |letter| {
        if first.as_ref().is_none_or(|(record, _)| letter.position.record < *record) {
            first = Some((letter.position.record, letter.error));
        }
    });
    match first {
        Some((record, error)) => Err(format!("line {}: {error}; {mend}", record + 1)),
        None => Ok(rows),
    }
}

/// Rows that hold no memory but their own: text and bytes may be views into pages of a file.
fn compact(rows: &RecordBatch) -> RecordBatch {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            ArrowType::Utf8View => Arc::new(column.as_string_view().gc()),
            ArrowType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    let columns = rows.columns().iter().map(own).collect();
    RecordBatch::try_new(rows.schema(), columns).expect("the columns are as they were")
}

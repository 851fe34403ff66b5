//! A batch's files while nobody sees them, and the commit that makes them visible.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millstream_engine::SinkError;
use millstream_model::BatchTime;
use millstream_model::pipeline::FileFormat;

use super::encode::{self, Encoder};

/// The files of one batch.
pub(super) struct Stage {
    folder: PathBuf,
    hidden: PathBuf,
    visible: PathBuf,
    replaced: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
    parts: BTreeMap<usize, Part>,
}

/// The file of one partition.
struct Part {
    path: PathBuf,
    encoder: Box<dyn Encoder>,
}

impl Stage {
    pub(super) fn new(folder: &Path, time: BatchTime, format: FileFormat, schema: SchemaRef) -> Self {
        Self {
            folder: folder.to_owned(),
            hidden: folder.join(format!(".{time}.tmp")),
            visible: folder.join(time.to_string()),
            replaced: folder.join(format!(".{time}.old.tmp")),
            format,
            schema,
            parts: BTreeMap::new(),
        }
    }

    /// Removes what an earlier attempt at this batch left behind.
    pub(super) fn clear(&mut self) -> Result<(), SinkError> {
        remove(&self.hidden)?;
        remove(&self.replaced)
    }

    /// Appends rows to the file of a partition.
    pub(super) fn write(&mut self, partition: usize, rows: &RecordBatch) -> Result<(), SinkError> {
        if !self.parts.contains_key(&partition) {
            let part = self.open(partition)?;
            self.parts.insert(partition, part);
        }
        let part = self.parts.get_mut(&partition).expect("it was opened above");
        part.encoder.write(rows).map_err(|fault| failed("writing", &part.path, &fault))
    }

    fn open(&self, partition: usize) -> Result<Part, SinkError> {
        attempt("creating", &self.hidden, fs::create_dir_all(&self.hidden))?;
        let name = format!("part-{partition:05}.{}", encode::extension(self.format));
        let path = self.hidden.join(name);
        let file = attempt("creating", &path, File::create(&path))?;
        let encoder = encode::encoder(self.format, file, &self.schema);
        let encoder = encoder.map_err(|fault| failed("writing", &path, &fault))?;
        Ok(Part { path, encoder })
    }

    /// Makes the batch visible, in the place of one of the same time.
    pub(super) fn commit(mut self) -> Result<(), SinkError> {
        let had_rows = !self.parts.is_empty();
        for (_, part) in std::mem::take(&mut self.parts) {
            let file = part.encoder.finish().map_err(|fault| failed("writing", &part.path, &fault))?;
            attempt("syncing", &part.path, file.sync_all())?;
        }
        if had_rows {
            sync(&self.hidden)?;
        }
        let replaces = self.set_aside()?;
        if had_rows {
            attempt("renaming", &self.hidden, fs::rename(&self.hidden, &self.visible))?;
        }
        if had_rows || replaces {
            sync(&self.folder)?;
        }
        remove(&self.replaced)
    }

    /// Moves a batch of the same time out of the way; says whether there was one.
    fn set_aside(&self) -> Result<bool, SinkError> {
        match fs::rename(&self.visible, &self.replaced) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
            renamed => attempt("replacing", &self.visible, renamed).map(|()| true),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.parts.clear();
        if let Err(fault) = remove(&self.hidden) {
            tracing::warn!("{fault}");
        }
    }
}

fn sync(folder: &Path) -> Result<(), SinkError> {
    attempt("syncing", folder, File::open(folder).and_then(|folder| folder.sync_all()))
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), SinkError> {
    match fs::remove_dir_all(folder) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => attempt("removing", folder, removed),
    }
}

fn attempt<T>(doing: &str, path: &Path, result: io::Result<T>) -> Result<T, SinkError> {
    result.map_err(|fault| failed(doing, path, &fault))
}

fn failed(doing: &str, path: &Path, fault: &dyn Display) -> SinkError {
    SinkError(format!("{doing} {}: {fault}", path.display()))
}

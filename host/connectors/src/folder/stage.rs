//! A batch's files while they are written.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use millstream_engine::SinkError;
use millstream_model::pipeline::FileFormat;
use millstream_platform::crash_point;

use super::encode::{self, Encoder};
use super::output::{Output, Room};
use super::place::{Place, attempt, sync};

/// The files of one batch. Dropped before they are ready, they are removed.
pub(super) struct Stage {
    place: Option<Place>,
    folder: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
    parts: BTreeMap<usize, Part>,
}

/// The file of one partition.
struct Part {
    path: PathBuf,
    room: Room,
    encoder: Box<dyn Encoder>,
}

impl Stage {
    pub(super) fn begin(place: Place, format: FileFormat, schema: SchemaRef) -> Result<Self, SinkError> {
        let folder = place.begin()?;
        Ok(Self { place: Some(place), folder, format, schema, parts: BTreeMap::new() })
    }

    /// Appends rows to the file of a partition.
    pub(super) fn write(&mut self, partition: usize, rows: &RecordBatch) -> Result<(), SinkError> {
        if !self.parts.contains_key(&partition) {
            let part = self.open(partition)?;
            self.parts.insert(partition, part);
        }
        let part = self.parts.get_mut(&partition).expect("it was opened above");
        let written = part.encoder.write(rows);
        written.map_err(|fault| part.failed(&fault))
    }

    /// Writes what is left, waits until everything is on disk, and marks it as complete.
    pub(super) fn prepare(mut self) -> Result<Place, SinkError> {
        let parts = std::mem::take(&mut self.parts);
        if parts.is_empty() {
            self.place().create(&self.folder)?;
        } else {
            for part in parts.into_values() {
                part.finish()?;
                crash_point("output-staged");
            }
            sync(&self.folder)?;
        }
        self.place().make_ready(&self.folder)?;
        crash_point("output-prepared");
        Ok(self.place.take().expect("it is taken here alone"))
    }

    fn place(&self) -> &Place {
        self.place.as_ref().expect("it is taken by `prepare` alone, which consumes the stage")
    }

    fn open(&self, partition: usize) -> Result<Part, SinkError> {
        self.place().create(&self.folder)?;
        let name = format!("part-{partition:05}.{}", encode::extension(self.format));
        let path = self.folder.join(name);
        let (output, room) = Output::new(attempt("creating", &path, File::create(&path))?);
        match encode::encoder(self.format, output, &self.schema) {
            Ok(encoder) => Ok(Part { path, room, encoder }),
            Err(fault) => Err(failed(&path, &room, &fault)),
        }
    }
}

impl Part {
    fn finish(self) -> Result<(), SinkError> {
        let Self { path, room, encoder } = self;
        let file = encoder.finish().map_err(|fault| failed(&path, &room, &fault))?;
        attempt("syncing", &path, file.sync_all())
    }

    fn failed(&self, fault: &ArrowError) -> SinkError {
        failed(&self.path, &self.room, fault)
    }
}

fn failed(path: &Path, room: &Room, fault: &ArrowError) -> SinkError {
    let told = format!("writing {}: {fault}", path.display());
    if room.is_used_up() { SinkError::Full(told) } else { SinkError::Failed(told) }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.parts.clear();
        if let Some(place) = &self.place
            && let Err(fault) = place.discard(&self.folder)
        {
            tracing::warn!("{fault}");
        }
    }
}
